"""Whether systemd-logind ends a user's processes when they log out: training over SSH would die with the connection."""

from __future__ import annotations

import contextlib
import getpass
import re
from dataclasses import dataclass
from pathlib import Path

_PLACES = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd")
_TRUE = ("1", "yes", "y", "true", "t", "on")
_SETTING = re.compile(r"^(#?)\s*(KillUserProcesses|KillExcludeUsers|KillOnlyUsers)\s*=\s*(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Logind:
    """`kills`: None where the files do not tell. `lingering`: the user's own services outlive the session."""

    is_there: bool = False
    kills: bool | None = None
    lingering: bool = False


def read_logind(root: Path = Path("/"), user: str | None = None) -> Logind:
    """From the files that logind reads (logind.conf(5)): the main file, then drop-ins in the order of their names.

    A line that is commented out in the main file shows the default that the distribution built in.
    """
    if not (root / "run/systemd/system").is_dir():
        return Logind()
    if user is None:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a uid without a name
            user = ""
    values: dict[str, str] = {}
    default = ""
    for path in _files(root):
        with contextlib.suppress(OSError, ValueError):
            for mark, name, value in _SETTING.findall(path.read_text(encoding="utf-8", errors="replace")):
                if not mark:
                    values[name] = value.strip()
                elif name == "KillUserProcesses" and path.name == "logind.conf":
                    default = value.strip()
    said = values.get("KillUserProcesses") or default
    kills = said.lower() in _TRUE if said else None
    if kills:
        spared = user in values.get("KillExcludeUsers", "root").split()
        only = values.get("KillOnlyUsers", "").split()
        kills = not spared and (not only or user in only)
    return Logind(True, kills, (root / "var/lib/systemd/linger" / user).exists() if user else False)


def _files(root: Path) -> list[Path]:
    mains = (root / place / "logind.conf" for place in _PLACES)
    main = next((path for path in mains if path.is_file()), None)
    drop_ins: dict[str, Path] = {}
    for place in reversed(_PLACES):
        drop_ins |= {path.name: path for path in (root / place / "logind.conf.d").glob("*.conf")}
    return [*([main] if main else []), *(drop_ins[name] for name in sorted(drop_ins))]
