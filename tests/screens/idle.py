"""When an app under test has nothing left to do: asked of its event loop, where Textual guesses from processor time.

Textual's own `wait_for_idle` takes a process that the machine has put aside for an idle one; keys and pictures then
come too early.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from textual._context import active_app
from textual.screen import Screen

PATIENCE_S = 60.0
QUIET_PASSES = 3  # of the loop, one after the other


async def wait_for_idle(*_: Any, **__: Any) -> None:
    """Return when only time, threads or the terminal could set the app in motion, and all is painted."""
    loop: Any = asyncio.get_running_loop()
    deadline = time.monotonic() + PATIENCE_S
    quiet = 0
    while quiet < QUIET_PASSES:
        assert time.monotonic() < deadline, "the app does not come to rest"
        await asyncio.sleep(0)
        app = active_app.get(None)
        if loop._ready:
            quiet = 0
        elif app is not None and not app._exit and app.screen_stack and _unpainted(app.screen):
            quiet = 0
            await asyncio.sleep(0.005)  # the screen paints at the next tick of its timer
        else:
            quiet += 1


def _unpainted(screen: Screen[Any]) -> bool:
    return bool(
        screen._layout_required
        or screen._scroll_required
        or screen._repaint_required
        or screen._recompose_required
        or screen._dirty_widgets
        or screen._callbacks
    )
