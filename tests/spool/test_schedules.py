"""Random schedules, restarts and full disks among them: SQLite and the fake answer alike at every step."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import apsw
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.lanes import Lane, order_of_turn
from gateway.core.merging import Merging
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import (
    Buried,
    Done,
    Handed,
    Kept,
    Lease,
    NewDelivery,
    Notification,
    Offer,
    Release,
    RetryLater,
    Settlement,
    Spool,
)
from gateway.spool.memory import open_memory_spool
from gateway.spool.memory_state import MemoryState
from tests.spool.rig import NOW_MS, Disk, disk, note, opened, record

TARGETS = ("a", "b", "c")
MERGING = (None, Merging(max_changes=4), Merging(max_changes=3, max_bytes=4))
ORDER_KEYS = ((), (1,), (2,), (1, 2), (-(2**63), 2**63 - 1), (2, 3))
FOR_EVER_SECONDS = 1e12
Step = tuple[str, int, int]


def steps() -> st.SearchStrategy[list[Step]]:
    kinds = st.sampled_from(
        ["append"] * 5
        + ["lease"] * 5
        + ["settle"] * 6
        + ["group"] * 3
        + ["at_once", "offer"] * 3
        + ["oldest", "again"] * 2
        + ["restore", "tick", "ask", "restart", "fill", "together"]
    )
    return st.lists(st.tuples(kinds, st.integers(0, 11), st.integers(0, 11)), min_size=1, max_size=60)


class Pair:
    """Both spools, led through the same steps."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self.directory = directory
        self.disk = disk
        self.state = MemoryState()
        self.now_ms = NOW_MS
        self.known: list[Notification] = []
        self.leases: list[tuple[Lease, Lease]] = []
        self.stack = AsyncExitStack()
        self.handed = Handed()

    async def open(self) -> None:
        self.sqlite = await self.stack.enter_async_context(
            opened(
                self.directory,
                window_seconds=60,
                duplicates_max=7,
                vfs=self.disk.name,
                keep_seconds=FOR_EVER_SECONDS,
            )
        )
        self.memory = await self.stack.enter_async_context(
            open_memory_spool(
                self.state,
                duplicates_window_seconds=60,
                duplicates_max=7,
                keep_delivered_seconds=FOR_EVER_SECONDS,
            )
        )

    def both(self) -> tuple[Spool, Spool]:
        return self.sqlite, self.memory

    def due(self, attempt: int) -> int:
        return self.now_ms + 1000 * attempt

    async def step(self, kind: str, first: int, second: int) -> None:
        match kind:
            case "append":
                targets = tuple(TARGETS[place % 3] for place in range(first, first + first % 4))
                object_ = (None, "page", "page", "user")[second % 4]
                wanted = note(
                    b"%d" % second,
                    targets=targets,
                    at_ms=self.now_ms - second,
                    object_=object_,
                    changes=1 + first % 3,
                    lane=Lane(second % 3),
                    order_keys=ORDER_KEYS[(first + second) % len(ORDER_KEYS)],
                )
                self.known.append(wanted)
                answers = [await spool.append(wanted) for spool in self.both()]
                assert answers[0] == answers[1]
            case "lease":
                await self.lease(TARGETS[first % 3], second)
            case "at_once" | "offer" | "settle" | "again" | "group":
                await getattr(self, kind)(first, second)
            case "oldest":
                await (self.hasten if first > 8 else self.oldest)(TARGETS[first % 3], second)
            case "restore":
                await self.restore(first)
            case "tick":
                self.now_ms += (first + 1) * 700
            case "restart":
                await self.stack.aclose()
                await self.open()
            case "fill":
                await self.fill(first)
            case "together":
                await self.together(first)
        await self.compare()

    async def at_once(self, first: int, second: int) -> None:
        """Append and lease in one batch."""
        wanted = self.new(first, second, order_keys=ORDER_KEYS[first % 4] if second < 2 else ())
        target, merging = TARGETS[first % 3], MERGING[second % 3]

        async def lease(spool: Spool) -> tuple[Lease, ...]:
            return await spool.lease(
                target, now_ms=self.now_ms, limit=second % 4, next_due_ms=self.due, merging=merging
            )

        ours: tuple[Lease, ...] = ()

        async def lease_ours() -> None:
            nonlocal ours
            ours = await lease(self.sqlite)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sqlite.append, wanted)
            nursery.start_soon(lease_ours)
        await self.memory.append(wanted)
        self.note_leases(ours, await lease(self.memory))

    async def offer(self, first: int, second: int) -> None:
        """Append while hands are offered: what finds one is what a lease right after it would find."""
        target, hands, merging = TARGETS[first % 3], second % 4, MERGING[second % 3]
        due_ms = await self.sqlite.next_due_ms(target)
        is_quiet = due_ms is None or due_ms > self.now_ms
        ours: list[Lease] = []
        offer = Offer(
            target=target,
            handed=self.handed,
            until=self.handed.attempts + hands,
            now_ms=lambda: self.now_ms,
            next_due_ms=lambda _, attempt: self.due(attempt),
            take=ours.extend,
            merging=merging,
        )
        assert self.sqlite.offer(offer)
        wanted = self.new(first, second)
        for spool in self.both():
            await spool.append(wanted)
        self.sqlite.offer(replace(offer, until=0))
        if is_quiet and hands:
            theirs = await self.memory.lease(
                target, now_ms=self.now_ms, limit=hands, next_due_ms=self.due, merging=merging
            )
            self.note_leases(tuple(ours), theirs)
        assert is_quiet or not ours

    def new(self, first: int, second: int, order_keys: tuple[int, ...] = ()) -> Notification:
        """Return a notification that was never appended."""
        wanted = note(
            b"new %d" % len(self.known),
            targets=TARGETS[: 1 + first % 3],
            at_ms=self.now_ms - second,
            object_=(None, "page", "page", "user")[second % 4],
            changes=1 + first % 3,
            lane=Lane(second % 3),
            order_keys=order_keys,
        )
        self.known.append(wanted)
        return wanted

    def note_leases(self, ours: tuple[Lease, ...], theirs: tuple[Lease, ...]) -> None:
        """Hold what both have leased against each other, and keep it to be settled."""
        assert [visible(lease) for lease in ours] == [visible(lease) for lease in theirs]
        self.leases += zip(ours, theirs, strict=True)

    async def hasten(self, target: str, limit: int) -> None:
        done = [await spool.hasten(target, now_ms=self.now_ms, limit=limit) for spool in self.both()]
        assert done[0] == done[1]

    async def lease(self, target: str, limit: int) -> None:
        ours, theirs = [
            await spool.lease(
                target,
                now_ms=self.now_ms,
                limit=limit % 4,
                next_due_ms=self.due,
                merging=MERGING[limit // 4],
                lanes=order_of_turn(limit + 4),
            )
            for spool in self.both()
        ]
        self.note_leases(ours, theirs)

    async def oldest(self, target: str, number: int) -> None:
        ours, theirs = [
            await spool.lease_oldest(
                target, now_ms=self.now_ms, clock_started_by_ms=self.now_ms - 300 * number, limit=number % 3
            )
            for spool in self.both()
        ]
        self.note_leases(ours, theirs)

    async def restore(self, number: int) -> None:
        if self.known:
            wanted = self.known[number % len(self.known)]
            added = [await spool.restore(wanted, clock_started_ms=self.now_ms) for spool in self.both()]
            assert added[0] == added[1]

    async def again(self, first: int, second: int) -> None:
        """Send again something that was delivered, or give it to another target."""
        pages = [await spool.kept(since_ms=0, until_ms=1 << 52, limit=1000) for spool in self.both()]
        ours, theirs = [sorted(page, key=lambda kept: kept.notification_id) for page in pages]
        assert [told(kept) for kept in ours] == [told(kept) for kept in theirs]
        if not ours:
            return
        place = first % len(ours)
        taken = sorted(ours[place].taken, key=lambda new: new.id)
        new = taken[second % len(taken)]
        if second % 2:
            target = TARGETS[second % 3]
            new = NewDelivery(id=f"{ours[place].notification_id}-{target}", target=target, selection=(0,))
        added = [
            await spool.send_again([(page[place], new)], clock_started_ms=self.now_ms)
            for spool, page in zip(self.both(), (ours, theirs), strict=True)
        ]
        assert added[0] == added[1]

    async def settle(self, first: int, second: int) -> None:
        if not self.leases:
            return
        pair = self.leases[first % len(self.leases)]  # some of them settled before, or from before a restart
        if second >= 6:
            grouped = [pair for pair in self.leases if pair[0].group is not None]
            await self.settle_group(
                (grouped[-1 - first % min(3, len(grouped))] if grouped else pair)[0], second
            )
            return
        attempt = pair[0].attempt
        settlement: Settlement = (
            Done(),
            Buried(),
            Release(),
            RetryLater(at_ms=self.now_ms + 500 * second, record=record(attempt, at_ms=self.now_ms))
            if pair[0].attempting
            else Release(),
        )[second % 4]
        ended = [
            await spool.settle(lease, settlement) for spool, lease in zip(self.both(), pair, strict=True)
        ]
        assert ended[0] == ended[1]

    async def group(self, first: int, second: int) -> None:
        """Lease some deliveries as a group, end it in some way, and lease what has become of it."""
        for place in range(1 + first % 4):
            raw = b"%d" % len(self.known)
            wanted = note(raw, targets=("a",), at_ms=self.now_ms + place, object_="page")
            self.known.append(wanted)
            for spool in self.both():
                await spool.restore(wanted, clock_started_ms=self.now_ms)  # past the duplicates window
        known = len(self.leases)
        await self.lease("a", 6)
        for one, _ in self.leases[known : known + 1]:
            await self.settle_group(one, 6 + second % 6)
        self.now_ms += 100 * first
        await self.lease("a", 7)

    async def settle_group(self, one: Lease, second: int) -> None:
        """End all leases that were made with this one, together: they go again as a group, or apart."""
        pairs = [
            pair
            for pair in self.leases
            if (pair[0].group, pair[0].attempt, pair[0].target, pair[0].attempting)
            == (one.group, one.attempt, one.target, one.attempting)
            and (one.group is not None or pair[0] is one)  # a group is of one lane
        ]
        failed = record(one.attempt, at_ms=self.now_ms)
        settlements: list[Settlement] = [
            (
                RetryLater(at_ms=self.now_ms + second, record=failed, group=one.group),
                RetryLater(at_ms=self.now_ms, record=failed, group=f"{one.delivery_id}/{place % 2}"),
                RetryLater(at_ms=self.now_ms, record=failed),
                Done() if place % 2 else Buried(),
                Release(),
                Done(),
            )[second - 6 if one.attempting else 9 + second % 2 - 6]
            if one.attempting or second % 3
            else Release(alone=True)
            for place, _ in enumerate(pairs)
        ]
        ended = [
            await spool.settle_together(
                [(pair[side], settlement) for pair, settlement in zip(pairs, settlements, strict=True)]
            )
            for side, spool in enumerate(self.both())
        ]
        assert ended[0] == ended[1]

    async def fill(self, number: int) -> None:
        """Append to a full disk; both refuse."""
        wanted = note(b"full %d" % number, targets=TARGETS, at_ms=self.now_ms)
        self.disk.error, self.disk.failing, self.state.full = apsw.SQLITE_FULL, frozenset({"write"}), True
        for spool in self.both():
            with contextlib.suppress(SpoolUnavailableError):
                await spool.append(wanted)
                raise AssertionError("stored on a full disk")
        self.disk.failing, self.state.full = frozenset(), False

    async def together(self, number: int) -> None:
        """Append the same bytes many times at once; what that does in sum does not depend on their order.

        (Of several bytes it would: which of them, and what came before, a full window has pushed out.)
        """
        raw = note().body.raw
        wanted = [note(raw, targets=("a",), at_ms=self.now_ms) for _ in range(number)]
        counts = []
        for spool in self.both():
            async with trio.open_nursery() as nursery:
                for one in wanted:
                    nursery.start_soon(spool.append, one)
            counts.append(spool.pending())
        assert counts[0] == counts[1]
        # which of equals was stored is open: take them out, so that the rest can be compared exactly
        for spool in self.both():
            for lease in await spool.lease("a", now_ms=1 << 52, limit=1000, next_due_ms=self.due):
                await spool.settle(lease, Buried())

    async def compare(self) -> None:
        assert self.sqlite.pending() == self.memory.pending()
        assert self.sqlite.pending_bytes() == self.memory.pending_bytes()
        assert await self.sqlite.oldest_received_ms() == await self.memory.oldest_received_ms()
        assert await self.sqlite.oldest_clock_ms() == await self.memory.oldest_clock_ms()
        for target in TARGETS:
            assert await self.sqlite.next_due_ms(target) == await self.memory.next_due_ms(target)


def told(kept: Kept) -> tuple[object, ...]:
    """Return what is kept without its place."""
    taken = sorted(kept.taken, key=lambda new: new.id)
    return kept.notification_id, kept.app, kept.received_at_ms, kept.raw, taken


def visible(lease: Lease) -> tuple[object, ...]:
    """Return a lease without its token."""
    return tuple(getattr(lease, name) for name in lease.__struct_fields__ if name != "token")


@contextmanager
def place() -> Iterator[tuple[Path, Disk]]:
    directory = Path(tempfile.mkdtemp(prefix="schedule-"))
    try:
        with disk() as made:
            yield directory / "spool", made
    finally:
        shutil.rmtree(directory)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps())
def test_both_spools_answer_alike(schedule: list[Step]) -> None:
    async def main() -> None:
        with place() as (directory, faulty):
            pair = Pair(directory, faulty)
            await pair.open()
            try:
                for kind, first, second in schedule:
                    await pair.step(kind, first, second)
            finally:
                await pair.stack.aclose()
            connection = apsw.Connection(str(directory / "0" / "spool.sqlite"))
            assert connection.pragma("integrity_check") == "ok"
            # nothing is left of what is gone
            orphans = """SELECT
                (SELECT count(*) FROM body WHERE seq NOT IN
                    (SELECT notification FROM delivery UNION ALL SELECT notification FROM kept))
                + (SELECT count(*) FROM notification WHERE seq NOT IN (SELECT seq FROM body))
                + (SELECT count(*) FROM attempt WHERE (notification, position) NOT IN
                    (SELECT notification, position FROM delivery))
                + (SELECT count(*) FROM notification AS n WHERE deliveries !=
                    (SELECT count(*) FROM delivery WHERE notification = n.seq)
                    + (SELECT count(*) FROM kept WHERE notification = n.seq))"""
            assert connection.execute(orphans).fetchall() == [(0,)]
            kept = set(connection.execute("SELECT bucket, digest FROM seen"))
            for bucket, young in connection.execute("SELECT bucket, digests FROM seen_young"):
                kept |= {(bucket, young[at : at + 32]) for at in range(0, len(young), 32)}
            assert len(kept) == connection.execute("SELECT coalesce(sum(keys), 0) FROM seen_bucket").get
            connection.close()

    trio.run(main)
