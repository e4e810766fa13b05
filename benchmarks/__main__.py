"""`python -m benchmarks [speed|memory|startup|checkpoint|app|replay|all]`: measure, and print a table.

`python -m benchmarks diagnostics` has options of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import app, checkpoint, memory, replay, speed, startup
from benchmarks.contenders import CONTENDERS
from benchmarks.workloads import WORKLOADS

PARTS = ("speed", "memory", "startup", "checkpoint", "app", "replay", "all")


def main() -> int:
    """Exit code 1 when a limit of memory, startup, checkpoint, app or replay was missed."""
    if sys.argv[1:2] == ["diagnostics"]:
        from benchmarks.diagnostics import command

        return command.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, default="all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="torch threads")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="rounds (default: 7)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME",
                        help=f"contenders of the speed comparison: {', '.join(CONTENDERS)}")  # fmt: skip
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME",
                        help=", ".join(f"{item.name} ({item.title})" for item in WORKLOADS.values()))  # fmt: skip
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="append each speed run to FILE as a JSON line"
    )
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="measure nothing; the table of such a file"
    )
    parser.add_argument("--minutes", type=float, default=0.0, metavar="N",
                        help="how long to watch the app's memory (default: 0, not at all)")  # fmt: skip
    options = parser.parse_args()
    if options.table is not None:
        print(speed.table([json.loads(line) for line in options.table.read_text().splitlines()]))
        return 0
    good = []
    chosen = PARTS[:-1] if options.part == "all" else (options.part,)
    if "speed" in chosen:
        runs = speed.measure(
            options.workloads, options.only, options.threads, options.repeats, record=options.record
        )
        print(speed.table(runs))
    if "memory" in chosen:
        good.append(memory.main())
    if "startup" in chosen:
        good.append(startup.main(options.threads, options.repeats))
    if "checkpoint" in chosen:
        good.append(checkpoint.main(options.threads[0], options.repeats))
    if "app" in chosen:
        good.append(app.main(options.repeats, options.minutes))
    if "replay" in chosen:
        good.append(replay.main(options.repeats))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
