"""The data of this project: what `data.target: data:make_data` in config.yaml names.

As it is, it gives 1,797 handwritten digits, so that everything runs before your own data is here. Put your own into
`make_data`; the rest of the project stays as it is.
"""

from __future__ import annotations

import torch
from torch.utils.data import Dataset, TensorDataset


def make_data() -> Dataset[tuple[torch.Tensor, ...]]:
    """All samples, as pairs (input, target): float32[64] and the digit, an integer from 0 to 9.

    The program divides them into training, validation and test sets by `data.val_fraction` and `data.test_fraction`,
    seeded, with the same share of each class. To divide them yourself, return `(train, val)` or `(train, val, test)`.

    Arguments that you add here are set in config.yaml, under `data.args`: `def make_data(path: str)` takes
    `args: {path: samples.csv}`, and a relative path there starts at the config's folder.
    """
    # ---- your own data from here on ---------------------------------------------------------------------------
    from sklearn.datasets import load_digits  # imported late: it takes a second

    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels, dtype=torch.float32) / 16.0  # about 0 to 1, as networks like it
    targets = torch.tensor(labels, dtype=torch.int64)  # class numbers from 0; float32 for regression
    return TensorDataset(inputs, targets)  # data in memory is batched fastest as tensors
    # For samples that do not fit into memory, return a torch.utils.data.Dataset that reads one in __getitem__.
    # For a CSV file you need no code: `data: {target: table, args: {path: samples.csv, label: column}}`.
