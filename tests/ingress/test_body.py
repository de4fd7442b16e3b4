"""Reading a body: its bounds."""

from collections.abc import Sequence

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingress.asgi import Message
from gateway.ingress.body import (
    BODY_BYTES_PER_SECOND,
    UNPROVEN_SHARE,
    BodyFault,
    BodyMemory,
    read_body,
)


class Pieces:
    """A `receive` that gives these pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = list(pieces)

    async def __call__(self) -> Message:
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}


@given(pieces=st.lists(st.binary(max_size=20), min_size=1, max_size=12), max_bytes=st.integers(0, 150))
async def test_a_body_is_whole_or_too_large_whatever_its_pieces(pieces: list[bytes], max_bytes: int) -> None:
    memory = BodyMemory(1000)
    whole = b"".join(pieces)
    with memory.hold(proved=True) as held:
        read = await read_body(Pieces(pieces), held, max_bytes=max_bytes)
        assert memory.held_bytes <= max_bytes
    assert read == (whole if len(whole) <= max_bytes else BodyFault.TOO_LARGE)
    assert memory.held_bytes == 0


async def test_a_message_may_leave_out_what_is_empty() -> None:
    """ASGI 3: `body` and `more_body` have defaults."""

    async def receive() -> Message:
        return {"type": "http.request"}

    with BodyMemory().hold(proved=True) as held:
        assert await read_body(receive, held, max_bytes=10) == b""


async def test_a_body_that_finds_no_memory_is_a_fault_and_gives_back_what_it_had() -> None:
    memory = BodyMemory(100)
    with memory.hold(proved=True) as first, memory.hold(proved=True) as second:
        assert first.grow(60)
        assert await read_body(Pieces([b"x" * 30, b"x" * 30]), second, max_bytes=1000) is BodyFault.NO_MEMORY
        assert memory.held_bytes == 90
    assert memory.held_bytes == 0


@given(takes=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=30))
def test_memory_never_exceeds_its_bounds_and_comes_back_whole(takes: list[tuple[int, bool]]) -> None:
    memory = BodyMemory(100)
    taken = [(count, proved) for count, proved in takes if memory.take(count, proved=proved)]
    assert memory.held_bytes == sum(count for count, _ in taken) <= 100
    assert sum(count for count, proved in taken if not proved) <= 100 // UNPROVEN_SHARE
    for count, proved in taken:
        memory.give_back(count, proved=proved)
    assert memory.held_bytes == 0
    assert memory.take(25, proved=False)
    assert memory.take(75, proved=True)


class Drops:
    """A `receive` that gives a body in drops, each after its time."""

    def __init__(self, drop: bytes, *, every_seconds: float, drops: int) -> None:
        self.drop, self.every_seconds, self.left = drop, every_seconds, drops

    async def __call__(self) -> Message:
        await trio.sleep(self.every_seconds)
        self.left -= 1
        return {"type": "http.request", "body": self.drop, "more_body": self.left > 0}


@pytest.mark.parametrize("drop_bytes", [64, 16 * 1024, 256 * 1024])
async def test_a_steady_sender_finishes_however_slow_above_the_least_rate(
    drop_bytes: int, autojump_clock: trio.testing.MockClock
) -> None:
    size = 3 * 1024**2 if drop_bytes > 64 else 64 * 1000
    every_seconds = drop_bytes / BODY_BYTES_PER_SECOND / 1.01
    drops = Drops(bytes(drop_bytes), every_seconds=every_seconds, drops=size // drop_bytes)
    with BodyMemory().hold(proved=True) as held:
        read = await read_body(drops, held, max_bytes=3 * 1024**2)
    assert read == bytes(size)


@pytest.mark.parametrize(("drop_bytes", "ends_at"), [(1, 30), (1024, 31), (16 * 1024, 60)])
async def test_who_drips_is_cut_off_however_long_the_body(
    drop_bytes: int, ends_at: float, autojump_clock: trio.testing.MockClock
) -> None:
    """At half of the least rate: 30 s, and half of what it took."""
    began = trio.current_time()
    drops = Drops(bytes(drop_bytes), every_seconds=1, drops=100_000)
    with BodyMemory().hold(proved=True) as held:
        assert await read_body(drops, held, max_bytes=3 * 1024**2) is BodyFault.TIMEOUT
    assert trio.current_time() - began == pytest.approx(ends_at, abs=1)


async def test_a_body_that_stops_after_a_good_start_is_cut_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def receive() -> Message:
        if trio.current_time() > began:
            await trio.sleep_forever()
        await trio.sleep(1)
        return {"type": "http.request", "body": bytes(320 * 1024), "more_body": True}

    began = trio.current_time()
    with BodyMemory().hold(proved=True) as held:
        assert await read_body(receive, held, max_bytes=3 * 1024**2) is BodyFault.TIMEOUT
    assert trio.current_time() - began == pytest.approx(30 + 10)


def test_what_is_held_comes_back_when_the_request_fails() -> None:
    memory = BodyMemory(100)

    def fail() -> None:
        with memory.hold(proved=False) as held:
            assert held.grow(25)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert memory.held_bytes == 0
