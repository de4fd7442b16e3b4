"""The processes that send: how many, and what one that cannot begin says. What they do: `test_course`."""

import pytest
import trio

from gateway.errors import PeerError
from gateway.simulator.bench.crew import RATE_OF_ONE, Crew, processes_for
from gateway.simulator.bench.tally import Order


@pytest.mark.parametrize(
    ("rate", "cores", "processes"),
    [(0.5, 8, 1), (RATE_OF_ONE, 8, 1), (RATE_OF_ONE + 1, 8, 2), (10 * RATE_OF_ONE, 4, 4)],
)
def test_one_process_for_each_so_many_a_second_up_to_the_cores(
    rate: float, cores: int, processes: int
) -> None:
    assert processes_for(rate, cores) == processes


async def test_a_process_that_cannot_begin_says_why_and_none_is_left() -> None:
    crew = Crew(
        [
            Order(
                host="localhost",
                port=1,
                authority="localhost:1",
                path="/",
                secret=b"secret",
                ca="/nowhere/ca.pem",
                system_trust=False,
                certificate=None,
                private_key=None,
                rate=1,
                seconds=1,
                connections=1,
                worker=0,
                workers=1,
                run="abcdefgh",
                shares={"statuses": 1},
                changes=1,
                large_bytes=1024,
                now_ms=0,
                expected=[],
            )
        ]
    )
    with trio.fail_after(30), pytest.raises(ExceptionGroup) as raised:
        await crew.run(started=lambda: None)
    (error,) = raised.value.exceptions
    assert isinstance(error, PeerError)
    assert "/nowhere/ca.pem: no such file" in str(error)
