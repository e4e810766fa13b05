"""What phase 1 leaves in the project folder: the resolved config, the environment, `reproducibility_manifest.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.config.hashing import config_hash
from tui_trainer.config.yaml_text import write_yaml
from tui_trainer.engine.manifest import write_atomically
from tui_trainer.session.run_folder import CONFIG_YAML
from tui_trainer.session.wording import clean_text, format_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.config.loading import LoadedConfig
    from tui_trainer.phases.environment import Repository
    from tui_trainer.phases.gate import Checklist, Entry

FOLDER, REQUIREMENTS, PATCH = "reproducibility", "requirements.txt", "uncommitted.patch"
MANIFEST = "reproducibility_manifest.md"
_HEAD = "# The plan's config with every setting, written by mltrainer-tui whenever the gate is earned: edit the plan's own.\n"
MARKS = {"passed": "x", "signed": "x", "waived": "~", "not_applicable": "-", "failed": "!", "open": " "}
WORDS = {
    "passed": "checked",
    "signed": "signed",
    "waived": "**waived**",
    "not_applicable": "not applicable",
    "failed": "**failed**",
    "open": "open",
}


def write_environment(folder: Path, packages: str, repository: Repository | None) -> None:
    """The package list, and a patch of uncommitted changes where there are any. Raises `OSError`."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    write_atomically(place / REQUIREMENTS, packages)
    if repository is not None and repository.patch:
        write_atomically(place / PATCH, repository.patch)
    else:
        (place / PATCH).unlink(missing_ok=True)


def write_plan(loaded: LoadedConfig, checklist: Checklist, project: Path) -> None:
    """The resolved config, unless a person's own file has that name, and the manifest. Raises `OSError`."""
    config = project / CONFIG_YAML
    ours = not config.exists() or config.read_bytes().startswith(_HEAD.encode())
    if ours:
        write_atomically(config, _HEAD + write_yaml(loaded.config.model_dump(mode="json", by_alias=True)))
    write_atomically(project / MANIFEST, "\n".join(_lines(loaded, checklist, ours=ours)) + "\n")


def withdraw_plan(project: Path) -> None:
    """Let no manifest say that a gate is passed which is not. Raises `OSError`."""
    (project / MANIFEST).unlink(missing_ok=True)


def _lines(loaded: LoadedConfig, checklist: Checklist, *, ours: bool) -> list[str]:
    config = loaded.config
    file = f"[{CONFIG_YAML}]({CONFIG_YAML})" if ours else text(loaded.path.name if loaded.path else "bundled")
    lines = [
        "# Reproducibility manifest",
        "",
        f"- **Name**: {text(config.name)}",
        f"- **Config**: {file}, hash `{config_hash(config)}`",
        f"- **Seed**: {config.seed}",
        f"- **Gate**: {'passed' if checklist.passed else 'not passed'}",
        "",
        "## Checklist",
        "",
        *checklist_lines(checklist),
    ]
    details = {entry.item.name: entry.finding.details for entry in checklist.entries}
    lines += _environment(details.get("environment", {}))
    lines += _repository(details.get("repository", {}))
    lines += _data(details.get("data", {}))
    return lines


def checklist_lines(checklist: Checklist) -> list[str]:
    """A gate as a Markdown table, what was waived below it with its reason."""
    lines = ["| | item | state | evidence |", "|---|---|---|---|"]
    for entry in checklist.entries:
        state = entry.finding.state
        lines.append(
            f"| {MARKS[state]} | {text(entry.item.title)} | {WORDS[state]} | {text(_evidence(entry))} |"
        )
    for entry in checklist.waived:
        lines += [
            "",
            f"Waived: *{text(entry.item.title)}*, by {text(entry.by)} ({entry.at}): {text(entry.reason)}",
        ]
    return lines


def _evidence(entry: Entry) -> str:
    signed = f" ({entry.by}, {entry.at})" if entry.finding.state == "signed" else ""
    return entry.finding.evidence + signed


def _environment(found: Any) -> list[str]:
    if not found:
        return []
    rows = [
        ("Python", f"{found.get('implementation', '')} {found.get('python', '')}"),
        ("torch", found.get("torch")),
        ("CUDA", found.get("cuda") or "none"),
        ("cuDNN", found.get("cudnn") or "none"),
        ("GPU driver", found.get("driver") or "none"),
        ("GPUs", ", ".join(_gpu(gpu) for gpu in found.get("gpus", [])) or "none"),
        ("CPU", f"{found.get('cpu')}, {found.get('cores')} cores"),
        ("Memory", format_bytes(found["memory_bytes"]) if found.get("memory_bytes") else None),
        ("System", found.get("os")),
        ("Host", found.get("host")),
        ("Packages", f"{found.get('packages')}: [{REQUIREMENTS}]({FOLDER}/{REQUIREMENTS})"),
    ]
    return [
        "",
        "## Environment",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {text(value)} |" for name, value in rows if value),
    ]


def _gpu(found: Any) -> str:
    if not isinstance(found, dict):
        return str(found)
    memory = found.get("memory_bytes")
    return f"{found.get('name')}{f' ({format_bytes(memory)})' if memory else ''}"


def _repository(found: Any) -> list[str]:
    if not found:
        return []
    patch = f", [{PATCH}]({FOLDER}/{PATCH})" if found.get("patch_bytes") else ""
    return ["", "## Code", "", f"Commit `{text(found.get('commit'))}` on {text(found.get('branch'))}{patch}"]


def _data(found: Any) -> list[str]:
    if not found:
        return []
    sizes = ", ".join(f"{name} {count:,}" for name, count in found.get("sizes", {}).items())
    return [
        "",
        "## Data",
        "",
        f"{text(found.get('source'))}: {sizes}. Fingerprint `{text(found.get('fingerprint'))}`.",
    ]


def text(value: object) -> str:
    """Outside text in Markdown: no line breaks, no cell borders, no HTML."""
    return clean_text(value, limit=500).replace("|", "\\|").replace("<", "&lt;")
