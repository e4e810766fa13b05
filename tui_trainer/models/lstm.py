"""A recurrent classifier or regressor over sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tui_trainer.config.errors import ModelError
from tui_trainer.models.arguments import positive, share


class LSTM(nn.Module):
    """Sequences to `[n, num_classes]`, read off the last state of each direction.

    With an embedding: token ids, integers `[n, length]`, where positions that hold `padding_id` at a sequence's
    end are left out. Without: floats `[n, length, num_features]`; inputs of other shapes are read as such a
    sequence in order (`[n, 64]` with `num_features` 8 is 8 steps, as is an 8×8 image).
    """

    def __init__(
        self, recurrent: nn.LSTM, head: nn.Linear, dropout: nn.Dropout, embedding: nn.Embedding | None
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.recurrent = recurrent
        self.dropout = dropout
        self.head = head

    def forward(self, sequences: Tensor) -> Tensor:
        if self.embedding is not None:
            lengths = self._lengths(sequences)
            steps = self.embedding(sequences.long())
        else:
            lengths = None
            steps = self._steps(sequences)
        if lengths is not None:
            steps = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.recurrent(steps)
        directions = 2 if self.recurrent.bidirectional else 1
        state = torch.cat(list(last[-directions:]), dim=1)
        output: Tensor = self.head(self.dropout(state))
        return output

    def _steps(self, sequences: Tensor) -> Tensor:
        features = self.recurrent.input_size
        if sequences.ndim == 3 or sequences[0].numel() % features:
            return sequences  # fits, or shall be refused by the LSTM itself
        return sequences.reshape(len(sequences), -1, features)

    def _lengths(self, tokens: Tensor) -> Tensor | None:
        """Tokens in each sequence up to the last that is no padding (at least 1), on the CPU as torch wants them."""
        padding = None if self.embedding is None else self.embedding.padding_idx
        if padding is None:
            return None
        positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        return ((tokens != padding) * positions).amax(dim=1).clamp(min=1).cpu()


def lstm(
    num_features: int,
    num_classes: int,
    *,
    hidden_size: int = 128,
    num_layers: int = 1,
    dropout: float = 0.0,
    vocab_size: int | None = None,
    embedding_size: int = 128,
    padding_id: int | None = None,
    bidirectional: bool = False,
) -> LSTM:
    """The model `lstm`. With `vocab_size`, inputs are token ids below it, embedded in `embedding_size` numbers
    (`num_features` is then not used); `padding_id` is the token that fills up short sequences. `dropout` acts
    between layers and before the head."""
    dropout = share("lstm", "dropout", dropout)
    embedding = None
    if vocab_size is not None:
        size = positive("lstm", "vocab_size", vocab_size)
        if padding_id is not None and not 0 <= padding_id < size:
            raise ModelError(
                f"Model lstm: args.padding_id is {padding_id}; expected a token id from 0 to {size - 1}."
            )
        embedding = nn.Embedding(
            size, positive("lstm", "embedding_size", embedding_size), padding_idx=padding_id
        )
    hidden_size = positive("lstm", "hidden_size", hidden_size)
    num_layers = positive("lstm", "num_layers", num_layers)
    recurrent = nn.LSTM(
        num_features if embedding is None else embedding.embedding_dim,
        hidden_size,
        num_layers,
        batch_first=True,
        dropout=dropout if num_layers > 1 else 0.0,
        bidirectional=bidirectional,
    )
    head = nn.Linear(hidden_size * (2 if bidirectional else 1), num_classes)
    return LSTM(recurrent, head, nn.Dropout(dropout), embedding)
