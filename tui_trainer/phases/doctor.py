"""`mltrainer-tui doctor`: is this machine ready, and where it is not, what to do."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.phases.checkup.box import Box
    from tui_trainer.phases.checkup.check import Check, State

_WORDS: dict[State, str] = {"ok": "ok", "warning": "warning", "problem": "PROBLEM", "not_applicable": "-"}
_WIDEST = 110


def main(arguments: Sequence[str]) -> int:
    """`mltrainer-tui doctor`; returns the exit code: 1 where a problem was found."""
    from tui_trainer.phases.checkup.box import look

    parser = argparse.ArgumentParser(
        prog="mltrainer-tui doctor",
        description="Look at this machine: Python, PyTorch, GPU and driver, terminal, disk, limits. Nothing is changed. "
        "Exit code 1 where something will not work.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    checks = examine(look(Path.cwd()))
    if options.json:
        print(json.dumps(summary(checks)))
    else:
        print("\n".join(lines_of(checks, min(_WIDEST, shutil.get_terminal_size((100, 24)).columns))))
    return exit_code(checks)


def examine(box: Box) -> list[Check]:
    """Every check, in the order in which they are shown."""
    from tui_trainer.phases.checkup import gpus, machine, terminal

    rounds = (
        machine.python, gpus.torch_build, gpus.cuda, gpus.cards, machine.threads, machine.memory, machine.disks,
        machine.limits, terminal.terminal, terminal.logout, terminal.sockets, machine.git, machine.optional_packages,
    )  # fmt: skip
    return [check for look_at in rounds for check in look_at(box)]


def exit_code(checks: Sequence[Check]) -> int:
    """1 where something will not work; warnings are no failure."""
    return int(any(check.state == "problem" for check in checks))


def summary(checks: Sequence[Check]) -> dict[str, Any]:
    """The object of `--json`."""
    return {
        "checks": [check.to_json() for check in checks],
        "problems": sum(check.state == "problem" for check in checks),
        "warnings": sum(check.state == "warning" for check in checks),
        "exit_code": exit_code(checks),
    }


def lines_of(checks: Sequence[Check], width: int) -> list[str]:
    """For people: one row a check, what to do below it; ASCII alone, for doctors come to poor terminals too."""
    state = max(len(word) for word in _WORDS.values())
    name = max(len(check.name) for check in checks)
    margin = " " * (state + name + 4)
    lines: list[str] = []
    for check in checks:
        head = f"{_WORDS[check.state]:<{state}}  {check.name:<{name}}  "
        lines += _wrapped(check.found, head, margin, width)
        if check.advice:
            lines += _wrapped(check.advice, f"{margin}> ", f"{margin}  ", width)
    count = summary(checks)
    lines += ["", _verdict(count["problems"], count["warnings"])]
    return [line.encode("ascii", "backslashreplace").decode() for line in lines]


def _wrapped(text: str, first: str, following: str, width: int) -> list[str]:
    room = max(width, len(first) + 30)
    return textwrap.wrap(
        text, room, initial_indent=first, subsequent_indent=following, break_on_hyphens=False
    ) or [first.rstrip()]


def _verdict(problems: int, warnings: int) -> str:
    if not problems and not warnings:
        return "This machine is ready."
    parts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((problems, "problem"), (warnings, "warning"))
        if count
    ]
    return f"{' and '.join(parts)}." + ("" if problems else " Training works.")
