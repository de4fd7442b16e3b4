"""What the sections say of each other, where no whole file is needed to see it."""

import pytest

from gateway.settings.crosschecks import Root, cross_check


def of_order(listen: dict[str, str], spool: dict[str, str], order: str) -> list[str]:
    root: Root = {
        "listen": {**listen},
        "spool": {**spool},
        "targets": {"support": {"order": order}},
        "routes": [{"to": ["support"]}],
    }
    return [message for path, message, _ in cross_check(root) if path == ("targets", "support", "order")]


@pytest.mark.parametrize("workers", ["2", "auto"])
def test_order_is_not_promised_by_several_workers_on_sqlite(workers: str) -> None:
    assert of_order({"workers": workers}, {}, "sender") == [
        "`order: sender` is not kept by several workers on spool.engine sqlite"
    ]
    assert of_order({"workers": workers}, {"engine": "postgresql"}, "sender") == []
    assert of_order({"workers": workers}, {}, "none") == []
    assert of_order({"workers": "1"}, {}, "sender") == []
    assert of_order({}, {}, "sender") == []


@pytest.mark.parametrize("workers", ["2", "auto"])
def test_several_workers_may_share_one_spool(workers: str) -> None:
    root: Root = {"listen": {"workers": workers}, "spool": {"engine": "postgresql", "dsn": {"env": "DSN"}}}
    assert list(cross_check(root)) == []


@pytest.mark.parametrize(("named", "written"), [("suport", "support"), ("support", "suport")])
def test_a_misspelt_target_is_told_where_it_is_missed_and_not_as_one_that_nobody_uses(
    named: str, written: str
) -> None:
    root: Root = {"targets": {named: {}, "audit": {}}, "routes": [{"to": [written, "audit"]}]}
    assert [(path, message, remedy) for path, message, remedy in cross_check(root)] == [
        (("routes", 0, "to", 0), f"there is no target '{written}'", f"did you mean {named}?")
    ]


def test_a_target_that_nobody_uses_and_nobody_meant_is_told() -> None:
    root: Root = {"targets": {"support": {}, "billing": {}}, "routes": [{"to": ["support", "elsewhere"]}]}
    assert {path for path, _, _ in cross_check(root)} == {("routes", 0, "to", 1), ("targets", "billing")}
