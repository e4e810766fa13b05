"""The config on the Plan screen: a form whose values are edited where they stand, or YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import on
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from tui_trainer.screens.page import RowList
from tui_trainer.screens.plan_form import (
    FOLDED,
    YAML_KEYS,
    fields,
    form_rows,
    help_rows,
    next_choice,
    typing_rows,
    value_column,
)
from tui_trainer.screens.plan_pages import MarkedList, ValueInput
from tui_trainer.screens.rows import Rows
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.plan_form import Field
    from tui_trainer.screens.plan_view import PlanView
    from tui_trainer.screens.plan_yaml import YamlArea
    from tui_trainer.screens.planner import Planner


class ConfigEditor(Vertical):
    """The form or the YAML of `planner`'s config, and below it what is to be said of it."""

    class Edited(Message):
        """The config is another one now."""

    def __init__(self, planner: Planner, glyphs: Glyphs) -> None:
        super().__init__(id="form")
        self._planner, self._glyphs = planner, glyphs
        self._view: PlanView = planner.view
        self._folded = FOLDED
        self._fields: list[Field] = []
        self._from: tuple[object, ...] = ()
        self._titles = "", ""
        self._typing: Field | None = None
        self._yaml_problem: str | None = None

    def compose(self) -> ComposeResult:
        """The list of settings, and a few rows about the marked one."""
        yield MarkedList(id="fields")
        yield Rows(id="about")

    def show(self, view: PlanView) -> None:
        """Show a newer view; what is being typed stays."""
        self._view = view
        loaded = view.loaded
        name = (
            "config" if loaded is None else loaded.path.name if loaded.path is not None else "bundled example"
        )
        title = f"Config: {clean_text(name, limit=80)}" + (" (not saved)" if view.unsaved else "")
        subtitle = f"{self._glyphs.changed} another value than in {view.template_name}"
        if (title, subtitle) != self._titles:  # setting a border's text repaints all that is inside
            self._titles = title, subtitle
            self.border_title, self.border_subtitle = Content(title), Content(subtitle)
        if loaded is None:
            return
        known = (loaded.config, view.template, self._folded)
        if known != self._from:
            self._fields, self._from = fields(loaded.config, view.template, self._folded), known
        shown = self.query_one("#fields", MarkedList)
        shown.set_rows(form_rows(self._fields, shown.text_width, self._glyphs))
        self._say()

    @property
    def marked(self) -> Field | None:
        """The setting that the mark is on."""
        cursor = self.query_one("#fields", MarkedList).cursor
        return self._fields[cursor] if cursor < len(self._fields) else None

    def _say(self) -> None:
        about = self.query_one("#about", Rows)
        width, height = about.size.width, about.size.height
        if not width * height:
            return  # there is no room for it
        if self._yaml is not None:
            about.set_rows(typing_rows(self._yaml_problem, width, height, YAML_KEYS))
        elif self._typing is not None:
            problem = self._planner.problem(self._typing.key, self.query_one(ValueInput).value)
            about.set_rows(typing_rows(problem, width, height))
        elif self.marked is not None:
            about.set_rows(help_rows(self.marked, self._view, width, height))

    def take_focus(self) -> None:
        """Give the focus to what is edited."""
        field = next(iter(self.query(ValueInput)), None)
        (self._yaml or field or self.query_one("#fields")).focus()

    @on(MarkedList.Moved)
    def _moved(self, message: MarkedList.Moved) -> None:
        message.stop()
        self._say()

    # ── the form ────────────────────────────────────────────────────────────────────────────────────────────

    @on(RowList.Picked)
    def _picked(self, message: RowList.Picked) -> None:
        """Open or shut a group; edit a value in its place."""
        message.stop()
        field = self.marked
        if field is None:
            return
        if field.group:
            self._folded = self._folded ^ {field.key}
            self.show(self._view)
        elif not self._refused():
            self._type(field)

    def _type(self, field: Field) -> None:
        self._drop()
        shown = self.query_one("#fields", MarkedList)
        column = value_column(shown.text_width)
        row = shown.cursor - round(shown.scroll_offset.y)
        value = ValueInput(field.text, compact=True, select_on_focus=False)
        value.styles.offset = (column, max(0, row))
        value.styles.width = max(8, shown.size.width - column)
        self._typing = field
        self.mount(value)
        value.focus()
        self.call_after_refresh(self._say)

    def _drop(self) -> None:
        self._typing = None
        for value in self.query(ValueInput):
            value.remove()

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        if self._typing is not None:
            bad = self._planner.problem(self._typing.key, message.value) is not None
            message.input.set_class(bad, "-wrong")
            self._say()

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        field = self._typing
        if field is None:
            return
        if self._planner.edit(field.key, message.value) is not None:
            self.app.bell()
            return
        self._leave()
        self.post_message(self.Edited())

    @on(ValueInput.Left)
    def _leave(self) -> None:
        self._drop()
        self.query_one("#fields").focus()
        self.show(self._planner.view)

    def choose_next(self) -> None:
        """The next value of a setting that is one of a few words."""
        field = self.marked
        value = next_choice(field) if field is not None and not field.group else None
        if field is None or value is None:
            self.app.bell()
        elif not self._refused() and self._planner.edit(field.key, value) is None:
            self.post_message(self.Edited())

    def put_back(self) -> None:
        """The template's value again."""
        field = self.marked
        if field is not None and field.changed and not self._refused():
            self._planner.put_back(field.key)
            self.post_message(self.Edited())

    def _refused(self) -> bool:
        if self._view.read_only:
            self.app.notify("A run goes by this plan: it can only be looked at.", markup=False)
        return self._view.read_only

    # ── YAML ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _yaml(self) -> YamlArea | None:
        found: Any = self.query("#yaml")
        area: YamlArea | None = next(iter(found), None)
        return area

    def toggle_yaml(self) -> None:
        """To the YAML, or back."""
        from tui_trainer.screens.plan_yaml import YamlArea

        if self._yaml is not None:
            self.leave_yaml()
            return
        loaded = self._view.loaded
        if loaded is None:
            return
        self._drop()
        self._yaml_problem = None
        area = YamlArea(loaded.text, read_only=self._view.read_only)
        self.set_class(True, "-yaml")
        self.mount(area, before="#about")
        area.focus()
        self.call_after_refresh(self._say)

    def leave_yaml(self) -> bool:
        """Take the YAML and show the form; False, having said why, where it is no config."""
        area = self._yaml
        if area is None:
            return True
        before = self._planner.view.loaded
        problem = None if self._view.read_only else self._planner.take_text(area.text)
        if problem is not None and area.text != area.refused:
            area.refused = area.text
            self._yaml_problem = f"{problem} Esc once more drops what was typed."
            self._say()
            self.app.bell()
            return False
        area.remove()
        self.set_class(False, "-yaml")
        self.query_one("#fields").focus()
        self.call_after_refresh(lambda: self.show(self._planner.view))
        if self._planner.view.loaded is not before:
            self.post_message(self.Edited())
        return True
