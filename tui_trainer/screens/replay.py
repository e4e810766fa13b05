"""A run from its folder on the screen of a live one: finished, or going on in another process. It takes no commands."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from tui_trainer.screens.baseline import BaselineScreen
from tui_trainer.screens.feed import Feed
from tui_trainer.screens.keys import BACK
from tui_trainer.screens.painting import Channel
from tui_trainer.screens.panels import STATUS_WORDS, badge_runs
from tui_trainer.screens.view import RunView
from tui_trainer.session.replay import RunReplay
from tui_trainer.session.wording import cell_width, clean_text, crop

if TYPE_CHECKING:
    from pathlib import Path

    from textual.binding import BindingType

    from tui_trainer.screens.canvas import Row
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.panels import Glyphs


class ReplayScreen(BaselineScreen):
    """Shows the run in `folder`, and follows it while it goes on."""

    shows_own_run = False
    help_bindings = (BACK,)
    BINDINGS: ClassVar[list[BindingType]] = [BACK]

    class Updated(Message):
        """There is a newer view."""

    def __init__(self, painter: ChartPainter, glyphs: Glyphs, folder: Path, name: str) -> None:
        channel = Channel(painter, "replay")
        super().__init__(channel, glyphs, RunView(name=clean_text(name, limit=200)))
        self._channel = channel
        self._newest: RunView | None = None
        self._run_name = clean_text(name, limit=200)
        self._feed = Feed(
            lambda: RunReplay(folder),
            on_started=lambda _: None,
            on_view=self._on_view,
            on_error=lambda _: None,
            name=self._run_name,
        )

    def on_mount(self) -> None:
        """Begin to read."""
        self._feed.start()

    def on_unmount(self) -> None:
        """Read no longer."""
        self._feed.stop()
        self._channel.close()

    @property
    def shown(self) -> RunView:
        """The view that is on the screen."""
        return self._view

    def header(self, width: int) -> Row:
        """Says in the first place that this is not the run that the keys steer."""
        view = self._view
        kind = " REPLAY " if view.is_over else " LIVE, READ ONLY "
        word, role = STATUS_WORDS.get(view.status, (view.status, "text"))
        if view.status == "starting":
            kind, word = " REPLAY ", "reading"
        right = f"  {view.device} " if view.device else " "
        back = "Esc: back   " if width >= 70 else ""
        badge = badge_runs(view)
        room = (
            width - len(kind) - len(word) - len(right) - len(back) - sum(len(text) for text, _ in badge) - 4
        )
        name = crop(view.name or self._run_name, max(0, room))
        gap = " " * max(1, room - cell_width(name) + 2)
        return (
            (kind, "replay"),
            (f" {name}", "strong"),
            (gap, "text"),
            (back, "dim"),
            *badge,
            (word, role),
            (right, "dim"),
        )

    def _on_view(self, view: RunView) -> None:
        """Called on the feed's thread: one message is under way at most."""
        waiting, self._newest = self._newest is not None, view
        if not waiting:
            with contextlib.suppress(RuntimeError):  # the app has closed meanwhile
                self.post_message(self.Updated())

    def on_replay_screen_updated(self) -> None:
        """Show the newest view."""
        view, self._newest = self._newest, None
        if view is not None:
            self.show(view)

    def action_close(self) -> None:
        """Close the diagnostics; then back to where this was opened from."""
        if self.diagnosis.mode != "closed":
            self.diagnosis.act("close")
        else:
            self.dismiss()
