"""What the handshake agrees upon: versions, protocols, no resumption, whose certificates are asked for."""

import socket
import ssl

import pytest
import trio
from OpenSSL import SSL

from gateway.core.identity import Identity
from gateway.simulator.pki import DevelopmentPki
from tests.tls.rig import ANSWER, PATIENCE_SECONDS, REQUEST, Maker, hello_of, send_raw


@pytest.mark.filterwarnings("ignore:.*TLSv1.*:DeprecationWarning")
async def test_old_versions_of_tls_are_refused(maker: Maker) -> None:
    async with maker.door() as door:
        answer = await send_raw(door, hello_of(ssl.TLSVersion.TLSv1_1))
        assert answer[:1] == b"\x15"
        assert door.count("refused", "protocol") == 1


async def test_minimum_version_1_3_refuses_1_2(maker: Maker) -> None:
    async with maker.door(maker.context(minimum_version="1.3")) as door:
        answer = await send_raw(door, hello_of(ssl.TLSVersion.TLSv1_2))
        assert answer[:1] == b"\x15"
        assert door.count("refused", "protocol") == 1
        assert await maker.knock(door) == ANSWER


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        ((), "http/1.1"),
        (("h2", "http/1.1"), "h2"),
        (("http/1.1", "h2"), "h2"),
        (("http/1.1",), "http/1.1"),
        (("spdy/3", "http/1.1"), "http/1.1"),
    ],
)
async def test_the_protocol_is_agreed_upon(maker: Maker, offered: tuple[str, ...], agreed: str) -> None:
    async with maker.door() as door:
        assert await maker.knock(door, alpn=offered) == ANSWER
        ((_, alpn),) = door.peers
        assert alpn == agreed


async def test_a_client_of_other_protocols_is_turned_away(maker: Maker) -> None:
    """RFC 7301 section 3.2: no_application_protocol."""
    async with maker.door() as door:
        context = maker.client_context(alpn=("smtp", "imap"))

        def knock() -> None:
            with (
                socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE_SECONDS) as sock,
                pytest.raises(ssl.SSLError, match="no application protocol"),
            ):
                context.wrap_socket(sock, server_hostname="localhost")

        await trio.to_thread.run_sync(knock)
        assert door.peers == []
        assert door.count("refused", "protocol") == 1
        assert await maker.knock(door) == ANSWER


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_session_is_resumed(maker: Maker, pki: DevelopmentPki, version: ssl.TLSVersion) -> None:
    """A resumed session skips validation, and with it anchors, lists and expiry."""
    async with maker.door(handshake="demand") as door:
        context = maker.client_context((pki.meta_client, pki.meta_intermediate))
        context.minimum_version = context.maximum_version = version

        def knock(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
            with (
                socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE_SECONDS) as sock,
                context.wrap_socket(sock, server_hostname="localhost", session=session) as tls,
            ):
                tls.sendall(REQUEST)
                assert tls.recv(1000) == ANSWER
                return tls.session, tls.session_reused

        session, _ = await trio.to_thread.run_sync(knock, None)
        _, reused = await trio.to_thread.run_sync(knock, session)
        assert reused is False
        assert all(isinstance(peer.identity, Identity) for peer, _ in door.peers)
        assert len(door.peers) == 2


async def test_the_client_is_told_whose_certificates_are_asked_for(maker: Maker, pki: DevelopmentPki) -> None:
    async with maker.door() as door:

        def names() -> list[str | None]:
            connection = SSL.Connection(
                SSL.Context(SSL.TLS_CLIENT_METHOD), socket.create_connection(("127.0.0.1", door.port), 5)
            )
            connection.setblocking(True)
            connection.set_connect_state()
            connection.do_handshake()
            found = [name.CN for name in connection.get_client_ca_list()]
            connection.close()
            return found

        assert await trio.to_thread.run_sync(names) == ["Meta-like outbound root CA"]
