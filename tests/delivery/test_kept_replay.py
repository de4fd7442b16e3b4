"""What was delivered goes out again: to whom it should, as it was, and no oftener than asked for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.core.change import Kind
from gateway.core.routing import Route, RoutingTable
from gateway.delivery.kept_replay import Cursor, KeptReplayer, Wanted
from gateway.delivery.replay import Known
from gateway.spool.contract import Buried, Done, Lease
from gateway.spool.memory import MemorySpool, open_memory_spool
from gateway.spool.memory_state import MemoryState
from tests.delivery.rig import EPOCH_MS, notification

NOW_MS = EPOCH_MS + 60_000
TWO = (
    b'{"object":"whatsapp_business_account","entry":[{"id":"1","changes":['
    b'{"field":"messages","value":{"statuses":[{"id":"s"}]}},{"field":"flows","value":{}}]}]}'
)


def known(*routes: Route, apps: str = "main") -> Known:
    return Known(
        apps=frozenset(apps.split()),
        targets=frozenset({"support", "crm"}),
        table=RoutingTable(routes, payload_original=frozenset(), drop_unrouted=False),
    )


ALL_TO_BOTH = known(Route(field=("*",), to=("support", "crm")))


class Rig:
    def __init__(self) -> None:
        self.state = MemoryState()
        self.known = ALL_TO_BOTH

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[KeptReplayer, MemorySpool]]:
        async with open_memory_spool(self.state, keep_delivered_seconds=3600, now_ms=lambda: NOW_MS) as spool:
            yield KeptReplayer(spool=spool, known=lambda: self.known, now_ms=lambda: NOW_MS), spool

    async def deliver(self, number: int = 1, *, raw: bytes = TWO, app: str = "main") -> None:
        """Have `support` take some notifications, a second apart."""
        async with self.open() as (_, spool):
            for position in range(number):
                at_ms = EPOCH_MS + position * 1000
                await spool.append(
                    notification(raw + b" " * position, "support", received_at_ms=at_ms, app=app)
                )
            for lease in await leases(spool, "support"):
                await spool.settle(lease, Done())

    async def replay(self, wanted: Wanted, *, dry_run: bool = False, limit: int = 2) -> dict[str, int]:
        counts: dict[str, int] = {}
        async with self.open() as (replayer, _):
            after = None
            while True:
                step = await replayer.step(wanted, after=after, limit=limit, dry_run=dry_run)
                for word, number in step.counts.items():
                    counts[word] = counts.get(word, 0) + number
                after = step.after
                if after is None:
                    return counts

    async def waiting(self, target: str) -> list[Lease]:
        async with self.open() as (_, spool):
            return await leases(spool, target)


async def leases(spool: MemorySpool, target: str) -> list[Lease]:
    return list(await spool.lease(target, now_ms=NOW_MS, limit=1000, next_due_ms=lambda _: NOW_MS))


def wanted(
    target: str = "support", *, since: int = 0, until: int = 3600, include: bool = False, **rest: Any
) -> Wanted:
    return Wanted(
        target=target,
        since_ms=EPOCH_MS + since * 1000,
        until_ms=EPOCH_MS + until * 1000,
        include_delivered=include,
        **rest,
    )


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_consumer_that_lost_it_gets_the_same_again(rig: Rig) -> None:
    await rig.deliver(5)
    assert await rig.replay(wanted()) == {"delivered": 5}
    assert await rig.replay(wanted(include=True), dry_run=True) == {"would_replay": 5}
    assert await rig.waiting("support") == []
    assert await rig.replay(wanted(include=True, since=1, until=3)) == {"replayed": 3}
    assert await rig.replay(wanted(include=True)) == {"replayed": 2}
    again = await rig.waiting("support")
    assert [lease.raw for lease in again] == [TWO + b" " * position for position in range(5)]
    assert {lease.clock_started_ms for lease in again} == {NOW_MS}
    assert all(lease.delivery_id == f"{lease.notification_id}-support" for lease in again)


async def test_a_new_target_gets_what_the_routes_give_it_now_once(rig: Rig) -> None:
    await rig.deliver(3)
    rig.known = known(Route(field=("flows",), to=("crm",)))
    assert await rig.replay(wanted("crm")) == {"replayed": 3}
    assert await rig.replay(wanted("crm")) == {"pending": 3}
    lease, *_ = found = await rig.waiting("crm")
    assert len(found) == 3
    assert (lease.selection, lease.delivery_id) == ((1,), f"{lease.notification_id}-crm")


async def test_what_waits_is_not_added_twice_and_what_was_taken_is_not_sent_unasked(rig: Rig) -> None:
    await rig.deliver(2)
    assert await rig.replay(wanted("crm", until=0)) == {"replayed": 1}
    assert await rig.replay(wanted("crm")) == {"pending": 1, "replayed": 1}
    async with rig.open() as (_, spool):
        for lease in await leases(spool, "crm"):
            await spool.settle(lease, Done())
    assert await rig.replay(wanted("crm")) == {"delivered": 2}


async def test_what_was_taken_goes_again_as_it_was_though_the_routes_have_changed(rig: Rig) -> None:
    await rig.deliver()
    rig.known = known(Route(field=("flows",), to=("crm",)))
    assert await rig.replay(wanted(include=True)) == {"replayed": 1}
    assert [lease.selection for lease in await rig.waiting("support")] == [None]


@pytest.mark.parametrize(
    ("filters", "counts"),
    [
        ({"field": "messages"}, {"replayed": 1}),
        ({"field": "mess*"}, {"replayed": 1}),
        ({"field": "account_update"}, {}),
        ({"kind": Kind.STATUS}, {"replayed": 1}),
        ({"kind": Kind.MESSAGE}, {}),
        ({"field": "flows", "kind": Kind.STATUS}, {}),
        ({"app": "main"}, {"replayed": 1}),
        ({"app": "other"}, {}),
    ],
)
async def test_filters(rig: Rig, filters: dict[str, Any], counts: dict[str, int]) -> None:
    await rig.deliver()
    assert await rig.replay(wanted("crm", **filters)) == counts


async def test_what_has_nowhere_to_go_is_told(rig: Rig) -> None:
    await rig.deliver()
    rig.known = known(Route(field=("flows",), to=("support",)))
    assert await rig.replay(wanted("crm")) == {"not_routed": 1}
    rig.known = known(Route(field=("*",), to=("crm",)), apps="other")
    assert await rig.replay(wanted("crm")) == {"unknown_app": 1}


async def test_a_dead_letter_that_was_replayed_and_delivered_counts_as_delivered(rig: Rig) -> None:
    """Its notification stands in the spool twice then: with what the others took, and with this."""
    async with rig.open() as (_, spool):
        original = notification(TWO, "support", "crm")
        await spool.append(original)
        (lease,) = await leases(spool, "support")
        await spool.settle(lease, Done())
        (lease,) = await leases(spool, "crm")
        await spool.settle(lease, Buried())
        await spool.restore(notification(TWO, "crm"), clock_started_ms=NOW_MS)
        (lease,) = await leases(spool, "crm")
        await spool.settle(lease, Done())
    assert await rig.replay(wanted("crm"), limit=10) == {"delivered": 1}
    assert await rig.replay(wanted("crm"), limit=1) == {"delivered": 2}
    assert await rig.replay(wanted("crm", include=True), limit=1) == {"delivered": 1, "replayed": 1}


def test_of_several_files_the_one_that_is_behind_is_next() -> None:
    """So whoever stops can go on from the moment that is told, and leaves nothing out in any of them."""
    cursor = Cursor.of(None, (0, 1), since_ms=100)
    assert cursor.behind == 0
    cursor = Cursor.of(cursor.moved((150, 7)).flat(), (), since_ms=100)
    assert (cursor.behind, cursor.reached_ms(since_ms=100, until_ms=900)) == (1, 100)
    cursor = cursor.moved((170, 3))
    assert (cursor.behind, cursor.reached_ms(since_ms=100, until_ms=900)) == (0, 150)
    cursor = cursor.moved(None)
    assert (cursor.behind, cursor.reached_ms(since_ms=100, until_ms=900)) == (1, 170)
    assert cursor.moved(None).flat() is None
    assert cursor.moved(None).reached_ms(since_ms=100, until_ms=900) == 900


@pytest.mark.parametrize("after", [(), (1, 2), (0, 1, 2, 3)])
def test_what_is_no_place_by_worker_is_refused(after: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no places"):
        Cursor.of(after, (0, 1), since_ms=0)
