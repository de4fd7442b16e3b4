"""Names, targets and the public port, over real sockets."""

import socket
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from gateway.doctor import network
from gateway.doctor.network import for_each, host_of, look_outside, port_of, reach_target, resolve
from gateway.doctor.observed import Resolved
from gateway.settings.model import Target, TargetTls
from gateway.simulator.pki import PkiFiles, make_pki

HERE = Resolved(host="localhost", seconds=0.0, addresses=("127.0.0.1",))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    return make_pki(tmp_path_factory.mktemp("pki") / "certs")


@asynccontextmanager
async def https(pki: PkiFiles, *, clients: Path | None = None) -> AsyncGenerator[tuple[int, list[bytes]]]:
    """Serve TLS; yields the port, and everything that was said after the handshake."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(pki.server_certificate, pki.server_key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    said: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True)
        try:
            said.append(bytes(await secured.receive_some()))
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1], said
        nursery.cancel_scope.cancel()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_a_name_is_resolved_with_its_time_and_one_that_is_not_there_says_so() -> None:
    here = await resolve("localhost")
    assert "127.0.0.1" in here.addresses
    assert here.fault == ""
    nowhere = await resolve("no-such-name.invalid")
    assert nowhere.addresses == ()
    assert nowhere.fault
    assert (await resolve("x" * 300)).fault


async def test_a_name_server_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def hang(_: str) -> Sequence[str]:
        await trio.sleep(3600)
        return ()

    monkeypatch.setattr(network, "_lookup", hang)
    assert (await resolve("slow.example")).fault == "no answer within 5 s"


async def test_a_target_is_connected_to_and_nothing_is_sent() -> None:
    received: list[bytes] = []
    ended = trio.Event()

    async def keep(stream: trio.SocketStream) -> None:
        received.append(bytes(await stream.receive_some()))
        ended.set()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, keep, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        reached = await reach_target("support", Target(url=f"http://localhost:{port}/x"), HERE)
        with trio.fail_after(5):
            await ended.wait()
        nursery.cancel_scope.cancel()
    assert (reached.fault, reached.address) == ("", f"127.0.0.1:{port}")
    assert received == [b""]


async def test_a_target_that_nobody_serves_is_told_with_its_address() -> None:
    port = closed_port()
    reached = await reach_target("support", Target(url=f"http://localhost:{port}/"), HERE)
    assert reached.fault == f"127.0.0.1:{port}: connection refused"


async def test_one_address_of_two_is_enough_and_the_other_is_named() -> None:
    two = Resolved(host="localhost", seconds=0.0, addresses=("127.0.0.9", "127.0.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        reached = await reach_target("support", Target(url=f"http://localhost:{port}/"), two)
    assert reached.fault == ""
    assert reached.unreachable == (f"127.0.0.9:{port}: connection refused",)


async def test_a_name_that_was_not_found_is_why_a_target_cannot_be_reached() -> None:
    lost = Resolved(host="gone.invalid", seconds=0.0, fault="Name or service not known")
    reached = await reach_target("support", Target(url="http://gone.invalid/"), lost)
    assert reached.fault == "gone.invalid cannot be looked up: Name or service not known"


async def test_tls_is_shaken_with_the_targets_own_ca_and_nothing_is_said(pki: PkiFiles) -> None:
    async with https(pki) as (port, said):
        target = Target(url=f"https://localhost:{port}/", tls=TargetTls(ca=pki.server_ca))
        reached = await reach_target("support", target, HERE)
        stranger = await reach_target("support", Target(url=f"https://localhost:{port}/"), HERE)
        assert said in ([], [b""])
    assert (reached.fault, reached.protocol) == ("", "TLSv1.3")
    assert "certificate not accepted" in stranger.fault


async def test_a_target_that_refuses_the_gateways_certificate_is_heard(pki: PkiFiles) -> None:
    # The door's server CA has issued no client certificate: the target refuses it after the handshake.
    async with https(pki, clients=pki.server_ca) as (port, _):
        tls = TargetTls(ca=pki.server_ca, certificate=pki.client_certificate, private_key=pki.client_key)
        reached = await reach_target("support", Target(url=f"https://localhost:{port}/", tls=tls), HERE)
    assert reached.fault.startswith(f"127.0.0.1:{port}: TLS: ")


async def test_tls_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    target = Target(url="https://localhost:1/", tls=TargetTls(ca=tmp_path / "ca.pem"))
    reached = await reach_target("support", target, HERE)
    assert "TLS files" in reached.fault
    assert reached.remedy


async def test_the_look_outside_tells_refusal_silence_and_garbage_apart(pki: PkiFiles) -> None:
    look = partial(look_outside, "127.0.0.1", public=True, host="localhost", authority="localhost", path="/w")
    refused = await look(closed_port())
    assert (refused.fault, refused.ours) == ("refused", True)
    async with https(pki) as (port, said):
        seen = await look(port)
        assert said[0].startswith(b"GET /w HTTP/1.1\r\nHost: localhost\r\n")
    assert seen.look is not None
    assert seen.look.asks_for == ()

    async def babble(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hello\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, babble, 0, host="127.0.0.1"))
        garbage = await look(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()
    assert garbage.fault == "failed"
    assert "handshake failed" in garbage.detail


def test_an_address_of_this_machine_is_told_from_others() -> None:
    assert network._is_ours("127.0.0.1")
    assert not network._is_ours("203.0.113.1")  # RFC 5737: nobody's
    assert not network._is_ours("2001:db8::1")


async def test_every_input_is_probed_at_once_and_results_keep_their_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def probe(seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    began = trio.current_time()
    assert await for_each(probe, [3.0, 1.0, 2.0]) == (3.0, 1.0, 2.0)
    assert trio.current_time() - began == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://hooks.example.com", "hooks.example.com", 443),
        ("http://a.internal/x", "a.internal", 80),
        ("https://[::1]:8443/x", "::1", 8443),
    ],
)
def test_host_and_port_of_a_url(url: str, host: str, port: int) -> None:
    assert (host_of(url), port_of(url)) == (host, port)
