"""What stands beside the form of the Plan screen: data, model, environment, as rows of text with roles."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from tui_trainer.screens.wrapping import crop_row, wrap_runs
from tui_trainer.session.wording import cell_width, clean_text, crop, format_bytes, format_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.plan_view import PlanView

LABEL = 14  # cells
LEVELS = 16  # of grey in a picture
RAMP = " .:-=+*%@#"  # darkest first, where there are no half-blocks
_GAP = 2


def fact(label: str, value: str, width: int, role: str = "text") -> list[Row]:
    """A label and its value, in as many rows as it takes."""
    name = (_padded(clean_text(label, limit=60), LABEL), "dim")
    return wrap_runs([(clean_text(value), role)], width, indent=LABEL, first=(name,))


def error_rows(view: PlanView, width: int) -> list[Row]:
    """Why a run could not begin, as a paragraph; nothing where it could."""
    if view.error is None:
        return []
    rows: list[Row] = [(("What is wrong", "bad"),)]
    for line in clean_text(view.error, lines=True, limit=4000).splitlines():
        rows += wrap_runs([(line, "text")], width) or [()]
    return [*rows, ()]


# ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────


def data_rows(view: PlanView, width: int, glyphs: Glyphs) -> list[Row]:
    """Sizes of the splits, classes as bars, what was found wrong, a few samples."""
    data = view.messages.get("data")
    if data is None:
        return _waiting(view, width)
    rows = _size_rows(data, width, glyphs)
    shape = data.get("input_shape")
    kind = str(data.get("task"))
    outputs = data.get("outputs")
    rows += fact("task", kind + (f", {outputs} outputs" if outputs else ""), width)
    if shape is not None:
        rows += fact("input", " × ".join(map(str, shape)) or "one number", width)
    for told in view.diagnostics:
        role = {"critical": "bad", "warning": "warn"}.get(str(told.get("severity")), "dim")
        rows += fact(str(told.get("code", "")), str(told.get("message", "")), width, role)
    if counts := data.get("class_counts"):
        rows += [(), *_class_rows(counts, data.get("class_names") or [], width, glyphs)]
    elif spread := data.get("targets"):
        words = ", ".join(f"{name} {format_number(value)}" for name, value in spread.items())
        rows += fact("targets", words, width)
    return [crop_row(row, width) for row in [*rows, (), *_sample_rows(data, width, glyphs)]]


def _waiting(view: PlanView, width: int) -> list[Row]:
    if view.checking:
        words = "Reading data and model, in a process of its own …"
    elif view.read_only:
        words = "The run has data and model in hand: its log tells of them."
    elif view.outdated:
        words = "The config was changed: looked at again in a moment."
    else:
        words = "Not looked at yet: r does."
    return wrap_runs([(words, "dim")], width)


def _bar(share: float, size: int, glyphs: Glyphs) -> list[Run]:
    full = min(size, max(1 if share > 0 else 0, round(share * size)))
    return [(glyphs.full * full, "bar"), (glyphs.rest * (size - full), "dim")]


def _size_rows(data: Mapping[str, Any], width: int, glyphs: Glyphs) -> list[Row]:
    sizes = {str(name): int(size) for name, size in data.get("sizes", {}).items()}
    total = max(1, sum(sizes.values()))
    rows: list[Row] = []
    for name, size in sizes.items():
        share = size / total
        words = f" {size:>9,}  {share * 100:3.0f}%"
        bar = _bar(share, max(0, min(40, width - LABEL - len(words))), glyphs)
        rows.append(((f"{name:<{LABEL}}", "dim"), *bar, (words, "text")))
    return rows


def _class_rows(counts: Sequence[int], names: Sequence[str], width: int, glyphs: Glyphs) -> list[Row]:
    """One class a row; with many, the most frequent and the rarest."""
    most, total = max(1, *counts), max(1, sum(counts))
    order = list(range(len(counts)))
    cut = len(order) > 30
    if cut:
        by_size = sorted(order, key=lambda index: -counts[index])
        order = [*by_size[:12], -1, *by_size[-8:]]
    title = f"{len(counts)} classes of the train set" + (", most frequent and rarest" if cut else "")
    rows: list[Row] = [((crop(title, width), "strong"),)]
    for index in order:
        if index < 0:
            rows.append((("…", "dim"),))
            continue
        name = clean_text(names[index] if index < len(names) else index, limit=60)
        words = f" {counts[index]:>9,}  {counts[index] / total * 100:3.0f}%"
        room = max(0, min(40, width - LABEL - len(words)))
        rows.append(
            ((_padded(name, LABEL), "dim"), *_bar(counts[index] / most, room, glyphs), (words, "text"))
        )
    return rows


def _sample_rows(data: Mapping[str, Any], width: int, glyphs: Glyphs) -> list[Row]:
    samples = list(data.get("samples") or [])
    if not samples:
        return []
    names = data.get("class_names") or []
    rows: list[Row] = [(("Samples of the train set, as the model gets them", "strong"),)]
    images = [item for item in samples if "image" in item]
    if images:
        rows += _image_rows(images, names, width, glyphs)
    for item in samples:
        if "image" in item:
            continue
        label: Run = (_padded(_target(item, names), LABEL), "dim")
        rows += wrap_runs([(_content(item), "text")], width, indent=LABEL, first=(label,))[:3]
    return rows


def _target(item: Mapping[str, Any], names: Sequence[str]) -> str:
    target = item.get("target")
    if isinstance(target, int) and 0 <= target < len(names):
        return clean_text(names[target], limit=40)
    return clean_text(format_number(target) if isinstance(target, float) else target, limit=40)


def _content(item: Mapping[str, Any]) -> str:
    if "text" in item:
        return clean_text(item["text"], limit=200)
    numbers = item.get("numbers") or []
    words = " ".join(f"{value:.3g}" if isinstance(value, (int, float)) else str(value) for value in numbers)
    left = int(item.get("count") or len(numbers)) - len(numbers)
    return f"{words} … {left:,} more" if left > 0 else words


def _image_rows(
    images: Sequence[Mapping[str, Any]], names: Sequence[str], width: int, glyphs: Glyphs
) -> list[Row]:
    """The pictures side by side, as many as have room."""
    pictures = [half_blocks(item["image"], glyphs) for item in images]
    rows: list[Row] = []
    start = 0
    while start < len(pictures):
        end, used = start, 0
        while end < len(pictures) and (end == start or used + _GAP + _wide(pictures[end]) <= width):
            used += _wide(pictures[end]) + (_GAP if end > start else 0)
            end += 1
        block = pictures[start:end]
        labels: list[Run] = []
        for item, picture in zip(images[start:end], block, strict=True):
            size = _wide(picture) + _GAP
            labels.append((_padded(_target(item, names), size), "dim"))
        rows.append(tuple(labels))
        for y in range(max(map(len, block))):
            line: list[Run] = []
            for picture in block:
                blank: Row = ((" " * _wide(picture), "text"),)
                line += [*(picture[y] if y < len(picture) else blank), (" " * _GAP, "text")]
            rows.append(tuple(line))
        start = end
    return rows


def _wide(picture: Sequence[Row]) -> int:
    return max(6, sum(cell_width(text) for text, _ in picture[0])) if picture else 6


def half_blocks(pixels: Sequence[Sequence[float]], glyphs: Glyphs) -> list[Row]:
    """Grey values from 0 to 1 as rows: two pixels a cell, one above the other, in roles `grey-<above>-<below>`."""
    rows: list[Row] = []
    for y in range(0, len(pixels), 2):
        above = pixels[y]
        below = pixels[y + 1] if y + 1 < len(pixels) else [0.0] * len(above)
        pairs = [(_level(a), _level(b)) for a, b in zip(above, below, strict=True)]
        if glyphs.ascii:
            top = 2 * (LEVELS - 1)
            text = "".join(RAMP[(a + b) * (len(RAMP) - 1) // top] for a, b in pairs)
            rows.append(((text.ljust(6), "text"),))
            continue
        runs: list[Run] = [(glyphs.half, f"grey-{a}-{b}") for a, b in pairs]
        if len(pairs) < 6:
            runs.append((" " * (6 - len(pairs)), "text"))
        rows.append(tuple(runs))
    return rows


def _level(value: float) -> int:
    return round(min(1.0, max(0.0, value)) * (LEVELS - 1)) if math.isfinite(value) else 0


# ── model ───────────────────────────────────────────────────────────────────────────────────────────────────────


def model_rows(view: PlanView, width: int, glyphs: Glyphs) -> list[Row]:
    """Parameters, memory, the dummy pass, layers."""
    model = view.messages.get("model")
    if model is None:
        return _waiting(view, width)
    total, trained = int(model.get("parameters", 0)), int(model.get("trainable", 0))
    frozen = f", {total - trained:,} frozen" if trained < total else ""
    rows = fact("model", f"{model.get('architecture')}, {total:,} parameters{frozen}", width, "strong")
    batches = f"{model.get('steps_per_epoch')} steps an epoch, {model.get('batch_size')} samples a batch"
    rows += fact("training", f"{batches}, on {model.get('device')}", width)
    rows += _memory_rows(model.get("memory") or {}, width, glyphs)
    entry = view.entry("dummy_pass")
    if entry is not None and entry.finding.evidence:
        role = "bad" if entry.finding.state == "failed" else "text"
        rows += fact("one pass", entry.finding.evidence, width, role)
    return [crop_row(row, width) for row in [*rows, (), *_layer_rows(model, width)]]


def _memory_rows(memory: Mapping[str, Any], width: int, glyphs: Glyphs) -> list[Row]:
    known = {name: int(size) for name, size in memory.items() if size is not None}
    if not known:
        return []
    total = sum(known.values())
    unknown = "" if memory.get("activations") is not None else ", activations not known"
    rows = fact("memory", f"about {format_bytes(total)} while training{unknown}", width)
    for name, size in known.items():
        words = f" {format_bytes(size):>9}"
        bar = _bar(size / max(1, total), max(0, min(40, width - LABEL - len(words))), glyphs)
        rows.append(((f"  {name:<{LABEL - 2}}", "dim"), *bar, (words, "text")))
    return rows


def _layer_rows(model: Mapping[str, Any], width: int) -> list[Row]:
    layers = list(model.get("layers") or [])
    shapes = ["×".join(map(str, layer["output"])) if layer.get("output") else "-" for layer in layers]
    counts = [f"{int(layer.get('parameters', 0)):,}" if layer.get("parameters") else "-" for layer in layers]
    shape_size = max([6, *map(len, shapes)]) + 1
    count_size = max([10, *map(len, counts)]) + 1
    kinds = [clean_text(layer.get("kind", ""), limit=30) for layer in layers]
    kind_size = min(max([5, *map(cell_width, kinds)]) + 1, max(6, (width - shape_size - count_size) // 2))
    names = [clean_text(layer.get("name", ""), limit=120) for layer in layers]
    wanted = max([LABEL, *map(cell_width, names)]) + 1
    name_size = max(4, min(wanted, width - kind_size - shape_size - count_size))

    def row(name: str, kind: str, shape: str, count: str, role: str) -> Row:
        text = _padded(name, name_size) + _padded(kind, kind_size)
        return ((text + shape.rjust(shape_size) + count.rjust(count_size), role),)

    rows = [row("layer", "kind", "output", "parameters", "dim")]
    for name, kind, shape, count in zip(names, kinds, shapes, counts, strict=True):
        rows.append(row(name, kind, shape, count, "text"))
    if more := int(model.get("more_layers") or 0):
        rows.append(((f"and {more:,} more layers", "dim"),))
    return rows


def _padded(text: str, size: int) -> str:
    shown = crop(text, size - 1)
    return shown + " " * (size - cell_width(shown))


# ── environment ─────────────────────────────────────────────────────────────────────────────────────────────────


def environment_rows(view: PlanView, width: int) -> list[Row]:
    """What the program, the machine and the code are, as the gate keeps it."""
    found, code = dict(view.details("environment")), view.details("repository")
    found = dict(view.messages.get("platform", {})) | found
    if not found:
        return _waiting(view, width)
    gpus = Counter(_gpu(gpu) for gpu in found.get("gpus") or [])
    facts = [
        ("Python", f"{found.get('implementation') or ''} {found.get('python') or ''}".strip()),
        ("torch", found.get("torch")),
        ("CUDA", found.get("cuda") or "none"),
        ("cuDNN", found.get("cudnn") or "none"),
        ("GPU driver", found.get("driver") or "none"),
        ("GPUs", ", ".join(f"{count} × {name}" for name, count in gpus.items()) or "none"),
        ("CPU", f"{found['cpu']}, {found.get('cores')} cores" if found.get("cpu") else None),
        ("memory", format_bytes(found["memory_bytes"]) if found.get("memory_bytes") else None),
        ("system", found.get("os")),
        ("host", found.get("host")),
        ("packages", f"{found['packages']}, pinned in reproducibility/" if found.get("packages") else None),
        ("commit", f"{str(code['commit'])[:12]} on {code.get('branch')}" if code.get("commit") else None),
        ("code", _evidence(view, "repository")),
        ("folder", str(view.loaded.folder) if view.loaded is not None else None),
    ]
    return [row for label, value in facts if value for row in fact(label, str(value), width)]


def _gpu(found: Any) -> str:
    if not isinstance(found, dict):
        return clean_text(found, limit=80)
    memory = found.get("memory_bytes")
    return f"{clean_text(found.get('name'), limit=80)}{f' ({format_bytes(memory)})' if memory else ''}"


def _evidence(view: PlanView, name: str) -> str | None:
    entry = view.entry(name)
    return entry.finding.evidence if entry is not None else None
