"""Pictures of the diagnostics panel, its list, the badge, and the marks of fixes."""

from __future__ import annotations

import pytest
import sample_diagnostics as samples
import sample_run as sample
from fake_run import FakeRun, InlinePainter, panel_stands, until

from tui_trainer.engine.events import CommandHandled
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.chart import Chart

SIZES = [(80, 24), (120, 34), (200, 50)]
PAUSE = CommandHandled(
    time=sample.START + 3.4, command="pause", accepted=True, epoch=4, step=146, message="paused"
)


def exploding():
    """A run whose gradients grow before they are no numbers any more."""
    yield from sample.events(20, until_step=100)
    for number in range(101, 147):
        if number % 5 == 0:
            yield sample.step(
                number, grad_norm=0.5 + 1.3 ** (number - 100), loss=0.9 + 0.02 * 1.2 ** (number - 100)
            )
    yield samples.nan_loss()
    yield PAUSE


def mended():
    """A run that a fix has mended, which overfits since."""
    told = samples.nan_loss()
    yield from sample.events(20, until_step=146)
    yield told
    yield from samples.applied(told, "lower_lr_10_clip", to_step=135)
    for number in range(136, 600):
        if number % 5 == 0:
            yield sample.step(number)
        if number % 45 == 0:
            yield sample.epoch_finished(number // 45)
    yield samples.slow()
    yield samples.overfitting()


def trained(*told):
    return [*sample.events(20, until_step=500), *told]


STATES = {
    "nan_loss": (lambda: [*exploding()], []),
    "several fixes": (lambda: trained(samples.overfitting()), []),
    "two at once": (lambda: trained(samples.overfitting(), samples.nan_loss(epoch=11, step=480)), []),
    "list": (lambda: [*mended()], ["d"]),
    "badge": (lambda: [*mended()], ["escape"]),
    "fixed": (lambda: [*mended()], ["d", "down", "enter"]),
}


async def rest(pilot):
    """Until everything is drawn."""
    screen = pilot.app.screen

    def drawn():
        charts = [chart for chart in screen.query(Chart) if chart.size.height]
        return charts and all(chart.rows for chart in charts) and panel_stands(screen.diagnosis)

    for _ in range(4):
        await pilot.pause()
    await until(pilot, drawn)
    await pilot.pause()


def picture(snap_compare, state, size, **options):
    events, keys = STATES[state]
    run, now = FakeRun(events()), [0.0]
    app = MLTrainerApp(lambda: run, painter=InlinePainter(), clock=lambda: now[0], **options)

    async def press(pilot):
        await until(pilot, lambda: app.screen.diagnosis.mode == "one")
        await rest(pilot)
        now[0] += 10.0
        for key in keys:
            await pilot.press(key)
            await rest(pilot)

    return snap_compare(app, terminal_size=size, run_before=press)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", STATES)
def test_the_panel(snap_compare, state, size):
    assert picture(snap_compare, state, size)


@pytest.mark.parametrize("state", ["nan_loss", "list", "badge"])
def test_ascii_without_colour(snap_compare, monkeypatch, state):
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(snap_compare, state, (80, 24), ascii=True)
