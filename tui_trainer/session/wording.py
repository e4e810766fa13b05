"""Numbers, names and outside text as people read them, the same in log, printer, screens and reports."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_LIMIT = 2000  # characters of one outside text that reach a log line

# CSI and OSC/DCS/APC sequences as a whole, two-character escapes, then any control character that is left:
# C0 but newline, C1, signs of no width, bidirectional overrides, lone surrogates.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u2028\u2029\u2060-\u2064\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_WIDTHLESS = frozenset({"Mn", "Me", "Cf"})  # combining marks and joiners

# Metrics that are shares of something and therefore shown in percent, by the words of their names.
_SHARES = frozenset(
    {
        "acc",
        "accuracy",
        "f1",
        "precision",
        "recall",
        "specificity",
        "auroc",
        "auc",
        "iou",
        "jaccard",
        "dice",
        "hit",
    }
)
_SHORT = {"accuracy": "Acc", "f1": "F1", "auroc": "AUROC", "auc": "AUC", "iou": "IoU", "mse": "MSE",
          "mae": "MAE", "rmse": "RMSE", "r2": "R2"}  # fmt: skip


def clean_text(text: object, *, lines: bool = False, limit: int = LINE_LIMIT) -> str:
    """Outside text made safe to print: escape sequences and control characters gone, length bounded.

    Newlines become spaces unless `lines` is true. Whatever `text` is, this never raises.
    """
    try:
        raw = text if isinstance(text, str) else str(text)
    except Exception as error:  # a user's __str__ may do anything
        raw = f"<unprintable {type(text).__name__}: {type(error).__name__}>"
    cut = len(raw) > limit
    raw = raw[: 4 * limit].replace("\r\n", "\n").replace("\t", "    ")
    raw = _CONTROLS.sub("", _ESCAPES.sub("", raw))
    if not lines:
        raw = " ".join(raw.split("\n"))
    if len(raw) > limit:
        raw = raw[: limit - 1]
        cut = True
    else:
        cut = cut and len(raw) >= limit
    return raw + "…" if cut else raw


def format_number(value: float | None, digits: int = 4) -> str:
    """A number for people: about `digits` significant digits, "NaN", "inf", "-inf", or "n/a" for None."""
    if value is None:
        return "n/a"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size != 0 and (size < 1e-3 or size >= 1e6):
        return f"{value:.{max(0, digits - 2)}e}"
    whole = len(str(int(size))) if size >= 1 else 0
    return f"{value:.{max(0, digits - whole)}f}"


def format_rate(value: float) -> str:
    """A learning rate: "1.0e-03"."""
    return f"{value:.2e}" if math.isfinite(value) else format_number(value)


def format_duration(seconds: float | None) -> str:
    """ "850ms", "12.3s", "2m 15s", "1h 02m", "3d 04h"; "n/a" for None and for what is not finite."""
    if seconds is None or not math.isfinite(seconds):
        return "n/a"
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def format_bytes(size: float) -> str:
    """A size in decimal units: "812 B", "44.1 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def is_share(name: str) -> bool:
    """Whether the metric of this name is a fraction that people read in percent."""
    return not _SHARES.isdisjoint(name.lower().split("_"))


def format_metric(name: str, value: float) -> str:
    """A metric's value: percent for accuracy-like fractions, else a plain number."""
    if is_share(name) and math.isfinite(value) and 0 <= value <= 1:
        return f"{value * 100:.1f}%"
    return format_number(value)


def metric_label(name: str) -> str:
    """ "train_accuracy" → "Train Acc", "val_loss" → "Val Loss"."""
    words = clean_text(name, limit=60).split("_")
    return " ".join(_SHORT.get(word.lower(), word[:1].upper() + word[1:]) for word in words if word)


def cell_width(text: str) -> int:
    """Columns that `text` takes on a terminal: wide characters count two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def crop(text: str, width: int) -> str:
    """`text` in at most `width` columns, its end replaced by "…" where it was longer."""
    if cell_width(text) <= width:
        return text
    if width <= 1:
        return "…"[: max(0, width)]
    used, kept = 0, []
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def wrap(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width` cells, broken at spaces where there are any."""
    if cell_width(text) <= width:
        return [text]
    parts: list[str] = []
    start = 0
    while start < len(text):
        end = _fitting(text, start, width)
        if end < len(text):
            space = text.rfind(" ", start + 1, end + 1)
            end = space if space > start + (end - start) // 2 else end
        parts.append(text[start:end].rstrip(" ") if end < len(text) else text[start:])
        start = end
        while start < len(text) and text[start] == " ":
            start += 1
    return parts


def _fitting(text: str, start: int, width: int) -> int:
    """Where a piece from `start` on ends that fills at most `width` cells; it takes one character at least."""
    piece = text[start : start + width]
    if piece.isascii():
        return start + len(piece)
    used = 0
    for place in range(start, len(text)):
        used += cell_width(text[place])
        if used > width:
            return max(start + 1, place)
    return len(text)


def _char_width(char: str) -> int:
    if unicodedata.category(char) in _WIDTHLESS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wants_ascii(environ: Mapping[str, str]) -> bool:
    """Whether to send the terminal nothing but ASCII: a C or non-UTF-8 locale, or the Linux console."""
    if environ.get("TERM") == "linux":
        return True
    asked = environ.get("LC_ALL") or environ.get("LANG") or ""
    if not environ.get("LC_ALL") and environ.get("LC_CTYPE") and environ.get("LC_CTYPE") != "C.UTF-8":
        asked = environ["LC_CTYPE"]  # "C.UTF-8" may be Python's own coercion of LANG=C
    if asked in ("C", "POSIX"):
        return True
    _, dot, encoding = asked.partition(".")
    return bool(dot) and "utf" not in encoding.lower()
