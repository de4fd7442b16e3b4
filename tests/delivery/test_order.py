"""Order by sender, from a real spool to a real target: over failures, merging and restarts."""

import json
import random
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.breaker import BreakerPolicy
from gateway.core.ids import new_notification_id
from gateway.core.ordering import order_keys
from gateway.core.routing import RoutingTable
from gateway.delivery.replay import Known, Replayer, Word
from gateway.spool.contract import NewDelivery, Notification
from tests.delivery.dispatching import Rig, a_target, asked, emptied, unix_ms
from tests.delivery.rig import Received, answer, serving, verified

TARGET = "support"


def a_notification(number: int, users: tuple[int, ...]) -> Notification:
    """One change for each user, each with the number."""
    changes = [
        {"field": "messages", "value": {"messages": [{"from": f"49{user}", "id": number}]}} for user in users
    ]
    raw = json.dumps({"object": "page", "entry": [{"id": "1", "changes": changes}]}).encode()
    identifier = new_notification_id(unix_ms(), number.to_bytes(10, "big"))
    new = NewDelivery(
        id=f"{identifier}-{TARGET}",
        target=TARGET,
        selection=None,
        changes=len(changes),
        order_keys=order_keys(raw, None),
    )
    return Notification(
        id=identifier, received_at_ms=unix_ms(), body=verified(raw), deliveries=(new,), object="page"
    )


def numbers(request: Received) -> set[int]:
    entries = json.loads(request.body)["entry"]
    return {
        message["id"] for entry in entries for one in entry["changes"] for message in one["value"]["messages"]
    }


def overtakings(requests: list[Received], users: list[tuple[int, ...]]) -> list[tuple[int, int]]:
    """Return pairs that share a user, of which the later one went out before the earlier had ended."""
    sent: dict[int, list[int]] = {}
    for place, request in enumerate(requests):
        for number in numbers(request):
            sent.setdefault(number, []).append(place)
    return [
        (one, other)
        for one in sent
        for other in sent
        if one < other and not set(users[one]).isdisjoint(users[other]) and max(sent[one]) >= min(sent[other])
    ]


USERS = st.lists(
    st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True).map(tuple), min_size=5, max_size=30
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(USERS, st.sampled_from([1, 4]), st.integers(0, 2**16), st.integers(0, 2))
def test_no_delivery_overtakes_one_of_the_same_sender(
    users: list[tuple[int, ...]], max_changes: int, seed: int, restarts: int
) -> None:
    chance = random.Random(seed)

    async def moody(received: Received, stream: trio.abc.Stream) -> bool:
        await trio.sleep(chance.random() * 0.01)
        status = chance.choice([200, 200, 200, 503, 500, 422])
        return await answer(status, keep=chance.random() < 0.8)(received, stream)

    async def main(directory: Path) -> None:
        rig = Rig(directory)
        async with serving(moody) as target:
            targets = {
                TARGET: a_target(
                    target.url,
                    schedule=(0.005, 0.02),
                    concurrency=4,
                    max_changes=max_changes,
                    breaker=BreakerPolicy(failures=3, probe_every_seconds=0.01),
                )
            }
            half = len(users) // 2
            async with rig.spool() as spool:
                for number, some in enumerate(users[:half]):
                    await spool.append(a_notification(number, some))
            for _ in range(restarts):
                async with rig.spool() as spool, trio.open_nursery() as nursery:
                    await nursery.start(rig.dispatcher(spool, targets).run)
                    await trio.sleep(chance.random() * 0.05)
                    nursery.cancel_scope.cancel()
            async with rig.running(targets) as spool:
                for number, some in enumerate(users[half:], start=half):
                    await spool.append(a_notification(number, some))
                await emptied(spool)
        assert set().union(*map(numbers, target.requests)) == set(range(len(users)))
        assert overtakings(target.requests, users) == []

    with tempfile.TemporaryDirectory() as directory:
        trio.run(main, Path(directory))


async def test_other_senders_go_on_while_one_waits(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def script(received: Received, stream: trio.abc.Stream) -> bool:
        return await answer(503 if numbers(received) == {0} else 200)(received, stream)

    users: list[tuple[int, ...]] = [(number % 4,) for number in range(40)]
    async with serving(script) as target:
        targets = {TARGET: a_target(target.url, schedule=(60.0,), concurrency=2)}
        async with rig.running(targets) as spool:
            for number, some in enumerate(users):
                await spool.append(a_notification(number, some))
            with trio.fail_after(10):
                while spool.pending()[TARGET] > 10:  # noqa: ASYNC110 - the spool has no event for it
                    await trio.sleep(0.01)
    assert {number for request in target.requests for number in numbers(request)} == {0} | {
        number for number in range(40) if number % 4
    }
    assert overtakings(target.requests, users) == []


async def test_a_replayed_dead_letter_goes_behind_what_is_under_way_and_before_what_comes_later(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    under_way, answered = trio.Event(), trio.Event()
    refusing = True

    async def script(received: Received, stream: trio.abc.Stream) -> bool:
        if numbers(received) == {1}:
            under_way.set()
            await answered.wait()
        return await answer(422 if refusing and numbers(received) == {0} else 200)(received, stream)

    known = Known(
        apps=frozenset({"main"}),
        targets=frozenset({TARGET}),
        table=RoutingTable(
            [], payload_original=frozenset(), drop_unrouted=False, ordered=frozenset({TARGET})
        ),
    )
    async with serving(script) as target, rig.running({TARGET: a_target(target.url)}) as spool:
        await spool.append(a_notification(0, (1,)))
        await emptied(spool)
        (letter,) = rig.letters()
        refusing = False
        await spool.append(a_notification(1, (1,)))
        await under_way.wait()
        replayer = Replayer(spool=spool, store=rig.store, known=lambda: known, now_ms=unix_ms)
        results = await replayer.replay([letter.id], accept_edited=False)
        assert results[letter.id].word is Word.REPLAYED
        await spool.append(a_notification(2, (1,)))
        await spool.append(a_notification(3, (2,)))
        await asked(target, 3)  # another sender goes on; of this one nothing does
        answered.set()
        await emptied(spool)
    assert [numbers(request) for request in target.requests] == [{0}, {1}, {3}, {0}, {2}]


@pytest.mark.parametrize("depth", [3_000])
async def test_a_sender_with_a_long_queue_is_no_slower_for_it(tmp_path: Path, depth: int) -> None:
    """Whoever follows is found by the index: the rest of the queue is not looked at."""
    rig = Rig(tmp_path)
    raw = a_notification(0, (1,)).body
    async with rig.spool() as spool:
        for start in range(0, depth, 1000):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + 1000):
                    identifier = new_notification_id(unix_ms(), number.to_bytes(10, "big"))
                    new = NewDelivery(id=f"{identifier}-x", target=TARGET, selection=None, order_keys=(1, 2))
                    nursery.start_soon(
                        spool.append,
                        Notification(
                            id=identifier,
                            received_at_ms=unix_ms(),
                            body=verified(raw.raw + b" " * number),
                            deliveries=(new,),
                        ),
                    )
    async with serving(answer(200)) as target:
        targets = {TARGET: a_target(target.url)}
        async with rig.running(targets) as spool:
            started = trio.current_time()
            with trio.fail_after(30):
                while spool.pending()[TARGET] > depth - 100:  # noqa: ASYNC110 - the spool has no event for it
                    await trio.sleep(0.01)
            assert trio.current_time() - started < 10
