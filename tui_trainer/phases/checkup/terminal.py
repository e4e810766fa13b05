"""Whether the app can show itself, and whether training outlives the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.phases.checkup.check import Check
from tui_trainer.session.wording import wants_ascii

if TYPE_CHECKING:
    from tui_trainer.phases.checkup.box import Box

SMALLEST = (80, 24)


def terminal(box: Box) -> list[Check]:
    """Is there one, how large is it, and what can it show?"""
    if not box.terminal.is_there:
        return [Check("Terminal", "not_applicable", "none here: runs go without the app, as with --no-ui")]
    return [_kind(box), _size(box), _colours(box), _characters(box)]


def _kind(box: Box) -> Check:
    term = box.environ.get("TERM", "")
    inside = [name for name, mark in (("tmux", "TMUX"), ("screen", "STY")) if box.environ.get(mark)]
    found = (term or "TERM is not set") + (f", inside {inside[0]}" if inside else "")
    if term in ("", "dumb"):
        return Check("Terminal", "warning", found, "The app does not open on it. Set TERM to what your terminal is, for "
                     "most: export TERM=xterm-256color")  # fmt: skip
    return Check("Terminal", "ok", found)


def _size(box: Box) -> Check:
    if box.terminal.size is None:
        return Check(
            "Terminal size", "warning", "not known", "The app may not fit. Try: resize, or stty size"
        )
    columns, lines = box.terminal.size
    if columns < SMALLEST[0] or lines < SMALLEST[1]:
        return Check("Terminal size", "warning", f"{columns}x{lines}",
                     f"The app needs {SMALLEST[0]}x{SMALLEST[1]}: make the window larger, or the letters smaller.")  # fmt: skip
    return Check("Terminal size", "ok", f"{columns}x{lines}")


def _colours(box: Box) -> Check:
    term, deep = box.environ.get("TERM", ""), box.environ.get("COLORTERM", "").lower()
    if box.environ.get("NO_COLOR"):
        return Check("Colours", "ok", "none, as NO_COLOR asks")
    if deep in ("truecolor", "24bit"):
        return Check("Colours", "ok", "16 million")
    if "256color" in term or term.endswith(("-direct", "kitty", "ghostty")):
        return Check("Colours", "ok", "256")
    return Check("Colours", "ok", "16", "Curves are told apart better with more: export TERM=xterm-256color (inside tmux: "
                 "set -g default-terminal tmux-256color), where your terminal has them.")  # fmt: skip


def _characters(box: Box) -> Check:
    asked = next(
        (box.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if box.environ.get(name)), "not set"
    )
    if wants_ascii(box.environ) or "utf" not in box.terminal.encoding.lower():
        return Check("Characters", "ok", f"ASCII (locale {asked})",
                     "Charts are coarser so. Where your terminal shows UTF-8: export LANG=C.UTF-8")  # fmt: skip
    return Check("Characters", "ok", f"UTF-8 (locale {asked})")


def logout(box: Box) -> list[Check]:
    """Does training go on when the connection is lost?"""
    if not box.logind.is_there:
        return [Check("Logout", "not_applicable", "no systemd-logind here that would end processes")]
    if box.logind.kills is None:
        return [Check("Logout", "warning", "logind.conf does not tell whether processes end at logout",
                      _STAY.replace("so that", "to make sure that"))]  # fmt: skip
    if not box.logind.kills:
        return [Check("Logout", "ok", "processes go on (KillUserProcesses=no)")]
    lingering = "on" if box.logind.lingering else "off"
    return [Check("Logout", "warning", f"processes end with the session (KillUserProcesses=yes, lingering {lingering})",
                  f"Training would end when you log out or the connection breaks, tmux or not. {_STAY}")]  # fmt: skip


_STAY = (
    "Once: loginctl enable-linger. Then start inside systemd-run --user --scope tmux, so that it is no part of the "
    "session. Or have KillUserProcesses=no set in /etc/systemd/logind.conf."
)


def sockets(box: Box) -> list[Check]:
    """Can runs be reached by other processes of this user?"""
    if not box.sockets:
        return [Check("Control sockets", "ok", str(box.socket_folder))]
    return [Check("Control sockets", "problem", f"{box.socket_folder}: {box.sockets}",
                  "Runs in the background could not be attached to. Remove it, or have its owner remove it; it is made "
                  "anew, for you alone.")]  # fmt: skip
