"""The config proposed for phase 4: the run's own with the recommendations applied, and marks where it differs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import UserError
from tui_trainer.config.loading import dump_config, parse_config
from tui_trainer.config.yaml_text import read_yaml
from tui_trainer.reports.diagnosis_content import Change, Preview
from tui_trainer.session.repair import with_changes
from tui_trainer.session.run_folder import OPTIMIZATION_YAML

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.config.schema import Config
    from tui_trainer.reports.diagnosis_content import Recommendation

_HEAD = """\
# Proposed for phase 4 by the diagnosis of a run: its config, with the recommendations applied as one targeted run.
# Lines that differ are marked NEW (nothing stood there before) or CHANGED (with the old value).
"""


def preview_config(config: Config | None, recommendations: Sequence[Recommendation]) -> Preview:
    """The config with every recommendation that goes together with those before it."""
    if config is None:
        return Preview(error="The run's config cannot be read, so there is none to propose.")
    if not recommendations:
        return Preview(error="There is nothing to change.")
    proposed, changes, left_out = config, list[Change](), list[str]()
    for item in recommendations:
        wanted = {key: diff["to"] for key, diff in item.changes.items()}
        try:
            changed = with_changes(proposed, wanted)
        except (UserError, ValueError, TypeError):
            left_out.append(item.title)
            continue
        proposed = changed
        changes += [
            Change(key, "NEW" if diff["from"] is None else "CHANGED", diff["from"], diff["to"])
            for key, diff in item.changes.items()
        ]
    return Preview(tuple(changes), tuple(left_out), _marked(proposed, changes))


def _marked(config: Config, changes: Sequence[Change]) -> str:
    """The config as YAML, with a comment behind each line that differs; it loads to the same config."""
    body = dump_config(config).partition("\n")[2]
    lines = body.split("\n")
    places = read_yaml(body, OPTIMIZATION_YAML).lines
    for item in changes:
        place = places.get(tuple(item.key.split(".")))
        if place is not None:
            was = "" if item.mark == "NEW" else f" (was {_short(item.old)})"
            lines[place - 1] += f"  # {item.mark}{was}"
    text = _HEAD + "\n".join(lines)
    try:
        same = parse_config(text) == config
    except UserError:
        same = False
    if same:
        return text
    listed = "".join(
        f"# {item.mark}: {item.key}\n" for item in changes
    )  # a value that no comment can stand behind
    return _HEAD + listed + body


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"
