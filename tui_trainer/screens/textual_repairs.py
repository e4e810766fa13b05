"""What Textual does not let go of: mended here until it does so itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from textual._styles_cache import StylesCache


def let_closed_screens_go() -> None:
    """Have what was painted forgotten with the screen it was on.

    Textual 8.2 meant `get_inner_outer` to be a class method: as it is, its cache keeps up to 1,024 widgets' painted
    lines, 250,000 objects for the garbage collector to go through. Where Textual looks different, nothing is done.
    """
    uncached = getattr(StylesCache.__dict__.get("get_inner_outer"), "__wrapped__", None)
    if uncached is not None:
        cached: Any = lru_cache(1024)(uncached)
        StylesCache.get_inner_outer = classmethod(cached)  # type: ignore[method-assign, assignment]  # of another kind on purpose
