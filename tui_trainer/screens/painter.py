"""The painter process: draws charts, so that building them never holds the training process's GIL.

    python -m tui_trainer.screens.painter

reads requests on stdin and answers on stdout; each message is a 4-byte big-endian length and a pickle. A
request is `(key, picture)`; the answer `(key, drawing)`. It ends when stdin does: with its parent. Both
ends are this program, on pipes nobody else holds, which is what makes pickle safe here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import sys
from typing import IO, cast

from tui_trainer.screens.canvas import Drawing, Picture, draw

LENGTH = struct.Struct(">I")

Request = tuple[str, Picture]
Answer = tuple[str, Drawing]


def send(stream: IO[bytes], message: object) -> None:
    """Write one message."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH.pack(len(body)) + body)
    stream.flush()


def receive(stream: IO[bytes]) -> object | None:
    """The next message; None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = stream.read(size)
    return pickle.loads(body) if len(body) == size else None  # noqa: S301 (our own parent wrote it)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more. A picture that cannot be drawn is answered with its error."""
    while (message := receive(requests)) is not None:
        key, picture = cast("Request", message)
        try:
            drawing = draw(picture)
        except Exception as error:  # the chart says so; the next one may work
            text = f"chart failed: {type(error).__name__}"[: max(0, picture.width)]
            drawing = Drawing([((text, "bad"),)])
        send(answers, (key, drawing))


def main() -> None:
    """Serve the parent. Interrupts and hang-ups are the parent's to handle."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not mix into the answers
    with contextlib.suppress(OSError):  # the parent is gone
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
