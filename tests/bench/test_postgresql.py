"""The figures of PostgreSQL on the page."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.postgresql import report
from bench.report import PAGE

MACHINE = {
    "measured_at": "2026-11-23T01:00:00+00:00",
    "cpu": "A CPU",
    "cores": 2,
    "memory_gb": 8,
    "file_system": "ext4",
    "postgresql": "18.6",
}


def seen(side: str, number: int, per_second: float) -> dict[str, Any]:
    return {
        "side": side,
        "round": number,
        "rate": None,
        "per_second": per_second,
        "delivered_per_second": per_second - 1,
        "p50_ms": 10.0,
        "p99_ms": 20.0,
        "gateway_us": 300.0,
        "database_us": 100.0,
        "wal_bytes": 2800.0,
        "gateway_cores": 0.15,
        "database_cores": 0.05,
    }


def test_a_ratio_is_made_within_each_round() -> None:
    rows = [
        *(seen("sqlite", 0, 1000.0), seen("postgresql", 0, 500.0), seen("two", 0, 900.0)),
        *(seen("sqlite", 1, 4000.0), seen("postgresql", 1, 3000.0), seen("two", 1, 3300.0)),
    ]
    assert report.ratios(rows, "per_second", "side", "postgresql", "sqlite") == [0.5, 0.75]
    text = report.markdown({"machine": MACHINE, "gateways": rows})
    assert "| one gateway, PostgreSQL | 1,750 | 0.62x (0.50-0.75) |" in text
    assert "| two gateways, the same PostgreSQL | 2,100 | 1.45x (1.10-1.80) |" in text
    assert "| one gateway, SQLite | 2,500 |  |" in text


def test_gateways_of_a_share_are_held_against_one_of_them() -> None:
    sides = {"one of a share": 400.0, "two of a share": 700.0, "three of a share": 1200.0}
    rows = [seen(side, number, rate) for side, rate in sides.items() for number in (0, 1)]
    text = report.markdown({"machine": MACHINE, "shares": rows})
    assert "| 1 | 400 |  | 399 |  |" in text
    assert "| 2 | 700 | 1.75x (1.75-1.75) | 699 | 1.75x (1.75-1.75) | above 1x |" in text
    assert "| 3 | 1,200 | 3.00x (3.00-3.00) |" in text


def test_the_page_is_made_from_the_stored_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = json.loads(report.RESULT.read_text())
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "RESULT", tmp_path / "postgresql.json")
    before = page.read_text()
    report.publish(stored)
    assert page.read_text() == before
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no"):
        report.publish(stored)
