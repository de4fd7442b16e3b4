"""JSON and the page's tables."""

import json

from bench.compare import Plan
from bench.contenders import CONTENDERS
from bench.figures import figures
from bench.report import markdown, panels, result
from tests.bench.conftest import Measured

MACHINE = {
    "measured_at": "2026-11-23T01:00:00+00:00",
    "cpu": "A CPU",
    "cores": 2,
    "memory_gb": 8,
    "kernel": "6.1",
    "file_system": "ext4",
    "versions": {"gateway": "0.1.0"},
}


def test_the_page_is_made_from_the_json_alone(measured: Measured) -> None:
    """So it can be made again from a stored result."""
    measurements = [measured("gateway", 0, 5000.0, delivered=25000), measured("hypercorn", 0, 1000.0)]
    found = result(
        plan=Plan(rounds=1, seconds=5.0, connections=64, drain_seconds=60.0),
        machine=MACHINE,
        figures=figures(CONTENDERS, measurements),
        measurements=measurements,
        sustained=None,
        left_out={"granian": "granian is not installed in bench/.venv"},
    )
    again = json.loads(json.dumps(found))
    text = markdown(again)
    assert "| 5,000 | 5,000-5,000 | 5,000 |" in text
    assert "| 5.00x | 5x (10x) |" in text
    assert "Left out: granian" in text
    assert [bar.ours for bar in panels(again)[0].bars] == [True, False]
