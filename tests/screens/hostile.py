"""User code that does to a terminal whatever can be done to one. `test_hostile.py` trains it."""

import ctypes
import logging
import os
import sys
import warnings

from torch import nn

C = ctypes.CDLL(None)
ESCAPES = (
    "\x1b]0;HOSTILE TITLE\x07\x1b]52;c;SE9TVElMRQ==\x07\x1b[?1049l\x1b[?2004h\x1b[2J\x1b[31m\x1bPHOSTILE DCS\x1b\\"
    "\x1bc\x9b31m\u200b\u202eright to left \u05d0\u05d1 lone \ud800"
)
LINES = 300  # a step: some ten thousand a second


class Evil(nn.Module):
    """Floods, rings and scribbles on each batch; says nothing of itself."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.calls = 0

    def __repr__(self) -> str:
        raise RuntimeError("[/red] no repr for you")

    def forward(self, x):
        self.calls += 1
        print("\n".join(f"flood {self.calls} {line}" for line in range(LINES)))
        print(ESCAPES)
        print(ESCAPES, file=sys.__stdout__)
        print(ESCAPES, file=sys.__stderr__)
        C.write(2, b"\x1b[?1049lfrom C [/red] [00]\n", 27)
        os.write(1, b"not utf-8 \xff\xfe\n")
        print("M" * 10_000_000 if self.calls == 5 else "")
        logging.getLogger("evil").warning("[/red] [00] %s", ESCAPES)
        warnings.warn("[bold]careful[/]" + ESCAPES, stacklevel=1)
        return self.layer(x)


Evil.__name__ = Evil.__qualname__ = "\x1b]0;HOSTILE CLASS" + "N" * 10_000_000


def agreement(outputs, targets):
    """A metric of the user's own."""
    return (outputs.argmax(1) == targets).float().mean()


agreement.__name__ = agreement.__qualname__ = "[/red]\x1b[2J" + "m" * 10_000_000
