"""Reading a body: its bounds."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingress.asgi import Message
from gateway.ingress.body import UNPROVEN_SHARE, BodyFault, BodyMemory, read_body


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


def test_what_is_held_comes_back_when_the_request_fails() -> None:
    memory = BodyMemory(100)

    def fail() -> None:
        with memory.hold(proved=False) as held:
            assert held.grow(25)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert memory.held_bytes == 0
