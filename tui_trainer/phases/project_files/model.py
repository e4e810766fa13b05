"""The model of this project: what `model.target: model:Net` in config.yaml names."""

from __future__ import annotations

from torch import Tensor, nn


class Net(nn.Module):
    """One hidden layer: `[n, in_features]` in, one logit a class `[n, num_classes]` out.

    `in_features` and `num_classes` are filled in from the data; everything else is set in config.yaml, under
    `model.args`. Replace the layers by your own; no softmax at the end, the loss does that.
    """

    def __init__(self, in_features: int, num_classes: int, hidden: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits; `inputs` is one batch, as `make_data` gave the samples."""
        logits: Tensor = self.layers(inputs)
        return logits
