"""One connection of the load client: what an answer is, and what each failure is called."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from gateway.simulator.bench.wire import Door, Fault, Wire, WireError
from gateway.simulator.client import client_context
from gateway.simulator.pki import PkiFiles, make_pki
from gateway.simulator.process import free_ports
from tests.simulator.door import Door as StandIn
from tests.simulator.door import opened

BODY = b"{}"
HEAD = b"POST /main HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    return make_pki(tmp_path_factory.mktemp("pki"))


def trusting(ca: Path, pki: PkiFiles) -> ssl.SSLContext:
    return client_context(ca, pki.client_certificate, pki.client_key, system_trust=False)


@pytest.fixture
async def stand_in(pki: PkiFiles) -> AsyncIterator[StandIn]:
    async with opened(StandIn(), pki) as stand_in:
        yield stand_in


@pytest.fixture
async def wire(stand_in: StandIn, pki: PkiFiles) -> AsyncIterator[Wire]:
    door = await Door.find("localhost", stand_in.port, trusting(pki.server_ca, pki))
    wire = await Wire.connect(door)
    yield wire
    wire.close()


async def post(wire: Wire, body: bytes = BODY) -> int:
    return await wire.post(HEAD % len(body), body)


async def test_requests_follow_one_another_on_one_connection(stand_in: StandIn, wire: Wire) -> None:
    assert [await post(wire), await post(wire)] == [200, 200]
    assert stand_in.bodies == [BODY, BODY]
    assert len({id(peer) for peer in stand_in.peers}) <= 2
    assert all(stand_in.peers), "the client certificate was not presented"


async def test_three_mebibytes_arrive_whole(stand_in: StandIn, wire: Wire) -> None:
    body = b"x" * 3 * 1024 * 1024
    assert await post(wire, body) == 200
    assert stand_in.bodies == [body]


@pytest.mark.parametrize(
    ("answer", "status", "stays_open"),
    [
        (OK, 200, True),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nRetry-After: 5\r\n\r\n", 503, True),
        (b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 401, False),
        (b"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 502, False),
    ],
)
async def test_an_answer_is_its_status(
    stand_in: StandIn, wire: Wire, answer: bytes, status: int, stays_open: bool
) -> None:
    stand_in.answer = answer
    assert await post(wire) == status
    assert wire.open is stays_open


@pytest.mark.parametrize(
    ("answer", "fault"),
    [(b"", Fault.CLOSED), (b"SSH-2.0-OpenSSH\r\n\r\n", Fault.NOT_HTTP), (b"x" * 70_000, Fault.NOT_HTTP)],
)
async def test_what_is_no_answer_has_a_name(
    stand_in: StandIn, wire: Wire, answer: bytes, fault: Fault
) -> None:
    stand_in.answer = answer
    with pytest.raises(WireError) as raised:
        await post(wire)
    assert raised.value.fault is fault
    assert not wire.open


async def test_a_server_that_is_not_trusted_fails_the_handshake(stand_in: StandIn, pki: PkiFiles) -> None:
    door = await Door.find("localhost", stand_in.port, trusting(pki.meta_ca, pki))
    with pytest.raises(WireError) as raised:
        await Wire.connect(door)
    assert raised.value.fault is Fault.HANDSHAKE


async def test_where_nobody_listens_there_is_no_connection(pki: PkiFiles) -> None:
    (port,) = free_ports(1)
    context = trusting(pki.server_ca, pki)
    with pytest.raises(WireError) as raised:
        await Door.find("127.0.0.1", port, context)
    assert raised.value.fault is Fault.NO_CONNECTION


async def test_silence_ends_at_the_deadline(
    stand_in: StandIn, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.answer = b"HTTP/1.1 "  # and no more
    monkeypatch.setattr("gateway.simulator.bench.wire.TIMEOUT_SECONDS", 0.05)
    with trio.fail_after(5):
        with pytest.raises(WireError) as raised:
            await post(wire)
    assert raised.value.fault is Fault.TOO_SLOW
