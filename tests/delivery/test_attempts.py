"""Merged POSTs from a real spool to real targets: refused, failed, cut off, and all accounted for."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from gateway.core.ids import new_notification_id
from gateway.core.routing import UNROUTED
from gateway.delivery.dead_letter_record import UNSEALED, Reason
from gateway.spool.contract import NewDelivery, Notification
from tests.delivery.dispatching import BODY, Rig, a_target, asked, emptied, unix_ms
from tests.delivery.rig import Received, answer, hang, notification, serving, verified


def a_message(number: int, *, received_at_ms: int | None = None) -> Notification:
    """A notification of one change, whose value is its number."""
    at_ms = unix_ms() if received_at_ms is None else received_at_ms
    identifier = new_notification_id(at_ms, number.to_bytes(10, "big"))
    raw = b'{"object":"page","entry":[{"id":"1","changes":[{"field":"feed","value":%d}]}]}' % number
    return Notification(
        id=identifier,
        received_at_ms=at_ms,
        body=verified(raw),
        deliveries=(NewDelivery(id=f"{identifier}-support", target="support", selection=None, changes=1),),
        object="page",
    )


def numbers(request: Received) -> list[int]:
    """Return which messages a POST holds."""
    return [change["value"] for entry in json.loads(request.body)["entry"] for change in entry["changes"]]


def key(request: Received) -> str:
    return request.headers["idempotency-key"]


async def store(rig: Rig, count: int, **options: int) -> None:
    """Let so many messages wait before anything is delivered."""
    async with rig.spool() as spool:
        for number in range(count):
            await spool.append(a_message(number, **options))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_what_waits_goes_in_one_post(rig: Rig) -> None:
    await store(rig, 250)
    async with (
        serving(answer(200)) as target,
        rig.running({"support": a_target(target.url, max_changes=100)}) as spool,
    ):
        await emptied(spool)
    assert sorted(map(numbers, target.requests)) == [
        list(range(100)), list(range(100, 200)), list(range(200, 250)),
    ]  # fmt: skip
    assert {request.headers["gateway-notification-count"] for request in target.requests} == {"100", "50"}
    assert rig.counted("support", "delivered") == 250
    assert (
        rig.metrics.registry.get_sample_value("meta_gateway_end_to_end_seconds_count", {"target": "support"})
        == 250
    )


async def test_a_lone_one_never_waits(rig: Rig) -> None:
    async with (
        serving(answer(200)) as target,
        rig.running({"support": a_target(target.url, max_changes=100)}) as spool,
    ):
        new = a_message(7)
        await spool.append(new)
        await emptied(spool, seconds=2)
    (request,) = target.requests
    assert request.body == new.body.raw
    assert key(request) == new.deliveries[0].id
    assert "gateway-notification-count" not in request.headers


def refusing(poison: Callable[[int], bool]) -> Callable[[Received, trio.abc.Stream], object]:
    async def script(received: Received, stream: trio.abc.Stream) -> bool:
        return await answer(422 if any(map(poison, numbers(received))) else 200)(received, stream)

    return script


@pytest.mark.parametrize("poison", [0, 37, 99])
async def test_of_a_hundred_the_poisonous_one_alone_becomes_a_dead_letter(rig: Rig, poison: int) -> None:
    await store(rig, 100)
    async with (
        serving(refusing(lambda number: number == poison)) as target,  # type: ignore[arg-type] # a Script
        rig.running({"support": a_target(target.url, max_changes=100)}) as spool,
    ):
        await emptied(spool)
    taken = Counter(
        number for request in target.requests for number in numbers(request) if poison not in numbers(request)
    )
    assert taken == Counter(set(range(100)) - {poison}), "every other one exactly once"
    (letter,) = rig.letters()
    assert letter.reason is Reason.REFUSED
    assert json.loads(letter.body)["entry"][0]["changes"] == [{"field": "feed", "value": poison}]
    assert letter.id.endswith("-support")
    assert letter.headers["Gateway-Notification"] == letter.notification_id
    assert [attempt.status for attempt in letter.attempts] == [422] * len(letter.attempts)
    assert 7 <= len(letter.attempts) <= 8
    assert rig.counted("support", "refused") == 1
    assert rig.counted("support", "delivered") == 99
    assert len({key(request) for request in target.requests}) == len(target.requests)


async def test_all_poisonous_all_dead_letters(rig: Rig) -> None:
    await store(rig, 9)
    async with (
        serving(answer(400)) as target,
        rig.running({"support": a_target(target.url, max_changes=100)}) as spool,
    ):
        await emptied(spool)
    assert len(list(rig.letters())) == 9
    assert rig.counted("support", "refused") == 9


async def test_after_two_failures_the_members_go_singly(rig: Rig) -> None:
    await store(rig, 5)
    async with (
        serving(answer(503), answer(500), answer(200)) as target,
        rig.running({"support": a_target(target.url, max_changes=100)}) as spool,
    ):
        await emptied(spool)
    first, second, *rest = target.requests
    assert numbers(first) == numbers(second) == [0, 1, 2, 3, 4]
    assert key(first) == key(second)
    assert first.body == second.body
    assert [request.headers["gateway-attempt"] for request in target.requests] == ["1", "2", *["3"] * 5]
    assert sorted(map(numbers, rest)) == [[0], [1], [2], [3], [4]]
    assert all(key(request).endswith("-support") for request in rest)
    assert (rig.counted("support", "retried"), rig.counted("support", "delivered")) == (10, 5)


async def test_a_failure_and_then_a_success_delivers_once(rig: Rig) -> None:
    await store(rig, 5)
    async with (
        serving(answer(503), answer(200)) as target,
        rig.running({"support": a_target(target.url, max_changes=100)}) as spool,
    ):
        await spool.append(a_message(5))
        await emptied(spool)
    assert Counter(number for request in target.requests[1:] for number in numbers(request))[0] == 1
    groups = [request for request in target.requests if len(numbers(request)) > 1]
    assert len({key(request) for request in groups}) == 1
    assert len({request.body for request in groups}) == 1


@pytest.mark.parametrize("script", [answer(503), hang], ids=["answered", "interrupted"])
async def test_a_restart_between_attempts_keeps_members_and_key(rig: Rig, script: object) -> None:
    await store(rig, 5)
    settings = {"schedule": (0.3,), "max_changes": 100, "timeout": 30.0, "concurrency": 1}
    async with serving(script, answer(200)) as target:  # type: ignore[arg-type] # a Script
        async with rig.running({"support": a_target(target.url, **settings)}):  # type: ignore[arg-type] # by name
            await asked(target, 1)
        async with rig.spool() as spool:
            await spool.append(a_message(5))
        # the limit has become smaller meanwhile: what has gone out together stays together
        settings["max_changes"] = 2
        async with rig.running({"support": a_target(target.url, **settings)}) as spool:  # type: ignore[arg-type]
            await emptied(spool)
    first, *later = target.requests
    assert numbers(first) == [0, 1, 2, 3, 4]
    (again,) = (request for request in later if len(numbers(request)) > 1)
    assert (key(again), again.body) == (key(first), first.body)
    assert again.headers["gateway-attempt"] == "2"
    assert sorted(map(numbers, later)) == [[0, 1, 2, 3, 4], [5]]


async def test_who_is_past_the_give_up_time_leaves_and_the_rest_goes_singly(rig: Rig) -> None:
    old, new = unix_ms() - 3_600_000, unix_ms()
    async with rig.spool() as spool:
        for number in range(3):
            await spool.append(a_message(number, received_at_ms=old))
        for number in range(3, 5):
            await spool.append(a_message(number, received_at_ms=new))
    async with (
        serving(answer(503), answer(200)) as target,
        rig.running({"support": a_target(target.url, max_changes=100, give_up_after=1800.0)}) as spool,
    ):
        await emptied(spool)
    assert numbers(target.requests[0]) == [0, 1, 2, 3, 4]
    assert sorted(map(numbers, target.requests[1:])) == [[3], [4]]
    letters = list(rig.letters())
    assert {letter.reason for letter in letters} == {Reason.GAVE_UP}
    assert [json.loads(letter.body)["entry"][0]["changes"][0]["value"] for letter in letters] == [0, 1, 2]
    assert (rig.counted("support", "gave_up"), rig.counted("support", "retried")) == (3, 2)


async def test_what_cannot_be_joined_after_all_goes_singly(rig: Rig) -> None:
    """Stored by mistake as joinable: the bytes decide."""
    async with rig.spool() as spool:
        for number, raw in enumerate((b'{"entry":[]}', b"not JSON", b"[]")):
            identifier = new_notification_id(unix_ms(), number.to_bytes(10, "big"))
            new = NewDelivery(id=f"{identifier}-support", target="support", selection=None)
            await spool.append(
                Notification(
                    id=identifier,
                    received_at_ms=unix_ms(),
                    body=verified(raw),
                    deliveries=(new,),
                    object="page",
                )
            )
    async with (
        serving(answer(200)) as target,
        rig.running({"support": a_target(target.url, max_changes=100)}) as spool,
    ):
        await emptied(spool)
    assert sorted(request.body for request in target.requests) == [b"[]", b"not JSON", b'{"entry":[]}']


async def test_a_shadow_target_drops_only_what_it_refuses_alone(rig: Rig) -> None:
    await store(rig, 4)
    async with (
        serving(refusing(lambda number: number == 2)) as target,  # type: ignore[arg-type] # a Script
        rig.running({"support": a_target(target.url, max_changes=100, drops=True)}) as spool,
    ):
        await emptied(spool)
    assert list(rig.letters()) == []
    assert rig.counted("support", "delivered") == 3


@pytest.mark.parametrize("max_changes", [1, 100], ids=["singly", "merged"])
@pytest.mark.parametrize("drops", [False, True], ids=["dead letter", "drop"])
async def test_what_the_spool_kept_badly_is_set_aside_for_people_and_the_rest_is_delivered(
    rig: Rig, max_changes: int, drops: bool
) -> None:
    await store(rig, 4)
    changed = rig.damage(b'"value":2}')
    async with (
        serving(answer(200)) as target,
        rig.running({"support": a_target(target.url, max_changes=max_changes, drops=drops)}) as spool,
    ):
        await emptied(spool)
    assert sorted(number for request in target.requests for number in numbers(request)) == [0, 1, 3]
    (letter,) = rig.letters()
    assert letter.reason is Reason.DAMAGED
    assert changed in letter.body
    assert letter.integrity == UNSEALED
    assert rig.died("support", "damaged") == 1


async def test_what_is_damaged_and_has_no_route_is_told_as_damaged(rig: Rig) -> None:
    async with rig.spool() as spool:
        await spool.append(notification(BODY, UNROUTED, received_at_ms=unix_ms()))
    rig.damage(b'"value":{"a":1}')
    async with rig.running({}) as spool:
        await emptied(spool)
    (letter,) = rig.letters()
    assert (letter.reason, letter.attempts) == (Reason.DAMAGED, ())
