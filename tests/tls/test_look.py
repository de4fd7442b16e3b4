"""A look from outside: at a real door, and at what is none."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from gateway.errors import PeerError
from gateway.simulator.pki import DevelopmentPki, authority, chain_pem, server_leaf
from gateway.tls.context import make_context
from gateway.tls.look import Look, look_at
from tests.tls.rig import REQUEST, Door, Maker


def look(port: int, *, seconds: float = 5.0) -> Look:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        return look_at(peer, server_name="localhost", request=REQUEST, seconds=seconds)


async def look_from_a_thread(door: Door) -> Look:
    return await trio.to_thread.run_sync(look, door.port)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes], None]:
    """Give this machine a trust store."""

    def trust(pem: bytes) -> None:
        (tmp_path / "store.pem").write_bytes(pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "store.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))

    return trust


async def test_it_tells_what_a_client_without_certificate_sees(
    maker: Maker, pki: DevelopmentPki, trusting: Callable[[bytes], None]
) -> None:
    trusting(pki.server_root.pem)
    async with maker.door() as door:
        seen = await look_from_a_thread(door)
        (peer, _) = door.peers[0]
        assert peer.identity is None
    assert seen.protocol == "TLSv1.3"
    assert [one.sha256 for one in seen.chain] == [maker.sha256(pki.server)]
    assert seen.chain_faults == ()
    assert seen.asks_for == (pki.meta_root.certificate.subject.rfc4514_string(),)
    assert (seen.status, seen.ending) == (200, "")


async def test_under_demand_it_is_turned_away_and_tells_how_all_the_same(maker: Maker) -> None:
    async with maker.door(handshake="demand") as door:
        seen = await look_from_a_thread(door)
    assert seen.status is None
    assert seen.ending
    assert seen.asks_for
    assert door.count("refused", "no_certificate") == 1


async def test_a_chain_without_its_intermediate_has_a_fault_and_with_it_none(
    maker: Maker, trusting: Callable[[bytes], None]
) -> None:
    root = authority("Public root")
    intermediate = authority("Public intermediate", issuer=root)
    leaf = server_leaf(intermediate)
    trusting(root.pem)
    faults = []
    for chain in ((leaf,), (leaf, intermediate)):
        settings = maker.tls()
        settings.certificate.write_bytes(chain_pem(*chain))
        settings.private_key.write_bytes(leaf.key_pem)
        async with maker.door(make_context(settings)) as door:
            faults.append((await look_from_a_thread(door)).chain_faults)
    assert faults[0][0] == "unable to get local issuer certificate"
    assert faults[1] == ()


async def test_what_is_not_tls_is_told_as_a_failed_handshake() -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"220 mail.example.com ESMTP\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, greet, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(PeerError, match="the TLS handshake failed"):
            await trio.to_thread.run_sync(look, port)
        nursery.cancel_scope.cancel()


def test_one_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(PeerError, match="timed out"):
            look(port, seconds=0.2)
        with pytest.raises(PeerError, match="timed out"):
            look(port, seconds=0.0)
