"""Colours of our own: of curves and states in every theme, and a theme of the highest contrast.

Curves have Okabe and Ito's colours ("Color Universal Design", 2008): told apart by colour-blind eyes, and by
terminals of 16 colours.
"""

from __future__ import annotations

from textual.theme import Theme

THEME_VARIABLES = {
    "train": "#56b4e9",
    "validation": "#e69f00",
    "good": "#2fbf8f",
    "bad": "#ff6b5a",
    "line": "#5a6472",
    "raw": "#7d8590",
    "code": "#d3a15c",
    "fix": "#cc79a7",
    "compared-1": "#b04a90",
    "compared-2": "#4477dd",
    "compared-3": "#2a9a4a",
    "run1": "#56b4e9",
    "run2": "#e69f00",
    "run3": "#2fbf8f",
    "run4": "#f0e442",
    "run5": "#cc79a7",
    "run6": "#d55e00",
    "heat1": "#9467c9",
    "heat2": "#4477dd",
    "heat3": "#2fbf8f",
    "heat4": "#f0e442",
}
"""Names that `app.tcss` uses; a theme may give others in its `variables`."""

HIGH_CONTRAST = Theme(
    name="high-contrast",
    primary="#ffffff",
    secondary="#ffffff",
    accent="#ffff00",
    warning="#ffff00",
    error="#ff8080",
    success="#80ff80",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    variables={
        "text": "#ffffff",
        "text-muted": "#e0e0e0",
        "text-disabled": "#c0c0c0",
        "train": "#80d4ff",
        "validation": "#ffc000",
        "good": "#80ff80",
        "bad": "#ff8080",
        "line": "#ffffff",
        "raw": "#a0a0a0",
        "code": "#ffd080",
        "fix": "#ff80d0",
        "compared-1": "#ff80d0",
        "compared-2": "#80a0ff",
        "compared-3": "#60e060",
        "border": "#ffffff",
        "footer-foreground": "#ffffff",
        "footer-key-foreground": "#ffff00",
        "footer-description-foreground": "#ffffff",
    },
)
"""White on black, for bad light, bad eyes and projectors."""
