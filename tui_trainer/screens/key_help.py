"""What the help page and the command palette list: the keys that do something on the page in front."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import App, SystemCommand

from tui_trainer.screens.baseline import BaselineScreen
from tui_trainer.screens.keys import (
    BINDINGS,
    CHART_BINDINGS,
    DIAGNOSIS_BINDINGS,
    GATE_BINDINGS,
    GATE_KEY,
    MARK_BINDINGS,
)
from tui_trainer.screens.preferences import with_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from textual.binding import Binding
    from textual.screen import Screen
    from textual.widget import Widget

    from tui_trainer.screens.app import MLTrainerApp


def help_groups(app: MLTrainerApp, keys: Mapping[str, str]) -> dict[str, Sequence[Binding]]:
    """The bindings of the page in front under the titles that say where they hold; `keys`: the user's own."""
    here: Sequence[Binding] = getattr(app.screen, "help_bindings", ())
    panels = isinstance(app.screen, BaselineScreen)
    gate = isinstance(app.screen, BaselineScreen) and app.screen.gate.display
    at_gate: Sequence[Binding] = (MARK_BINDINGS[0], *GATE_BINDINGS, GATE_KEY) if gate else ()
    taken = {key for item in (*here, *at_gate) for key in item.key.split(",")}
    groups: dict[str, Sequence[Binding]] = {
        "On this page": here,
        "On the gate after the run": at_gate,
        "Keys": [
            item for item in BINDINGS if app.applies(item) and not taken.issuperset(item.key.split(","))
        ],
        "On a chart (Tab, a click or f takes you there)": CHART_BINDINGS if panels else (),
        "In the diagnostics (they come up by themselves, and with d)": DIAGNOSIS_BINDINGS if panels else (),
    }
    return {title: with_keys(found, keys) for title, found in groups.items() if found}


def palette_commands(app: MLTrainerApp, screen: Screen[object]) -> Iterator[SystemCommand]:
    """An entry for the action of every key that does something here."""
    for binding in getattr(screen, "help_bindings", ()):
        yield _command(binding, *filter(None, (screen.focused, screen)))
    for binding in BINDINGS:
        if binding.id != "app.leave" and app.applies(binding):  # the same as app.quit
            yield _command(binding, app)
    if isinstance(screen, BaselineScreen):
        if screen.gate.begun:
            yield _command(GATE_KEY, screen)
        for binding in CHART_BINDINGS:
            yield _command(binding, screen.charts, prefix="Chart: ")


def _command(binding: Binding, *places: Widget | App[Any], prefix: str = "") -> SystemCommand:
    """An entry of the palette: the binding's action, on the first of `places` that has it."""
    method = f"action_{binding.action.partition('(')[0].removeprefix('screen.')}"
    place = next((item for item in places if hasattr(item, method)), places[-1])
    action = partial(place.run_action, binding.action)
    return SystemCommand(prefix + binding.description, binding.tooltip, action)
