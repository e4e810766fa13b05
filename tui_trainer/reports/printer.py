"""A run as text on a stream: plain log lines for files and CI, one progress line on a terminal.

The printer never ends a run: when its stream is closed or its terminal is gone, it goes quiet.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from typing import TYPE_CHECKING, Any, TextIO

from tui_trainer.engine.events import (
    CheckpointFailed,
    CheckpointSaved,
    CommandHandled,
    DiagnosticRaised,
    EpochFinished,
    LogLine,
    NonFiniteSkipped,
    Resumed,
    RunFinished,
    RunStarted,
    StepLogged,
    from_json_number,
)
from tui_trainer.session.log_lines import REFUSED, lines_for, shown_rate
from tui_trainer.session.progress import Progress, advance_progress
from tui_trainer.session.wording import (
    cell_width,
    clean_text,
    crop,
    format_duration,
    format_metric,
    format_number,
    format_rate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tui_trainer.engine.events import Event
    from tui_trainer.session.protocol import Subscription

REDRAW_SECONDS = 0.1
POLL_SECONDS = 0.25
FALLBACK_WIDTH = 80
BAR_WIDTHS = (30, 20, 12)
PLAIN_SIGNS = {"━": "#", "─": "-", "…": "...", "–": "-", "·": "-", "→": "->"}
STYLES = {"bad": "\x1b[31m", "warn": "\x1b[33m", "good": "\x1b[32m", "bar": "\x1b[36m"}


class HeadlessPrinter:
    """Prints a run's events on `stream`.

    `interactive`: the stream is a terminal, so draw a progress line (unless TERM=dumb); `verbose`: also print
    debug lines, saved checkpoints and every logged step. `clock` is a monotonic time in seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        interactive: bool,
        verbose: bool,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        env = os.environ if environ is None else environ
        self._stream = stream
        self._environ = env
        self._clock = clock
        self._rest = rest  # bursts: waking for every event would cost the training thread its GIL
        self._verbose = verbose
        self._live = interactive and env.get("TERM", "") != "dumb"
        self._color = self._live and not env.get("NO_COLOR")
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._plain_signs = not _can_encode(self._encoding, "━…")
        self._quiet = False
        self._drawn = False
        self._drawn_at = -REDRAW_SECONDS
        self._progress = Progress()
        self._epochs: int | None = None
        self._metric: str | None = None
        self._latest: StepLogged | None = None
        self._latest_metrics: dict[str, float] = {}
        self._unsaved: dict[str, str] = {}
        self._non_finite = 0
        self._diagnosed: set[str] = set()

    def run(self, subscription: Subscription, finished: Callable[[], bool] | None = None) -> None:
        """Print until the run is finished.

        `finished` tells that nothing more will come even though no `RunFinished` was seen (a run that died).
        """
        while True:
            over = finished is not None and finished()
            events = subscription.poll(POLL_SECONDS)
            for event in events:
                self.handle(event)
            if any(isinstance(event, RunFinished) for event in events) or (over and not events):
                return
            self._draw()
            self._rest(REDRAW_SECONDS)

    def handle(self, event: Event) -> None:
        """Take in one event, and print what it says."""
        self._remember(event)
        if isinstance(event, RunFinished) and event.summary.get("exit_code") == REFUSED:
            self._print([f"mltrainer-tui: {clean_text(event.message)}"], "bad")
            return
        self._print(self._lines(event), _style_of(event))
        if isinstance(event, RunFinished):
            self._print(closing_lines(event, self._unsaved, self._non_finite), None)

    def _remember(self, event: Event) -> None:
        self._progress = advance_progress(self._progress, event)
        self._epochs = self._progress.epochs or self._epochs
        match event:
            case RunStarted():
                self._metric = event.metrics[0] if event.metrics else None
            case Resumed():
                self._latest = None
            case StepLogged():
                self._latest = event
            case NonFiniteSkipped():
                self._non_finite += 1
            case EpochFinished():
                self._latest_metrics = dict(event.metrics)
            case CheckpointFailed():
                self._unsaved.update(dict.fromkeys(event.files, event.reason))
            case CheckpointSaved():
                for name in event.files:
                    self._unsaved.pop(name, None)
            case RunFinished():
                self._live = False
            case _:
                pass

    def _lines(self, event: Event) -> list[str]:
        if isinstance(event, LogLine) and event.level == "debug" and not self._verbose:
            return []
        if isinstance(event, CheckpointSaved) and not self._verbose:
            return []
        if isinstance(event, StepLogged):
            if not self._verbose or self._live:
                return []
            facts = [f"loss {format_number(event.loss)}", f"LR {format_rate(event.learning_rate)}"]
            if event.grad_norm is not None:
                facts.append(f"grad norm {format_number(event.grad_norm)}")
            facts.append(f"{_whole(event.samples_per_second)} samples/s")
            return [f"  step {event.step} (epoch {event.epoch}): {', '.join(facts)}"]
        if isinstance(event, EpochFinished) and self._live and not self._verbose:
            return [self._short_epoch(event, self._width())]
        known = isinstance(event, DiagnosticRaised) and event.id in self._diagnosed
        if isinstance(event, DiagnosticRaised):
            self._diagnosed.add(event.id)
        return lines_for(event, epochs=self._epochs, repeated=known)

    def _short_epoch(self, event: EpochFinished, width: int) -> str:
        """One line an epoch; the training metric and the time are left out where the terminal is narrow."""
        names = ["train_loss", "val_loss"]
        if self._metric is not None and self._metric != "loss":
            names += [f"train_{self._metric}", f"val_{self._metric}"]
        fields = [(0, f"epoch {event.epoch:>{len(str(self._epochs or 0))}}/{self._epochs or '?'}")]
        for place, name in enumerate(names):
            if name in event.metrics:
                fields.append((3 if place == 2 else 0, f"{name} {format_metric(name, event.metrics[name])}"))
        fields.append((1, f"lr {shown_rate(event)}"))
        fields.append((2, format_duration(event.epoch_time)))
        if event.is_best:
            fields.append((0, "best"))
        while True:
            line = "  ".join(clean_text(text) for _, text in fields)
            worst = max(fields)
            if cell_width(line) <= width or worst[0] == 0:
                return crop(line, width)
            fields.remove(worst)

    def _print(self, lines: list[str], style: str | None) -> None:
        if not lines or self._quiet:
            return
        text = []
        if self._drawn:
            text.append("\r\x1b[K")
            self._drawn = False
        for line in lines:
            shown = f"{STYLES[style]}{line}\x1b[0m" if style and self._color else line
            text.append(shown + "\n")
        self._write("".join(text))
        if self._live:
            self._draw(now=True)

    def _draw(self, *, now: bool = False) -> None:
        if not self._live or self._quiet or self._epochs is None:
            return
        moment = self._clock()
        if not now and moment - self._drawn_at < REDRAW_SECONDS:
            return
        self._drawn_at = moment
        line = self._progress_line(self._width() - 1)
        self._write(f"\r{line}\x1b[K")
        self._drawn = True

    def _progress_line(self, width: int) -> str:
        """The progress line in at most `width` cells: what matters least goes first when room is short."""
        progress = self._progress
        step = f"{progress.step_in_epoch}/{progress.steps_per_epoch}"
        head = f"epoch {min(max(1, progress.epoch), progress.epochs)}/{progress.epochs}"
        share = f"{progress.fraction * 100:3.0f}%"
        fields: list[tuple[int, str]] = [(1, f"step {step}")]
        if progress.paused_since is not None:
            fields.append((0, "paused"))
        elif progress.eta is not None:
            fields.append((0, f"ETA {format_duration(progress.eta)}"))
        if self._latest is not None:
            fields.append((2, f"loss {format_number(self._latest.loss)}"))
            name = f"val_{self._metric}"
            if name in self._latest_metrics:
                fields.append((3, f"{name} {format_metric(name, self._latest_metrics[name])}"))
            fields.append((5, f"lr {format_rate(self._latest.learning_rate)}"))
            fields.append((4, f"{_whole(self._latest.samples_per_second)} samples/s"))
        while True:
            texts = [clean_text(text) for _, text in fields]
            rest = "  ".join([head, *texts])
            for bar_width in BAR_WIDTHS:
                room = bar_width + 2 + len(share) + 2
                if room + cell_width(rest) <= width:
                    return f"{self._bar(bar_width)} {share}  {rest}"
            if not fields:
                return crop(f"{share} {head}", width)
            fields.remove(max(fields))

    def _bar(self, width: int) -> str:
        full = round(self._progress.fraction * width)
        bar = "━" * full, "─" * (width - full)
        if self._color:
            return f"{STYLES['bar']}{bar[0]}\x1b[0m{bar[1]}"
        return "".join(bar)

    def _width(self) -> int:
        columns = self._environ.get("COLUMNS", "")
        if columns.isdigit() and int(columns) > 0:
            return int(columns)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(self._stream.fileno()).columns or FALLBACK_WIDTH
        return FALLBACK_WIDTH

    def _write(self, text: str) -> None:
        if self._plain_signs:
            for sign, plain in PLAIN_SIGNS.items():
                text = text.replace(sign, plain)
        text = text.encode(self._encoding, "replace").decode(self._encoding, "replace")
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._go_quiet()

    def _go_quiet(self) -> None:
        """Write no more; what is still buffered goes nowhere instead of failing when the stream is closed."""
        self._quiet = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = self._stream.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def closing_lines(event: RunFinished, unsaved: Mapping[str, str], non_finite: int) -> list[str]:
    """What a person wants to know at the end: results, what was not saved, where it is, how to go on."""
    summary = event.summary
    lines: list[str] = []
    for name, value in summary.items():
        number = from_json_number(value)
        if name.startswith("best_val_") and name != "best_val_loss" and isinstance(number, (int, float)):
            lines.append(f"Best {clean_text(name[5:])}: {format_metric(name, float(number))}")
    if non_finite:
        lines.append(f"Batches skipped for a non-finite loss or gradient: {non_finite}")
    if unsaved:
        lines.append("NOT SAVED:")
        lines += [f"  {clean_text(name)}: {clean_text(why)}" for name, why in unsaved.items()]
    folder = summary.get("run_dir")
    if folder:
        where = clean_text(folder)
        lines.append(f"Run folder: {where}")
        quoted = shlex.quote(where)
        if event.status == "failed" and summary.get("steps") == 0:
            lines.append(f"When that is mended: the same command with --output-dir {quoted} --resume auto")
        elif event.status in ("interrupted", "stopped", "failed", "died"):
            lines.append(
                f"To go on: mltrainer-tui --no-ui --config {quoted}/training_config.yaml "
                f"--output-dir {quoted} --resume auto"
            )
    return lines


def _style_of(event: Event) -> str | None:
    match event:
        case NonFiniteSkipped() | CheckpointFailed() | LogLine(level="error"):
            return "bad"
        case RunFinished(status="failed" | "died"):
            return "bad"
        case RunFinished(status="completed" | "early_stopped"):
            return "good"
        case LogLine(level="warning") | CommandHandled(accepted=False):
            return "warn"
        case _:
            severity: Any = getattr(event, "severity", None)
            return {"critical": "bad", "warning": "warn"}.get(severity)


def _can_encode(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _whole(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) < 1e12 else format_number(value)
