"""The examples do what they say."""

from __future__ import annotations

import json
from pathlib import Path

from tests.runs import read_json, train

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_rule_of_ones_own_raises_its_diagnostic_and_its_fix_is_applied(tmp_path: Path) -> None:
    config = EXAMPLES / "own_rule" / "config.yaml"
    train("--config", config, "--output-dir", "run", "--on-trigger", "fix", cwd=tmp_path)
    record = read_json(tmp_path / "run" / "run.json")
    assert [fix["fix"] for fix in record["fixes"]] == ["smooth_labels"]
    told = [json.loads(line) for line in (tmp_path / "run" / "diagnostics.jsonl").read_text().splitlines()]
    assert "smooth_labels" in {item["applied"] for item in told if item["code"] == "sure_and_wrong"}
