"""Styles of a widget's parts that are looked up when they are first painted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.dom import DOMNode

if TYPE_CHECKING:
    from textual.css.styles import RenderStyles
    from textual.widget import Widget
else:
    Widget = object  # a widget in front of another one would keep its CSS from it


class LateStyles(Widget):
    """Put in front of a widget, makes its component classes cost nothing until they are used.

    Textual looks all of them up whenever a screen opens, resumes or changes its size: 200 on the first screen, which
    took longer than everything else.
    """

    @classmethod
    def _get_component_classes(cls) -> frozenset[str]:  # type: ignore[override]  # theirs is cached
        """What Textual shall look up by itself."""
        return frozenset()

    def get_component_styles(self, *names: str) -> RenderStyles:
        """The styles of these component classes."""
        for name in names:
            if name not in self._component_styles:
                part = DOMNode(classes=name)
                part._attach(self)  # noqa: SLF001 (as Textual's own stylesheet does for all classes)
                self.app.stylesheet.apply(part, animate=False)
                self._component_styles[name] = part.styles
        return super().get_component_styles(*names)

    def notify_style_update(self) -> None:
        """Forget what was looked up."""
        self._component_styles.clear()
        super().notify_style_update()
