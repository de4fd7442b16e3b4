"""The alerts: each has its paragraph in the runbook and asks for metrics that exist.

That the rules are rules, and fire when they should, promtool says (`make prometheus`).
"""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
OPERATIONS = ROOT / "docs/operations.md"
RULES: list[dict[str, Any]] = [
    rule for group in YAML(typ="safe").load(ALERTS)["groups"] for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]


def expressions_of_tests() -> str:
    return "".join(path.read_text() for path in ALERTS.parent.glob("alerts*_test.yaml"))


def exposed() -> set[str]:
    """Return every name that a scrape may show."""
    names = set()
    for one in Metrics().descriptions:
        names |= {f"{one.name}_{part}" for part in ("bucket", "count", "sum")} | {one.name}
    return names


def metrics_named(text: str) -> set[str]:
    return set(re.findall(r"\bmeta_gateway_\w+", text))


def paragraphs() -> dict[str, str]:
    """Return the paragraphs on alerts, by heading."""
    text = OPERATIONS.read_text()
    section = re.split(r"^## ", text[text.index("\n## Alerts\n") + 4 :], maxsplit=1, flags=re.MULTILINE)[0]
    heads = re.split(r"^### (.+)\n", section, flags=re.MULTILINE)[1:]
    return dict(zip(heads[::2], heads[1::2], strict=True))


def test_every_alert_has_its_paragraph_and_every_paragraph_its_alert() -> None:
    assert list(paragraphs()) == list(dict.fromkeys(NAMES))


@pytest.mark.parametrize(("name", "text"), paragraphs().items())
def test_each_paragraph_says_what_it_means_where_to_look_and_what_to_do(name: str, text: str) -> None:
    assert re.findall(r"^- \*\*(\w+)\*\*", text, re.MULTILINE) in (["Means", "Look", "Do"], ["Means", "Look"])
    if "**Do**" not in text:
        assert "- **Look** and **do** as for [" in text, name


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_each_says_how_bad_it_is_what_is_next_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    annotations = rule["annotations"]
    assert annotations["summary"].endswith(".")
    assert " Next: " in annotations["description"]
    assert annotations["runbook_url"].endswith(f"/operations.md#{rule['alert'].lower()}")


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_each_asks_for_metrics_that_exist_and_is_seen_to_fire(rule: dict[str, Any]) -> None:
    assert metrics_named(rule["expr"]) <= exposed()
    assert f'alertname="{rule["alert"]}"' in expressions_of_tests()


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_none_flaps(rule: dict[str, Any]) -> None:
    """Whoever looks at a state waits a while; whoever counts looks back over some minutes."""
    assert "for" in rule or "increase(" in rule["expr"]


def test_the_metrics_that_the_pages_name_exist() -> None:
    text = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert metrics_named(text) <= exposed()
