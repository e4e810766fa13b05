"""The table of all settings in `configs/README.md`, written from the schema.

`python -m tui_trainer.config.reference configs/README.md` brings the file up to date; a test keeps it so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tui_trainer.config.settings import Setting, settings
from tui_trainer.config.yaml_text import write_yaml

START = "<!-- settings: written from the schema, do not edit by hand -->"
END = "<!-- end of settings -->"


def schema_table() -> str:
    """All settings as Markdown: one table for each group, with key, values, default, effect and meaning."""
    known = settings()
    groups: dict[str, list[Setting]] = {"": []}
    for item in known.values():
        head = item.key.partition(".")[0]
        opens_group = "." not in item.key and any(key.startswith(f"{item.key}.") for key in known)
        if opens_group:
            groups[item.key] = []
        if not opens_group or not item.is_section:
            groups[head if head in groups else ""].append(item)
    return "\n".join(_group(name, items) for name, items in groups.items())


def with_schema_table(text: str) -> str:
    """`text` with what stands between the two markers replaced by `schema_table()`."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{schema_table()}\n{END}{after}"


def _group(name: str, items: list[Setting]) -> str:
    title = f"### {name}" if name else "### At the top"
    rows = [f"{title}\n"]
    if name and settings()[name].is_section:
        rows.append(f"{settings()[name].help}\n")
    rows += ["| key | values | default | changes results | meaning |", "|---|---|---|---|---|"]
    for item in items:
        if not item.is_section:
            default = "required" if item.is_required else _default(item.default)
            effect = "yes" if item.affects_results else "no"
            rows.append(
                f"| `{item.key}` | {_cell(item.expected)} | {default} | {effect} | {_cell(item.help)} |"
            )
    return "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    text = write_yaml({"value": value}).removeprefix("value: ").strip() if not isinstance(value, dict) else ""
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {_default(item).strip('`')}" for key, item in value.items()) + "}"
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(path: Path) -> None:
    """Bring the table in a Markdown file up to date."""
    path.write_text(with_schema_table(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
