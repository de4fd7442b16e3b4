"""Routing: which changes of a notification go to which targets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.change import Change, Kind
from gateway.core.envelope import Envelope, Unparseable
from gateway.core.lanes import Lane
from gateway.core.routing import (
    UNROUTED,
    PlannedDelivery,
    Route,
    RoutingTable,
    delivery_ids,
    rerouted_delivery_ids,
)

NOTIFICATION = "017f22e279b07cc398c4dc0c0c07398f"


def change(field: str = "messages", **others: Any) -> Change:
    kinds = others.pop("kinds", {Kind.MESSAGE})
    values = {
        "object": "whatsapp_business_account",
        "entry_id": "102900",
        "phone_number_id": "106500",
        "display_phone_number": "15550001",
    } | others
    return Change(field=field, kinds=frozenset(kinds), **values)


def table(*routes: Route, original: frozenset[str] = frozenset(), drop: bool = False) -> RoutingTable:
    return RoutingTable(routes, payload_original=original, drop_unrouted=drop)


def plan(routing: RoutingTable, *changes: Change, app: str = "main") -> dict[str, tuple[int, ...] | None]:
    planned = routing.plan(app, Envelope(changes=changes))
    assert len({delivery.target for delivery in planned}) == len(planned)
    return {delivery.target: delivery.selection for delivery in planned}


def to(*targets: str, **keys: Any) -> Route:
    priority = keys.pop("priority", None)
    return Route(
        to=targets, priority=priority, **{key: tuple(patterns.split()) for key, patterns in keys.items()}
    )


def test_every_route_that_matches_adds_its_targets() -> None:
    routing = table(
        to("support", field="messages"), to("audit", "support", field="*"), to("x", field="security")
    )
    assert plan(routing, change()) == {"support": None, "audit": None}


def lanes(routing: RoutingTable, *changes: Change) -> dict[str, Lane]:
    return {one.target: one.lane for one in routing.plan("main", Envelope(changes=changes))}


def test_messages_have_the_first_lane_and_statuses_the_last() -> None:
    routing = table(to("a", field="*"))
    status, message, other = change(kinds={Kind.STATUS}), change(), change("security", kinds={Kind.OTHER})
    assert lanes(routing, status) == {"a": Lane.LOW}
    assert lanes(routing, message) == {"a": Lane.HIGH}
    assert lanes(routing, other) == lanes(routing, change(kinds={Kind.ERROR})) == {"a": Lane.NORMAL}
    assert lanes(routing, status, other) == {"a": Lane.NORMAL}
    assert lanes(routing, change(kinds={Kind.MESSAGE, Kind.STATUS})) == {"a": Lane.HIGH}
    assert lanes(routing, change("message_reads", kinds={Kind.OTHER})) == {"a": Lane.LOW}


@pytest.mark.parametrize("ids", [{}, {"waba": "10*"}], ids=["remembered", "by id"])
def test_a_priority_overrides_the_kind_and_the_most_urgent_counts(ids: dict[str, str]) -> None:
    routing = table(
        to("a", "b", "c", field="*", **ids),
        to("a", kind="status", priority=Lane.HIGH, **ids),
        to("a", "b", field="*", priority=Lane.LOW, **ids),
    )
    assert lanes(routing, change(kinds={Kind.STATUS})) == {"a": Lane.HIGH, "b": Lane.LOW, "c": Lane.LOW}
    assert lanes(routing, change()) == {"a": Lane.LOW, "b": Lane.LOW, "c": Lane.HIGH}


def test_each_target_has_its_own_changes_in_mind() -> None:
    routing = table(to("a", kind="status"), to("b", field="*"))
    assert lanes(routing, change(kinds={Kind.STATUS}), change()) == {"a": Lane.LOW, "b": Lane.HIGH}


def test_a_target_that_wants_order_has_one_lane() -> None:
    routing = RoutingTable(
        [to("a", "b", field="*")], payload_original=frozenset(), drop_unrouted=False, ordered=frozenset({"a"})
    )
    for kind in (Kind.STATUS, Kind.MESSAGE):
        for changes in ((change(kinds={kind}),), (change(kinds={kind}), change("x", kinds={kind}))):
            first, second = routing.plan("main", Envelope(changes=changes))
            assert (first.target, first.lane, first.ordered) == ("a", Lane.NORMAL, True)
            assert (second.target, second.ordered) == ("b", False)
            assert second.lane is not Lane.NORMAL


def test_targets_stand_in_order_of_first_mention() -> None:
    routing = table(to("b", "a", field="x"), to("c", field="y"), to("a", "d", field="*"))
    assert list(plan(routing, change("y"), change("x"))) == ["c", "a", "d", "b"]


def test_each_target_gets_its_own_changes() -> None:
    routing = table(to("a", field="x"), to("b", field="x y"), to("c", field="*"))
    assert plan(routing, change("x"), change("y"), change("x")) == {"a": (0, 2), "b": None, "c": None}


def test_what_no_route_takes_is_one_delivery_to_unrouted() -> None:
    routing = table(to("a", field="x"))
    assert plan(routing, change("y"), change("x"), change("z")) == {"a": (1,), UNROUTED: (0, 2)}
    assert plan(routing, change("y"), change("z")) == {UNROUTED: None}


@pytest.mark.parametrize("envelope", [Envelope(changes=()), Unparseable(detail="not JSON")])
def test_a_body_without_changes_is_unrouted_whatever_the_routes(envelope: Envelope | Unparseable) -> None:
    everything = to("a", field="*")
    unrouted = PlannedDelivery(target=UNROUTED, selection=None)
    assert table(everything).plan("main", envelope) == (unrouted,)
    assert table(everything, drop=True).plan("main", envelope) == ()


def test_dropping_what_is_unrouted_keeps_the_rest() -> None:
    routing = table(to("a", field="x"), drop=True)
    assert plan(routing, change("y"), change("x")) == {"a": (1,)}
    assert plan(routing, change("y")) == {}


def test_a_target_of_originals_gets_them_whenever_one_change_matched() -> None:
    routing = table(to("a", "b", field="x"), original=frozenset({"a"}))
    assert plan(routing, change("x"), change("y")) == {"a": None, "b": (0,), UNROUTED: (1,)}


@pytest.mark.parametrize(
    ("keys", "matches"),
    [
        ({}, True),
        ({"field": "messages"}, True),
        ({"field": "message_echoes messages"}, True),
        ({"field": "MESSAGES"}, False),
        ({"app": "main"}, True),
        ({"app": "ma*"}, True),
        ({"app": "other"}, False),
        ({"object": "whatsapp_*"}, True),
        ({"object": "page"}, False),
        ({"kind": "status message"}, True),
        ({"kind": "status error other"}, False),
        ({"kind": "*"}, True),
        ({"waba": "1029*"}, True),
        ({"waba": "1030*"}, False),
        ({"phone_number_id": "1065??"}, True),
        ({"phone_number_id": "1065?"}, False),
        ({"display_phone_number": "1555*"}, True),
        ({"display_phone_number": "+1555*"}, False),
        ({"waba": "1029*", "phone_number_id": "1065*", "display_phone_number": "1555*", "app": "main"}, True),
        ({"waba": "1029*", "phone_number_id": "1065*", "display_phone_number": "2"}, False),
        ({"field": "messages", "kind": "status"}, False),
    ],
)
def test_every_key_that_a_route_states_must_match(keys: dict[str, str], matches: bool) -> None:
    routing = table(to("a", **keys))
    expected: dict[str, None] = {"a": None} if matches else {UNROUTED: None}
    assert plan(routing, change()) == expected


@pytest.mark.parametrize("key", ["waba", "phone_number_id", "display_phone_number"])
def test_an_id_that_a_route_states_must_be_there(key: str) -> None:
    """`*` means any number, not none: a route for numbers does not take what belongs to no number."""
    attribute = "entry_id" if key == "waba" else key
    routing = table(to("a", **{key: "*"}))
    assert plan(routing, change(**{attribute: ""})) == {UNROUTED: None}
    assert plan(routing, change()) == {"a": None}


def test_an_entry_of_another_object_is_no_waba() -> None:
    routing = table(to("a", waba="*"), to("b", object="page"))
    assert plan(routing, change(object="page")) == {"b": None}


def test_field_and_object_stars_take_what_names_none() -> None:
    routing = table(to("a", field="*", object="*"))
    assert plan(routing, change("", object="")) == {"a": None}


def test_a_change_of_several_kinds_matches_each_and_goes_whole() -> None:
    routing = table(to("a", kind="message"), to("b", kind="status"), to("c", kind="other"))
    assert plan(routing, change(kinds={Kind.MESSAGE, Kind.STATUS})) == {"a": None, "b": None}


def test_explanations_name_the_routes_and_agree_with_the_plan() -> None:
    routing = table(to("a", field="x"), to("b", phone_number_id="1065*"), to("c", "a", field="*"))
    explanation = routing.explain("main", change("x"))
    assert explanation.change == change("x")
    assert explanation.matched == (0, 1, 2)
    assert explanation.targets == ("a", "b", "c")
    assert routing.explain("main", change("y", phone_number_id="2")).matched == (2,)
    assert table(to("a", field="x")).explain("main", change("y")).targets == ()


def test_what_is_remembered_of_field_names_is_bounded() -> None:
    """Field names come from outside; a peer that invents them must not fill the memory."""
    routing = table(to("a", field="f1*"))
    for number in range(10_000):
        expected = "a" if str(number).startswith("1") else UNROUTED
        assert plan(routing, change(f"f{number}")) == {expected: None}
    assert len(routing._candidates) <= 4096


def test_a_field_name_of_3_mib_is_routed_and_not_remembered() -> None:
    routing = table(to("a", field="f*"))
    assert plan(routing, change("f" * (3 << 20))) == {"a": None}
    assert not routing._candidates


patterns = st.none() | st.lists(st.sampled_from(["*", "a", "b", "a*", "?", ""]), max_size=2).map(tuple)
routes = st.builds(
    Route,
    to=st.lists(st.sampled_from(["t1", "t2", "t3"]), min_size=1, max_size=3).map(tuple),
    app=patterns,
    object=patterns,
    field=patterns,
    kind=st.none() | st.lists(st.sampled_from(["message", "status", "*"]), max_size=2).map(tuple),
    waba=patterns,
    phone_number_id=patterns,
    display_phone_number=patterns,
)
texts = st.sampled_from(["", "a", "b", "ab", "abc"])
changes = st.builds(
    Change,
    object=texts | st.just("whatsapp_business_account"),
    field=texts,
    kinds=st.frozensets(st.sampled_from(Kind), min_size=1),
    entry_id=texts,
    phone_number_id=texts,
    display_phone_number=texts,
)


@given(
    table_routes=st.lists(routes, max_size=4),
    notification=st.lists(changes, max_size=5),
    app=st.sampled_from(["a", "b"]),
    original=st.frozensets(st.sampled_from(["t1", "t2"])),
)
def test_no_change_is_lost_and_the_plan_agrees_with_the_explanations(
    table_routes: list[Route], notification: list[Change], app: str, original: frozenset[str]
) -> None:
    routing = RoutingTable(table_routes, payload_original=original, drop_unrouted=False)
    planned = routing.plan(app, Envelope(changes=tuple(notification)))
    assert planned == routing.plan(app, Envelope(changes=tuple(notification)))
    everything = range(len(notification))
    covered = {
        position
        for delivery in planned
        if delivery.target not in original
        for position in (everything if delivery.selection is None else delivery.selection)
    }
    for position, one in enumerate(notification):
        targets = routing.explain(app, one).targets or (UNROUTED,)
        assert position in covered or set(targets) <= original
        for delivery in planned:
            selected = delivery.selection is None or position in delivery.selection
            assert selected == (delivery.target in targets) or delivery.target in original
    for delivery in planned:
        if delivery.selection is not None:
            assert 0 < len(delivery.selection) < len(notification)
            assert list(delivery.selection) == sorted(set(delivery.selection))


def test_delivery_ids_are_derived() -> None:
    planned = table(to("a", "b-c", field="x")).plan("main", Envelope(changes=(change("x"), change("y"))))
    ids = delivery_ids(NOTIFICATION, planned)
    assert ids == {
        "a": f"{NOTIFICATION}-a",
        "b-c": f"{NOTIFICATION}-b-c",
        UNROUTED: f"{NOTIFICATION}-_unrouted",
    }
    assert rerouted_delivery_ids(ids[UNROUTED], planned)["a"] == f"{NOTIFICATION}-_unrouted-a"


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)


@given(targets=st.lists(names, unique=True, min_size=1), again=st.lists(names, unique=True, min_size=1))
def test_first_and_second_routing_never_share_an_id(targets: list[str], again: list[str]) -> None:
    """The spool must not take a delivery that is routed again for one that it has already."""
    first = delivery_ids(
        NOTIFICATION, [PlannedDelivery(target=target, selection=None) for target in [*targets, UNROUTED]]
    )
    second = rerouted_delivery_ids(
        first[UNROUTED], [PlannedDelivery(target=target, selection=None) for target in [*again, UNROUTED]]
    )
    everything = [*first.values(), *second.values()]
    assert len(set(everything)) == len(everything)
