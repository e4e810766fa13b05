"""`python -m benchmarks diagnostics`: runs the fault suite and prints what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.diagnostics.case import Case


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 where the cost misses its aims, or an injection came through."""
    options = _options().parse_args(arguments)
    if options.table is not None:
        _tell([json.loads(line) for line in options.table.read_text().splitlines()])
        return 0
    import torch

    torch.set_num_threads(1)
    if options.cost:
        from benchmarks.diagnostics import cost

        return cost.main(options.repeats)
    if options.injections:
        from benchmarks.diagnostics import injections

        return injections.main(options.injections)
    records = []
    for record in _measured(options):
        _line(record)
        records.append(record)
        if options.record is not None:
            with options.record.open("a") as stream:
                stream.write(json.dumps(record) + "\n")
    _tell(records)
    return 0


def _measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from benchmarks.diagnostics import detection, repair

    for case in _chosen(options):
        if not options.repair:
            yield detection.measure(case)
        elif case.repairable:
            for seed in range(options.seeds):
                yield repair.measure(case, options.first_seed + seed)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks diagnostics", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME",
                        help="codes, families or cases; `healthy` for the healthy runs")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="every eleventh case")
    parser.add_argument("--tuning", action="store_true", help="only the half that thresholds may be tuned on")
    parser.add_argument(
        "--repair", action="store_true", help="let the runs mend themselves, beside random search"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="seeds for each repair (default: 1)"
    )
    parser.add_argument(
        "--first-seed", type=int, default=0, metavar="N", help="and the number of the first (default: 0)"
    )
    parser.add_argument("--cost", action="store_true", help="what the rules cost a healthy run")
    parser.add_argument("--injections", type=int, default=0, metavar="N",
                        help="NaN and infinity in inputs, losses and gradients at N random steps")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="pairs of runs for --cost")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append each run to FILE as a JSON line")
    parser.add_argument("--table", type=Path, metavar="FILE", help="train nothing; the tables of such a file")
    return parser


def _chosen(options: argparse.Namespace) -> list[Case]:
    from benchmarks.diagnostics import faults, healthy

    everything = [*faults.cases(), *healthy.cases()]
    if options.tuning:
        everything = [case for case in everything if not case.held_out]
    if options.only:
        wanted = set(options.only)
        everything = [
            case for case in everything if wanted & {case.code or "healthy", case.family, case.name}
        ]
    return everything[::11] if options.quick else everything


def _line(record: dict[str, Any]) -> None:
    if record["kind"] == "repair":
        verdict = "repaired" if record["repaired"] else "NOT repaired"
        text = f"{verdict} by {', '.join(record['fixes']) or 'nothing'}, cost {record['cost']:.2f}"
    elif record["invalid"]:
        text = f"does not count: {record['invalid']}"
    elif record["code"]:
        text = f"found as {record['found']} in epoch {record['found_epoch']}" if record["found"] else "MISSED"
    else:
        text = f"FALSE ALARM {', '.join(record['false'])}" if record["false"] else "quiet"
    print(f"  {record['case']:<36} {record['seconds']:5.1f} s  {text}", file=sys.stderr, flush=True)


def _tell(records: Sequence[dict[str, Any]]) -> None:
    from benchmarks.diagnostics import detection, repair

    if any(record["kind"] == "detection" for record in records):
        print(detection.table(records))
    if any(record["kind"] == "repair" for record in records):
        print(repair.table(records))
