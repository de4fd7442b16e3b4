"""A guarded stream: deadlines are assignments, and nothing follows half a message."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from gateway.web.guarded import GuardedStream
from gateway.web.limits import HttpLimits

LIMITS = HttpLimits()


@asynccontextmanager
async def _guarded(
    limits: HttpLimits = LIMITS,
) -> AsyncIterator[tuple[GuardedStream, trio.abc.Stream]]:
    ours, theirs = trio.testing.lockstep_stream_pair()
    guarded = GuardedStream(theirs, limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(guarded.watch)
        await trio.testing.wait_all_tasks_blocked()
        yield guarded, ours
        nursery.cancel_scope.cancel()


async def test_a_sooner_deadline_is_seen_behind_a_later_one(autojump_clock: Any) -> None:
    async with _guarded() as (guarded, ours):
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send_all, b"a")
            assert await guarded.read(due=started + 75)
        assert not await guarded.read(due=started + 3)
        assert trio.current_time() - started == pytest.approx(3)
        assert guarded.data == b"a"


async def test_a_deadline_that_was_met_closes_nothing(autojump_clock: Any) -> None:
    async with _guarded() as (guarded, ours):
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.send_all, b"a")
                assert await guarded.read(due=trio.current_time() + 5)
            await trio.sleep(100)
        assert guarded.data == b"aaa"
        assert not guarded.is_broken


async def test_nothing_follows_a_message_that_was_cut_off(autojump_clock: Any) -> None:
    async with _guarded() as (guarded, ours):
        with trio.move_on_after(1):
            await guarded.send(b"abc")
        with trio.fail_after(1):
            await guarded.send(b"def")
            await guarded.send_eof()
        got = b""
        with trio.move_on_after(1) as scope:
            while True:
                got += await ours.receive_some()
        assert scope.cancelled_caught
        assert b"abc".startswith(got)


async def test_each_slice_has_its_own_deadline(autojump_clock: Any) -> None:
    async with _guarded(replace(LIMITS, send_slice_bytes=10, send_seconds=5)) as (guarded, ours):
        started = trio.current_time()

        async def read_slowly() -> None:
            for _ in range(4):
                await trio.sleep(4)
                await ours.receive_some(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_slowly)
            await guarded.send(bytes(40))
        assert trio.current_time() - started == pytest.approx(16)
        assert not guarded.is_broken
        await guarded.send(bytes(40))
        assert trio.current_time() - started == pytest.approx(21)


async def test_it_can_be_told_to_end_now(autojump_clock: Any) -> None:
    async with _guarded() as (guarded, _), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: guarded.read(due=trio.current_time() + 75))
        await trio.testing.wait_all_tasks_blocked()
        guarded.expire()
        with trio.fail_after(1):
            while nursery.child_tasks:
                await trio.testing.wait_all_tasks_blocked()
                await trio.lowlevel.checkpoint()
