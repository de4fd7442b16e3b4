"""The figures of depth on the page."""

import json
from pathlib import Path

import pytest

from bench.depth import report

ROW = {"kind": "accept", "shallow_us": 20.04, "deep_us": 25.0, "ratio": 1.25}
FOUND = {
    "pending": {"shallow": 1000, "deep": 1_000_000, "compared": [ROW]},
    "restart": {"pending": 102_500, "ready_seconds": 1.04, "first_delivery_seconds": 1.26},
}


def test_the_page_and_the_json_hold_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{report.SECTION.begin}\n\nold\n\n{report.SECTION.end}\n\nafter\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "RESULT", tmp_path / "results" / "depth.json")
    report.publish(FOUND)
    text = page.read_text()
    assert text.startswith(f"before\n\n{report.SECTION.begin}\n\n**CPU")
    assert text.endswith(f"asked: 3).\n\n{report.SECTION.end}\n\nafter\n")
    assert "| accept | 20.0 | 25.0 | 1.25x | 1.5x |" in text
    assert "old" not in text
    assert json.loads((tmp_path / "results" / "depth.json").read_text()) == FOUND


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "RESULT", tmp_path / "depth.json")
    with pytest.raises(ValueError, match="has no"):
        report.publish(FOUND)
    assert page.read_text() == "nothing"
