"""Pictures of the Plan screen: three sizes, and the states a plan can be in."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
import sample_plan as plans
from fake_run import InlinePainter
from sample_plan import StillPlanner, checklist, view

from tui_trainer.config.loading import change_config
from tui_trainer.screens.app import MLTrainerApp

SIZES = [(80, 24), (120, 34), (200, 50)]
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")

EDITED = plans.loaded("training.epochs=100", "optimizer.learning_rate=0.01", "model.args={hidden: [64, 64]}")
FAILING = {
    "two_runs": "failed",
    "splits": "waived",
    "intended_use": "open",
    "deterministic": "not_applicable",
}
ERROR = (
    "data.args.path: the file train.csv does not exist in /home/ada/digits; did you mean trains.csv? A table is a CSV or "
    "Parquet file, named relative to the config's folder [/red]."
)
NOTHING = MappingProxyType({})
STATES = {
    "reading": view(loaded=None, checklist=None, messages=NOTHING, diagnostics=()),
    "checking": view(
        checklist=checklist(**dict.fromkeys(["splits", "dummy_pass", "disk", "two_runs"], "open")),
        busy=frozenset({"splits", "dummy_pass", "disk", "two_runs"}),
        checking=True,
        messages=MappingProxyType({"data": plans.DATA}),
    ),
    "passed": view(),
    "edited": view(
        loaded=EDITED, unsaved=True, outdated=True, checklist=checklist(two_runs="open", disk="open")
    ),
    "failing": view(checklist=checklist(**FAILING), messages=MappingProxyType({"data": plans.TEXTS})),
    "long config": view(loaded=plans.long_config(), template_name="the baseline template"),
    "data error": view(error=ERROR, messages=NOTHING, checklist=checklist(data="open", splits="open")),
    "read only": view(run="live"),
}


def app_for(shown, **options):
    return MLTrainerApp(None, painter=InlinePainter(), planner=StillPlanner(shown), **options)


@sizes
@pytest.mark.parametrize("state", STATES)
def test_a_plan(snap_compare, state, size):
    assert snap_compare(app_for(STATES[state]), terminal_size=size)


@pytest.mark.parametrize(("name", "keys"), [
    ("views", ["tab"]), ("model", ["v", "v"][:1]), ("environment", ["v", "v"]), ("gate", ["tab", "tab"]),
    ("item", ["tab", "tab", "enter"]), ("editing", [*["down"] * 10, "enter", "x"]),
    ("sign", ["s"]), ("waive", ["w"]), ("template", ["t"]),
], ids=lambda item: item if isinstance(item, str) else "")  # fmt: skip
@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_keys(snap_compare, name, keys, size):
    shown = STATES["passed"] if name in ("views", "model", "environment") else STATES["failing"]
    assert snap_compare(app_for(shown), terminal_size=size, press=keys)


@sizes
def test_yaml(snap_compare, size):
    assert snap_compare(app_for(STATES["passed"]), terminal_size=size, press=["y"])


def test_saving_the_bundled_config(snap_compare):
    shown = view(loaded=replace(plans.loaded(), path=None))
    assert snap_compare(app_for(shown), terminal_size=(80, 24), press=["ctrl+s"])


@sizes
def test_ascii(snap_compare, size):
    assert snap_compare(app_for(STATES["checking"], ascii=True), terminal_size=size)


def test_no_color(snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app_for(STATES["failing"]), terminal_size=(120, 34))


def test_a_phase_that_is_to_come(snap_compare):
    assert snap_compare(app_for(STATES["failing"]), terminal_size=(120, 34), press=["f4"])


def test_a_change_of_one_setting_is_marked():
    config = change_config(plans.loaded().config, ["training.epochs=7"])
    from tui_trainer.screens.plan_form import fields

    changed = [field.key for field in fields(config, plans.loaded().config, frozenset()) if field.changed]
    assert changed == ["training", "training.epochs"]
