"""The process of one contender: `python -m benchmarks.worker module:function WORKLOAD RESULT_FILE`."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from benchmarks.workloads import WORKLOADS


def main() -> None:
    """Fit, check that the number of threads is the one asked for, and leave the figures in a file."""
    function, workload, file = sys.argv[1:]
    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(WORKLOADS[workload])
    import torch

    if str(torch.get_num_threads()) != os.environ["OMP_NUM_THREADS"]:
        sys.exit(f"{function} ran with {torch.get_num_threads()} torch threads")
    if len(result.wall) != WORKLOADS[workload].all_epochs:
        sys.exit(f"{function} trained {len(result.wall)} epochs")
    content = {
        "workload": workload,
        "rate": result.rate(result.wall),
        "cpu_rate": result.rate(result.cpu),
        "val_loss": result.val_loss,
        "val_accuracy": result.val_accuracy,
        "load_average": os.getloadavg()[0],
    }
    Path(file).write_text(json.dumps(content))


if __name__ == "__main__":
    main()
