"""The open loop: when a request was due is what its latency counts from, whatever the answers take."""

import zlib
from typing import Any

import pytest
import trio

from gateway.core.signature import sign
from gateway.simulator.bench import load as load_module
from gateway.simulator.bench.load import Load
from gateway.simulator.bench.mix import number_pattern
from gateway.simulator.bench.tally import Mark, Order, Tally
from gateway.simulator.pki import PkiFiles
from tests.simulator.door import Door, opened

SECRET = b"the app's"
RUN = "loadtest"


class SlowDoor(Door):
    """Its first answer takes a while; the others none."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    async def handle(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.do_handshake()
        await trio.sleep(self.seconds)
        await super().handle(stream)


def order(door: Door, pki: PkiFiles, **changes: Any) -> Order:
    wanted = {
        "host": "localhost",
        "port": door.port,
        "authority": f"localhost:{door.port}",
        "path": "/main",
        "secret": SECRET,
        "ca": str(pki.server_ca),
        "system_trust": False,
        "certificate": str(pki.client_certificate),
        "private_key": str(pki.client_key),
        "rate": 100.0,
        "seconds": 0.3,
        "connections": 4,
        "worker": 0,
        "workers": 1,
        "run": RUN,
        "shares": {"statuses": 1.0},
        "changes": 1,
        "large_bytes": 1024,
        "now_ms": 1_795_400_000_000,
        "expected": [],
    }
    return Order(**{**wanted, **changes})


async def run(wanted: Order) -> Tally:
    load = Load(wanted)
    await load.connect()
    await load.run()
    return load.tally(final=True)


async def test_what_is_due_is_sent_signed_and_new_each_time(door: Door, pki: PkiFiles) -> None:
    tally = await run(order(door, pki))
    assert (tally.due, tally.accepted, tally.changes, tally.unsent) == (30, 30, 30, 0)
    assert tally.latencies().count == 30
    assert 0.25 < tally.seconds < 2
    assert len(set(door.bodies)) == 30
    assert all(number_pattern(RUN).search(body) for body in door.bodies)
    assert door.headers()["x-hub-signature-256"] == sign(SECRET, door.bodies[-1])
    assert door.headers()["user-agent"] == "facebookexternalua"
    assert all(door.peers), "the client certificate was not presented"


async def test_waiting_for_a_slow_answer_is_in_the_latency_of_all_that_was_due_meanwhile(
    pki: PkiFiles,
) -> None:
    async with opened(SlowDoor(0.4), pki) as door:
        tally = await run(order(door, pki, connections=1, rate=50.0, seconds=0.5))
    assert tally.accepted == 25
    # Those due in the first 0.4 s, twenty, came late, each by less; a closed loop would have called one slow.
    assert tally.latencies().percentile_ms(0.5) > 100
    assert tally.services().percentile_ms(0.9) < 100


async def test_what_never_got_a_connection_is_counted(pki: PkiFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "BACKLOG_SECONDS", 0.05)
    async with opened(SlowDoor(0.5), pki) as door:
        tally = await run(order(door, pki, connections=1, seconds=0.2))
    assert (tally.due, tally.accepted, tally.unsent) == (20, 1, 19)


async def test_processes_take_turns(door: Door, pki: PkiFiles) -> None:
    first, second = [await run(order(door, pki, worker=worker, workers=2)) for worker in (0, 1)]
    assert (first.due, second.due) == (15, 15)


async def test_duplicates_are_the_same_bytes_and_expected_once(door: Door, pki: PkiFiles) -> None:
    shares = {"statuses": 1.0, "duplicates": 1.0}
    tally = await run(order(door, pki, shares=shares, expected=[[0]] * 6))
    assert tally.kinds["duplicates"] > 3
    assert len(set(door.bodies)) == 30 - tally.kinds["duplicates"]
    assert zlib.decompress(tally.marks) == bytes([Mark.EXPECTED]) * len(set(door.bodies))


async def test_what_is_not_answered_200_is_expected_nowhere(door: Door, pki: PkiFiles) -> None:
    door.answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    tally = await run(order(door, pki, expected=[[0]] * 6))
    assert tally.statuses == {503: 30}
    assert zlib.decompress(tally.marks) == bytes([Mark.UNANSWERED]) * 30
    assert tally.latencies().count == 0


async def test_a_connection_that_is_closed_is_a_fault_and_another_is_opened(
    door: Door, pki: PkiFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "AGAIN_SECONDS", 0.01)
    door.answer = b""
    tally = await run(order(door, pki, connections=1, rate=30.0))
    assert tally.faults == {"closed without an answer": 9}
    assert tally.handshakes == 9


class OneAnswerDoor(Door):
    """Closes each connection some time after its first answer."""

    async def handle(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        with trio.move_on_after(0.2):
            await super().handle(stream)
        await stream.aclose()


async def test_a_connection_that_the_gateway_closes_while_it_is_idle_is_no_fault(
    pki: PkiFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "IDLE_SECONDS", 0.1)
    async with opened(OneAnswerDoor(), pki) as door:
        tally = await run(order(door, pki, connections=1, rate=2.0, seconds=1.5))
    assert (tally.accepted, tally.faults, tally.handshakes) == (3, {}, 3)


async def test_stopped_it_begins_no_more(door: Door, pki: PkiFiles) -> None:
    load = Load(order(door, pki, seconds=3600.0))
    await load.connect()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await trio.sleep(0.2)
            load.stop()
    tally = load.tally(final=True)
    assert 10 < tally.due == tally.accepted < 100
