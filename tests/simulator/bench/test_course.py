"""One run, with real processes that send and a stand-in for the gateway."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from gateway.errors import PeerError
from gateway.settings.address import Address
from gateway.simulator.answers import ANSWERS, explain_status
from gateway.simulator.bench import course as course_module
from gateway.simulator.bench.course import Counting, Course, measure
from gateway.simulator.bench.figures import Figures
from gateway.simulator.bench.tally import Tally
from gateway.simulator.pki import PkiFiles
from gateway.simulator.process import free_ports
from tests.simulator.door import Door


def course(door: Door, pki: PkiFiles, **changes: Any) -> Course:
    wanted = {
        "base_url": door.url,
        "path": "/main",
        "secret": b"secret",
        "ca": pki.server_ca,
        "system_trust": False,
        "certificate": pki.client_certificate,
        "private_key": pki.client_key,
        "rate": 100.0,
        "seconds": 0.5,
        "connections": 4,
        "processes": 1,
        "shares": {"statuses": 1.0},
        "changes": 1,
        "large_bytes": 1024,
        "now_ms": 1_795_400_000_000,
        "counting": None,
    }
    return Course(**{**wanted, **changes})


async def measured(
    wanted: Course,
    *,
    after: int = 0,
    then: Callable[[], None] | None = None,
    interrupted: trio.Event | None = None,
) -> Figures:
    """Run it; `then` is called when so many were accepted."""

    def watch(stage: str, tally: Tally, arrived: int) -> None:
        if then is not None and tally.accepted >= after:
            then()

    with trio.fail_after(30):
        return await measure(
            wanted, watch=watch, interrupted=trio.Event() if interrupted is None else interrupted
        )


async def test_two_processes_are_told_as_one(door: Door, pki: PkiFiles) -> None:
    figures = await measured(course(door, pki, processes=2))
    assert (figures.tally.due, figures.tally.accepted) == (50, 50)
    assert figures.wanted.processes == 2
    assert len(set(door.bodies)) == 51, "the probe, and fifty that differ"
    assert figures.passed


@pytest.mark.parametrize("status", [*ANSWERS, 302, 418])
async def test_a_first_notification_that_is_not_taken_ends_it_with_the_next_step(
    door: Door, pki: PkiFiles, status: int
) -> None:
    door.answer = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
    with pytest.raises(ExceptionGroup) as raised:
        await measured(course(door, pki))
    (error,) = raised.value.exceptions
    assert isinstance(error, PeerError)
    assert f"answered {status} to the first notification" in error.message
    assert error.remedy == explain_status(status)
    assert len(door.bodies) == 1


async def test_it_ends_early_when_nothing_succeeds_any_more(
    door: Door, pki: PkiFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course_module, "SILENT_SECONDS", 0.6)

    def fail() -> None:
        door.answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

    figures = await measured(course(door, pki, seconds=3600.0), after=20, then=fail)
    assert figures.ended == "nothing was answered 200 for 0.6 s"
    assert figures.tally.statuses[503] > 10
    assert not figures.passed


async def test_interrupted_it_tells_the_figures_so_far(door: Door, pki: PkiFiles) -> None:
    interrupted = trio.Event()
    wanted = course(door, pki, seconds=3600.0)
    figures = await measured(wanted, after=15, then=interrupted.set, interrupted=interrupted)
    assert figures.interrupted
    assert figures.tally.accepted >= 15
    assert figures.tally.due < 1000


async def test_what_does_not_arrive_in_time_is_lost(door: Door, pki: PkiFiles) -> None:
    """The stand-in delivers nothing."""
    counting = Counting(
        address=Address(host="127.0.0.1", port=free_ports(1)[0]),
        table=None,
        app="",
        target="bench",
        settle_seconds=0.3,
    )
    figures = await measured(course(door, pki, counting=counting))
    assert figures.verified is not None
    assert (figures.verified.expected, figures.verified.lost) == (50, 50)
    assert figures.failures() == ("50 changes did not arrive at the target",)


async def test_there_are_as_many_processes_as_the_rate_takes_and_no_more_than_connections(
    door: Door, pki: PkiFiles
) -> None:
    assert course(door, pki, processes=None).crew_size == 1
    assert course(door, pki, processes=8).crew_size == 4
