"""Lines, however the bytes of a stream are cut."""

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.bench.lines import Lines


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda one: one.replace(b"\n", b"")), max_size=6),
    cut=st.integers(min_value=1, max_value=7),
)
def test_lines_come_out_as_they_went_in(lines: list[bytes], cut: int) -> None:
    sent = b"".join(line + b"\n" for line in lines) + b"no end"

    async def read() -> list[bytes]:
        ours, theirs = trio.testing.memory_stream_one_way_pair()
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                for start in range(0, len(sent), cut):
                    await ours.send_all(sent[start : start + cut])
                await ours.aclose()

            nursery.start_soon(write)
            return [line async for line in Lines(theirs)]

    assert trio.run(read) == lines
