"""The command line: reads the flags, picks the app or headless, nothing else.

Nothing heavy is imported here: `--help` must answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ("plan", "baseline", "diagnose", "optimize", "finalize", "all")

SUBCOMMANDS = {
    "diagnose": "tui_trainer.session.diagnosing",
    "doctor": "tui_trainer.phases.doctor",
    "init": "tui_trainer.phases.scaffold",
    "verify": "tui_trainer.phases.verify",
}
"""The module of each sub-command: its `main(arguments)` takes the words after the name and returns the exit code."""

EPILOG = """\
mltrainer-tui diagnose RUN [--json]   what is wrong with a run: all rules over its folder
mltrainer-tui doctor [--json]         is this machine ready: Python, PyTorch, GPU, terminal, disk, limits
mltrainer-tui init [FOLDER]           write a project that trains at once: config, data and model module
mltrainer-tui verify RUN [--json]     train a run again and say whether the same comes out

exit codes: 0 done · 1 training failed · 2 bad usage, config, data or model · 3 a gate is not passed ·
            4 stopped by a diagnostic · 130/143 interrupted or terminated after saving a checkpoint

A config can name code to import (package.module:attr): it runs with your rights. Use configs that you trust.
"""


def build_parser() -> argparse.ArgumentParser:
    """All flags of the program."""
    parser = argparse.ArgumentParser(
        prog="mltrainer-tui",
        description="Train PyTorch models in a terminal: live curves, diagnostics, exact resume.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mltrainer-tui {__version__}")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="config (YAML); default: the bundled digits baseline"
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        help="which phase to run; default: plan in the app (baseline goes straight to the training once the plan's gate is "
        "passed), baseline without",
    )
    parser.add_argument("--no-ui", action="store_true", help="no screen: for scripts and CI")
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="run folder; default: checkpoints/<name>-<time>"
    )
    parser.add_argument(
        "--resume", metavar="auto|PATH", help="go on from the newest good checkpoint, or from this one"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="change a setting, e.g. training.epochs=5 (YAML values; repeatable)")  # fmt: skip
    parser.add_argument(
        "--on-trigger", choices=("report", "fix", "stop"), help="what to do when a diagnostic is raised"
    )
    parser.add_argument(
        "--sign", action="append", default=[], metavar="ITEM=NOTE", help="sign a gate's item (repeatable)"
    )
    parser.add_argument("--waive", action="append", default=[], metavar="ITEM|all=REASON",
                        help="go on although a gate's item fails (repeatable)")  # fmt: skip
    parser.add_argument("--run", type=Path, metavar="RUN", help="the run that this phase builds on")
    parser.add_argument("--verbose", action="store_true", help="print more")
    parser.add_argument(
        "--json", action="store_true", help="print the summary as one JSON object on stdout (with --no-ui)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `mltrainer-tui`; returns the exit code."""
    _open_closed_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    module = SUBCOMMANDS.get(given[0]) if given else None
    options = build_parser().parse_args(given) if module is None else None
    _calm_openmp()
    try:
        return _run(options) if options is not None else _subcommand(str(module), given[1:])
    except KeyboardInterrupt:  # where no run is there to take the signal
        when = " before the run began" if options is not None else ""
        print(f"mltrainer-tui: interrupted{when}.", file=sys.stderr)
        return 130


def _subcommand(module: str, arguments: list[str]) -> int:
    from tui_trainer.config.errors import UserError

    try:
        code = int(importlib.import_module(module).main(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # who read the output has enough of it, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except UserError as error:
        print(f"mltrainer-tui: {error}", file=sys.stderr)
        return error.exit_code
    return code


def _run(options: argparse.Namespace) -> int:
    from tui_trainer.session.launching import Options

    wanted = Options(
        config=options.config,
        mode=options.mode or "baseline",
        output_dir=options.output_dir,
        resume=options.resume,
        overrides=tuple(options.overrides),
        on_trigger=options.on_trigger,
        sign=tuple(options.sign),
        waive=tuple(options.waive),
        run=options.run,
    )
    if options.no_ui or options.json or not _has_terminal():
        from tui_trainer.phases.headless import run_headless

        return run_headless(wanted, verbose=options.verbose, as_json=options.json)
    from tui_trainer.screens.launch import run_app

    return run_app(wanted, straight=options.mode == "baseline" or options.resume is not None)


def _open_closed_streams() -> None:
    """Stand-ins for standard streams that were closed before we began (`>&-`).

    Without them the next file opened, a checkpoint perhaps, would take descriptor 1 or 2 and get every print.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115 (open to the end)


def _has_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def _calm_openmp() -> None:
    """libgomp's threads spin while they wait, which beside any other busy process costs 25 times the step time.

    Must be set before torch is imported; what the user has set stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


if __name__ == "__main__":
    sys.exit(main())
