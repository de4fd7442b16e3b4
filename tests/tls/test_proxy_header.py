"""Behind a load balancer: whose connection it is, and who may say so."""

import socket
import ssl
from ipaddress import ip_network

import pytest
import structlog
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.proxy_header import ProxyHeader, ProxyHeaderFault, ProxyVersion
from gateway.settings.values import Address
from gateway.simulator.pki import DevelopmentPki, client_leaf
from gateway.tls.policy import Proxies
from gateway.tls.proxy_header import take_proxy_header
from tests.tls.rig import ANSWER, Door, Maker, hello_of, send_raw

ANY: tuple[ProxyVersion, ...] = ("v1", "v2")
HERE = Proxies(versions=ANY, networks=(ip_network("10.9.0.0/16"), ip_network("127.0.0.0/8")))
ELSEWHERE = Proxies(versions=ANY, networks=(ip_network("10.9.0.0/16"), ip_network("::/0")))

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.2 40001 443\r\n"
V2 = SIGNATURE + bytes([0x21, 0x11, 0, 12, 203, 0, 113, 7, 192, 0, 2, 2]) + b"\x9c\x41\x01\xbb"
LOCAL = SIGNATURE + bytes([0x20, 0x00, 0, 0])
HELLO = hello_of(ssl.TLSVersion.TLSv1_3)
CLIENT = ("203.0.113.7", 40001)

both_versions = pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])


def handshakes(door: Door) -> float:
    """Count all that was accepted or refused."""
    return sum(
        sample.value
        for metric in door.metrics.handshakes_total.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


@given(
    header=st.sampled_from([V1, V2, LOCAL, b"PROXY UNKNOWN\r\n"]),
    behind=st.binary(max_size=20),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_exactly_the_header_is_taken_however_it_arrives(
    header: bytes, behind: bytes, cuts: list[int]
) -> None:
    async def converse() -> tuple[ProxyHeader | ProxyHeaderFault, bytes]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            found: list[ProxyHeader | ProxyHeaderFault] = []

            async def take() -> None:
                found.append(await take_proxy_header(theirs, ANY))

            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take)
                    data, start = header + behind, 0
                    for cut in [*sorted(cuts), len(data)]:
                        ours.sendall(data[start:cut])
                        start = max(start, cut)
                        await trio.testing.wait_all_tasks_blocked()
            ours.close()
            rest = b""
            while piece := theirs.recv(100):
                rest += piece
            return found[0], rest

    found, rest = trio.run(converse)
    assert isinstance(found, ProxyHeader)
    assert found.size_bytes == len(header)
    assert rest == behind


@both_versions
async def test_the_client_has_its_own_address(maker: Maker, pki: DevelopmentPki, header: bytes) -> None:
    async with maker.door(proxies=HERE) as door:
        chain = (pki.meta_client, pki.meta_intermediate)
        assert await maker.knock(door, chain, before=header) == ANSWER
        ((peer, _),) = door.peers
        assert (peer.address, peer.port) == CLIENT
        assert peer.identity is not None


async def test_a_balancer_on_the_dual_stack_is_known_by_its_ipv4_address(maker: Maker) -> None:
    async with maker.door(proxies=HERE, address=Address(host="::", port=0)) as door:
        assert await maker.knock(door, before=V2) == ANSWER


async def test_a_connection_of_the_balancers_own_has_the_balancers_address(maker: Maker) -> None:
    async with maker.door(proxies=HERE) as door:
        assert await maker.knock(door, before=LOCAL) == ANSWER
        ((peer, _),) = door.peers
        assert peer.address == "127.0.0.1"


@both_versions
async def test_a_refusal_names_the_client_and_not_the_balancer(maker: Maker, header: bytes) -> None:
    async with maker.door(proxies=HERE) as door:
        with structlog.testing.capture_logs() as logs:
            assert await maker.knock(door, (client_leaf(None),), before=header) == b""
            assert await send_raw(door, header + b"GET / HTTP/1.1\r\n\r\n") == b""
        lines = [line for line in logs if line["event"] == "handshake_refused"]
        assert [line["reason"] for line in lines] == ["unknown_issuer", "protocol"]
        assert {(line["address"], line["port"]) for line in lines} == {CLIENT}


@pytest.mark.parametrize(
    "before", [b"", V1[:-1] + b"x\n", b"\r\n\r\nGET", V1 * 2], ids=["none", "bad", "odd", "two"]
)
async def test_without_a_good_header_nobody_gets_in(maker: Maker, before: bytes) -> None:
    async with maker.door(proxies=HERE) as door:
        assert await send_raw(door, before + HELLO) == b""
        assert door.peers == []
        assert door.count("refused", "protocol") == 1
        assert await maker.knock(door, before=V1) == ANSWER


@both_versions
@pytest.mark.parametrize("versions", [("v1",), ("v2",)])
async def test_the_other_version_is_refused(
    maker: Maker, header: bytes, versions: tuple[ProxyVersion, ...]
) -> None:
    proxies = Proxies(versions=versions, networks=HERE.networks)
    async with maker.door(proxies=proxies) as door:
        is_right = header == {"v1": V1, "v2": V2}[versions[0]]
        if is_right:
            assert await maker.knock(door, before=header) == ANSWER
        else:
            assert await send_raw(door, header + HELLO) == b""


@pytest.mark.parametrize("before", [b"", V1, V2, LOCAL])
async def test_who_comes_past_the_balancers_is_closed_upon_whatever_he_says(
    maker: Maker, before: bytes
) -> None:
    async with maker.door(proxies=ELSEWHERE) as door:
        with structlog.testing.capture_logs() as logs:
            assert await send_raw(door, before + HELLO) == b""
        assert door.count("refused", "protocol") == 1
        (line,) = (line for line in logs if line["event"] == "handshake_refused")
        assert line["address"] == "127.0.0.1", "not what he says"
        assert "listen.proxy_from" in line["detail"]


@pytest.mark.parametrize("said", [b"", V1, V2, LOCAL], ids=["nothing", "v1", "v2", "local"])
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_a_health_check_counts_as_nothing(maker: Maker, said: bytes, reset: bool) -> None:
    async with maker.door(proxies=HERE) as door:
        stream = await trio.open_tcp_stream("127.0.0.1", door.port)
        if said:
            await stream.send_all(said)
            await trio.testing.wait_all_tasks_blocked(0.01)
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        assert await maker.knock(door, before=V1) == ANSWER
        while door.listener.open_connections:
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert handshakes(door) == 1


@pytest.mark.parametrize("said", [V1[:20], V2[:20], V1, V2], ids=["half v1", "half v2", "v1", "v2"])
async def test_who_dawdles_behind_a_balancer_is_shown_out(maker: Maker, said: bytes) -> None:
    async with maker.door(proxies=HERE, handshake_seconds=0.15) as door:
        assert await send_raw(door, said) == b""
        assert door.count("refused", "timeout") == 1


async def test_behind_a_balancer_each_client_counts_for_itself(maker: Maker) -> None:
    """The balancer's address is one; what it tells is counted."""
    async with maker.door(proxies=HERE, per_address=2) as door:
        crowd = [await trio.open_tcp_stream("127.0.0.1", door.port) for _ in range(5)]
        for stream in crowd:
            await stream.send_all(V1)
        with trio.fail_after(5):
            while door.count("refused", "limit") < 3:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert await maker.knock(door, before=b"PROXY TCP4 198.51.100.1 192.0.2.2 1 443\r\n") == ANSWER
        for stream in crowd:
            await stream.aclose()


async def test_half_a_header_and_an_end_is_a_protocol_error(maker: Maker) -> None:
    async with maker.door(proxies=HERE) as door:
        stream = await trio.open_tcp_stream("127.0.0.1", door.port)
        await stream.send_all(V2[:20])
        await stream.aclose()
        with trio.fail_after(5):
            while not door.count("refused", "protocol"):
                await trio.testing.wait_all_tasks_blocked(0.001)
