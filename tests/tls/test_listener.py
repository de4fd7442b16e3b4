"""The door under bad weather: garbage, sleepers, crowds, bugs; and who is let in with what."""

import os
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import structlog
import trio
import trio.testing

from gateway.core.identity import Peer, Reason
from gateway.core.proxy_header import NOT_EXPECTED
from gateway.settings.values import Address
from gateway.simulator.pki import DevelopmentPki, Issued, authority, client_leaf
from gateway.telemetry.line_budget import BURST_LINES
from gateway.tls.context import ServerContext
from gateway.tls.stream import TlsStream
from tests.tls.rig import ANSWER, PATIENCE_SECONDS, REQUEST, Maker, hello_of, send_raw


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" + bytes(42),
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37),
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff",
        bytes(4096),
        os.urandom(4096),
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x10" + bytes(16),
    ],
    ids=[
        "plain HTTP", "plain HTTP/2", "PROXY protocol", "SSL 3", "SSL 2", "huge record", "huge hello",
        "zeros", "random", "alert", "data first",
    ],
)  # fmt: skip
async def test_what_is_not_tls_gets_no_answer_and_harms_nobody(maker: Maker, data: bytes) -> None:
    async with maker.door() as door:
        answer = await send_raw(door, data)
        assert not answer or answer[0] == 0x15, "at most a TLS alert"
        assert door.peers == []
        assert door.count("refused", "protocol") == 1
        assert await maker.knock(door) == ANSWER


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n", True),
        (bytes.fromhex("0d0a0d0a000d0a515549540a2111000cc0000201c000020200051bb0"), True),
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"PROXYING is not it", False),
    ],
    ids=["version 1", "version 2", "plain HTTP", "another word"],
)
async def test_a_load_balancer_that_sends_a_header_nobody_expects_is_told_so(
    maker: Maker, data: bytes, told: bool
) -> None:
    async with maker.door() as door:
        with structlog.testing.capture_logs() as logs:
            await send_raw(door, data)
            await until(lambda: door.count("refused", "protocol") == 1)
        (refused,) = [entry for entry in logs if entry["event"] == "handshake_refused"]
        assert (refused["detail"] == NOT_EXPECTED) is told


async def test_a_hello_that_stops_half_way_is_a_protocol_error(maker: Maker) -> None:
    async with maker.door() as door:
        stream = await trio.open_tcp_stream("127.0.0.1", door.port)
        await stream.send_all(hello_of(ssl.TLSVersion.TLSv1_3)[:50])
        await stream.aclose()
        await until(lambda: door.count("refused", "protocol") == 1)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the door does on its own."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():
            await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_who_looks_in_without_a_word_is_nobody(maker: Maker, reset: bool) -> None:
    """Load balancers and monitors connect and close."""
    async with maker.door() as door:
        for _ in range(5):
            stream = await trio.open_tcp_stream("127.0.0.1", door.port)
            if reset:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.aclose()
        assert await maker.knock(door) == ANSWER
        await until(lambda: door.listener.open_connections == 0)
        total = sum(
            sample.value
            for metric in door.metrics.handshakes_total.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
        assert total == 1


@pytest.mark.parametrize("said", [b"", b"\x16", "hello"], ids=["silent", "one byte", "hello and no more"])
async def test_who_dawdles_is_shown_out(maker: Maker, said: bytes | str) -> None:
    data = hello_of(ssl.TLSVersion.TLSv1_3) if isinstance(said, str) else said
    async with maker.door(handshake_seconds=0.15) as door:
        began = trio.current_time()
        await send_raw(door, data)
        assert trio.current_time() - began >= 0.15
        assert door.count("refused", "timeout") == 1
        assert door.listener.open_connections == 0


async def test_sleepers_do_not_shut_the_door(maker: Maker, pki: DevelopmentPki) -> None:
    """Where handshakes are too many the oldest gives way, so who is quick gets in."""
    async with maker.door(max_connections=8) as door:
        sleepers = [await trio.open_tcp_stream("127.0.0.1", door.port) for _ in range(6)]
        await until(lambda: door.count("refused", "limit") == 4)
        assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == ANSWER
        for sleeper in sleepers:
            await sleeper.aclose()


class Guests:
    """Connections that stay until they are let go."""

    def __init__(self) -> None:
        self.leave = trio.Event()
        self.seen = 0

    async def arrived(self, number: int) -> None:
        await until(lambda: self.seen == number)

    async def handle(self, stream: TlsStream, peer: Peer, alpn: str) -> None:
        self.seen += 1
        await self.leave.wait()
        await stream.send_all(ANSWER)
        await stream.aclose()


async def test_a_quarter_at_most_is_without_an_accepted_certificate(
    maker: Maker, pki: DevelopmentPki
) -> None:
    guests = Guests()
    answers: list[bytes] = []
    async with maker.door(max_connections=8, handler=guests.handle) as door:

        async def knock(*chain: Issued) -> None:
            answers.append(await maker.knock(door, chain))

        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(knock)
                await guests.arrived(number + 1)
            assert await maker.knock(door) == b""
            assert door.count("refused", "limit") == 1
            nursery.start_soon(knock, pki.meta_client, pki.meta_intermediate)
            await until(lambda: guests.seen == 3)
            guests.leave.set()
        assert answers == [ANSWER] * 3
        assert await maker.knock(door) == ANSWER


async def test_no_more_connections_than_allowed(maker: Maker, pki: DevelopmentPki) -> None:
    guests = Guests()
    async with maker.door(max_connections=2, handler=guests.handle) as door:
        context = maker.client_context((pki.meta_client, pki.meta_intermediate))
        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(trio.to_thread.run_sync, hold, door.port, context)
                await guests.arrived(number + 1)
            assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == b""
            assert door.count("refused", "limit") == 1
            guests.leave.set()


async def test_as_many_strangers_as_the_settings_say(maker: Maker, pki: DevelopmentPki) -> None:
    guests = Guests()
    async with (
        maker.door(without_identity=3, handler=guests.handle) as door,
        trio.open_nursery() as nursery,
    ):
        for number in range(3):
            nursery.start_soon(maker.knock, door)
            await guests.arrived(number + 1)
        assert await maker.knock(door) == b""
        assert door.count("refused", "limit") == 1
        nursery.start_soon(maker.knock, door, (pki.meta_client, pki.meta_intermediate))
        await guests.arrived(4)
        guests.leave.set()


async def test_one_address_cannot_take_every_connection(maker: Maker, pki: DevelopmentPki) -> None:
    """Silent ones count too, and who leaves makes room."""
    async with maker.door(per_address=3) as door:

        async def come(address: str) -> trio.SocketStream:
            return await trio.open_tcp_stream("127.0.0.1", door.port, local_address=address)

        with structlog.testing.capture_logs() as logs:
            crowd = [await come("127.0.0.66") for _ in range(20)]
            await until(lambda: door.count("refused", "limit") == 17)
        (line, *_) = (line for line in logs if line["event"] == "handshake_refused")
        assert line["address"] == "127.0.0.66"
        assert "one address" in line["detail"]
        assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == ANSWER
        for stream in crowd:
            await stream.aclose()
        await until(lambda: door.listener.open_connections == 0)
        again = [await come("127.0.0.66") for _ in range(3)]
        await until(lambda: door.listener.open_connections == 3)
        assert door.count("refused", "limit") == 17
        for stream in again:
            await stream.aclose()


def hold(port: int, context: ssl.SSLContext) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(REQUEST)
        assert tls.recv(1000) == ANSWER


ERRORS = [
    ValueError("a bug"),
    trio.BrokenResourceError("gone"),
    trio.ClosedResourceError("closed"),
    AttributeError("a bug"),
    ExceptionGroup("from a nursery", [trio.BrokenResourceError("gone"), ExceptionGroup("", [KeyError("x")])]),
]


@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
async def test_what_one_connection_raises_never_reaches_the_others(maker: Maker, error: Exception) -> None:
    async def handle(stream: TlsStream, peer: Peer, alpn: str) -> None:
        if await stream.receive_some() == REQUEST:
            await stream.send_all(ANSWER)
        raise error

    async with maker.door(handler=handle) as door:
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert await maker.knock(door) == ANSWER
            await until(lambda: door.listener.open_connections == 0)
        assert "a bug" not in str(logs), "an error's text may hold what a client has sent"


async def test_defects_that_anybody_can_bring_about_do_not_fill_the_disk(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("gateway.tls.listener.judge", broken)
    async with maker.door() as door:
        with structlog.testing.capture_logs() as logs:
            for _ in range(BURST_LINES + 15):
                await maker.knock(door)
            await until(lambda: door.listener.open_connections == 0)
        lines = [line for line in logs if line["event"] == "connection_failed"]
        assert BURST_LINES <= len(lines) < BURST_LINES + 15
        assert all("ValueError at " in line["error"] for line in lines)
        assert lines[0]["suppressed"] == 0


async def test_a_connection_that_fails_while_the_door_is_cancelled_fails_alone(maker: Maker) -> None:
    async def handle(stream: TlsStream, peer: Peer, alpn: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("a bug while leaving")

    async with trio.open_nursery() as nursery, maker.door(handler=handle) as door:
        nursery.start_soon(maker.knock, door)
        await until(lambda: door.count("accepted", "no_certificate") == 1)
        # Leaving the door cancels it: nothing but the cancellation may come out.


async def test_the_door_closes_and_those_inside_are_served(maker: Maker) -> None:
    guests = Guests()
    async with maker.door(handler=guests.handle) as door:
        answers: list[bytes] = []

        async def knock() -> None:
            answers.append(await maker.knock(door))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(knock)
            await until(lambda: guests.seen == 1)
            door.listener.stop_accepting()
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(OSError, match=r"refused|failed"):
                await trio.open_tcp_stream("127.0.0.1", door.port)
            guests.leave.set()
        assert answers == [ANSWER]
        await until(lambda: door.listener.open_connections == 0)


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Let this process open only so many more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 # names are numbers
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_when_the_door_is_closed_the_handshakes_under_way_can_be_waited_for(maker: Maker) -> None:
    async with maker.door() as door, trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream("127.0.0.1", door.port)
        await until(lambda: door.listener.open_connections == 1)
        done = trio.Event()

        async def wait() -> None:
            await door.listener.wait_handshakes()
            done.set()

        nursery.start_soon(wait)
        door.listener.stop_accepting()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not done.is_set()
        await stream.aclose()
        with trio.fail_after(PATIENCE_SECONDS):
            await done.wait()
            await door.listener.wait_handshakes()


async def test_out_of_descriptors_is_survived(maker: Maker) -> None:
    async with maker.door() as door:
        with structlog.testing.capture_logs() as logs, few_descriptors(1):
            waiting = []
            with suppress(OSError):
                while True:
                    sock = socket.socket()
                    sock.setblocking(False)
                    waiting.append(sock)
            with suppress(BlockingIOError):
                waiting[0].connect(("127.0.0.1", door.port))
            await until(lambda: any(line["event"] == "accept_failed" for line in logs))
            assert next(line for line in logs if line["event"] == "accept_failed")["suppressed"] == 0
            for sock in waiting:
                sock.close()
        assert await maker.knock(door) == ANSWER


async def test_a_new_context_holds_for_the_next_connection(maker: Maker, pki: DevelopmentPki) -> None:
    """What a reload does: connections keep the context they began with, the next one meets the new."""
    current = maker.context()
    async with maker.door(lambda: current, handshake="demand") as door:
        newcomer = authority("New root")
        assert await maker.knock(door, (client_leaf(newcomer),)) == b""
        current = maker.context(newcomer)
        assert await maker.knock(door, (client_leaf(newcomer),)) == ANSWER
        assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == b""


async def test_the_anchor_that_admitted_a_client_is_noted(maker: Maker, pki: DevelopmentPki) -> None:
    async with maker.door() as door:
        await maker.knock(door, (pki.meta_client, pki.meta_intermediate))
        seen = door.journal.last_seen.anchor("meta", maker.sha256(pki.meta_root))
        assert seen is not None
        assert seen > 1_700_000_000_000
        assert [name for name, _ in door.journal.last_seen.clients()] == ["meta"]
        await until(lambda: door.listener.open_connections == 0)
        door.journal.last_seen.touch(9_000_000_000_000)
        assert door.journal.last_seen.anchor("meta", maker.sha256(pki.meta_root)) != 9_000_000_000_000


async def test_an_ipv4_client_on_the_dual_stack_has_its_ipv4_address(maker: Maker) -> None:
    async with maker.door(address=Address(host="::", port=0)) as door:
        assert await maker.knock(door) == ANSWER
        ((peer, _),) = door.peers
        assert peer.address == "127.0.0.1"


async def test_a_refusal_is_logged_with_the_strangers_words(maker: Maker) -> None:
    stranger = client_leaf(None)
    async with maker.door() as door:
        with structlog.testing.capture_logs() as logs:
            assert await maker.knock(door, (stranger,)) == b""
        (line,) = (line for line in logs if line["event"] == "handshake_refused")
        assert line["reason"] == "unknown_issuer"
        assert line["address"] == "127.0.0.1"
        assert "CN=client.webhooks.fbclientcerts.com" in line["subject"]
        assert line["serial"] == f"{stranger.certificate.serial_number:x}"
        assert line["issuer"] == line["subject"]
        assert line["outcome"] == "closed"


@pytest.mark.parametrize("report", [False, True])
async def test_the_ledger_says_how_a_refused_connection_went_on(maker: Maker, report: bool) -> None:
    async with maker.door(report=report) as door:
        await maker.knock(door, (client_leaf(None),))
        await send_raw(door, b"GET / HTTP/1.1\r\n\r\n")
        noise, claimed = door.journal.ledger.newest_first()
    assert (claimed.reason, claimed.claims) == ("unknown_issuer", "meta")
    assert claimed.connection == ("goes on without identity" if report else "closed")
    assert claimed.leaf is not None
    assert (noise.reason, noise.claims, noise.leaf) == ("protocol", None, None)


async def test_who_looks_in_without_a_word_is_not_in_the_ledger(maker: Maker) -> None:
    async with maker.door() as door:
        for _ in range(5):
            await (await trio.open_tcp_stream("127.0.0.1", door.port)).aclose()
        assert await maker.knock(door) == ANSWER
        await until(lambda: door.listener.open_connections == 0)
        assert door.journal.ledger.newest_first() == []


async def test_an_identity_is_held_against_what_is_trusted_now(maker: Maker, pki: DevelopmentPki) -> None:
    """An anchor more, or a name more: the same client. Its anchor gone, or its name: nobody."""
    other = authority("Another root")
    chain = (pki.meta_client, pki.meta_intermediate)
    now = maker.context()
    said: list[Peer] = []

    async def handle(stream: TlsStream, peer: Peer, alpn: str) -> None:
        nonlocal now
        for changed in (
            maker.context(pki.meta_root, other),
            maker.context(entries={"meta": ((pki.meta_root,), ("somebody.else",))}),
            maker.context(other),
        ):
            now = changed
            said.append(door.listener.reconsider(stream, peer))
        await stream.aclose()

    async with maker.door(lambda: now, handler=handle) as door:
        await maker.knock(door, chain)
        await until(lambda: len(said) == 3)
        same, unnamed, gone = said
        assert same.identity is not None
        assert unnamed.refusal is not None
        assert unnamed.refusal.reason is Reason.WRONG_NAME
        assert gone.identity is None
        assert gone.refusal is not None
        assert gone.refusal.reason is Reason.UNKNOWN_ISSUER
        assert door.count("refused", "unknown_issuer") == 0, "it is no handshake"


async def test_a_client_whose_anchor_goes_while_it_shakes_hands_is_judged_by_what_holds(
    maker: Maker, pki: DevelopmentPki
) -> None:
    chain = (pki.meta_client, pki.meta_intermediate)
    contexts = [maker.context(), maker.context(authority("Another root"))]

    def current() -> ServerContext:
        return contexts.pop(0) if len(contexts) > 1 else contexts[0]

    async with maker.door(current, handshake="demand") as door:
        assert await maker.knock(door, chain) == b""
        assert door.peers == []
        await until(lambda: door.count("refused", "unknown_issuer") == 1)
