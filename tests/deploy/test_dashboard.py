"""The dashboard for Grafana: a question a row, panels that do not overlap, and metrics that exist.

That every expression can be parsed, promtool says (`make prometheus`).
"""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from gateway.telemetry.metrics import Metrics
from tests.deploy.test_alerts import exposed, metrics_named

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "deploy/grafana/meta-webhook-gateway.json").read_text()
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
WIDTH = 24
"""Of Grafana's grid."""


def test_the_rows_are_questions() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert len(rows) >= 7
    assert all(title.endswith("?") for title in rows)
    assert PANELS[0]["type"] == "row"


def test_every_panel_has_a_number_and_a_place_of_its_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["h"] > 0
        assert place["x"] + place["w"] <= WIDTH
    for one, other in combinations((panel["gridPos"] for panel in PANELS), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above


@pytest.mark.parametrize("panel", DRAWN, ids=lambda panel: panel["title"])
def test_every_panel_says_what_it_shows_of_metrics_that_exist(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"timeseries", "stat", "bargauge", "state-timeline"}
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["fieldConfig"]["defaults"]["unit"]
    targets = panel["targets"]
    assert len({target["refId"] for target in targets}) == len(targets) > 0
    for target in targets:
        assert target["datasource"] == panel["datasource"]
        assert target["legendFormat"]
        assert metrics_named(target["expr"])
        assert metrics_named(target["expr"]) <= exposed()


def test_every_metric_is_shown_somewhere_but_for_what_says_nothing_by_itself() -> None:
    shown = metrics_named("\n".join(target["expr"] for panel in DRAWN for target in panel["targets"]))
    plain = {name.removesuffix("_bucket").removesuffix("_count") for name in shown}
    left_out = {one.name for one in Metrics().descriptions} - plain
    assert left_out == {"meta_gateway_duplicates_keys", "meta_gateway_spool_kept_oldest_seconds"}


def test_the_variables_are_those_that_the_expressions_use() -> None:
    text = "".join(target["expr"] for panel in DRAWN for target in panel["targets"])
    assert {name for name in VARIABLES if f"${name}" in text} == VARIABLES.keys() - {"datasource"}
    for variable in VARIABLES.values():
        if variable["type"] == "query":
            assert metrics_named(variable["definition"]) <= exposed()
