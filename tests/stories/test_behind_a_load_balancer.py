"""A load balancer on layer 4 in front: the client keeps its address, and nobody gets in past the balancer."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.errors import PeerError
from gateway.simulator.client import MetaClient
from gateway.simulator.pki import PkiFiles, make_pki
from tests.stories.rig import APP_SECRET, PATH, Config, Rig, message, open_target, unique_id, until

BALANCER = "127.0.0.9"
"""Where the balancer connects from; clients come from 127.0.0.1."""
CLIENT = "127.0.0.1"


def version_1(client: tuple[str, int]) -> bytes:
    return f"PROXY TCP4 {client[0]} 192.0.2.2 {client[1]} 443\r\n".encode()


def version_2(client: tuple[str, int]) -> bytes:
    """With what a cloud's balancer adds: an identifier of its endpoint."""
    addresses = IPv4Address(client[0]).packed + IPv4Address("192.0.2.2").packed
    payload = addresses + client[1].to_bytes(2, "big") + b"\x01\xbb" + b"\xea\x00\x05\x01vpce"
    return bytes.fromhex("0d0a0d0a000d0a515549540a2111") + len(payload).to_bytes(2, "big") + payload


async def connect_as_balancer(rig: Rig) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", rig.port, local_address=BALANCER)


@asynccontextmanager
async def balancer(rig: Rig, header: Any) -> AsyncGenerator[int, None]:
    """Run a balancer that passes on bytes; give its port."""

    async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for piece in source:
                await sink.send_all(piece)
        await sink.aclose()

    async def relay(client: trio.SocketStream) -> None:
        async with client, await connect_as_balancer(rig) as gateway, trio.open_nursery() as nursery:
            with suppress(trio.BrokenResourceError):
                await gateway.send_all(header(client.socket.getpeername()))
            nursery.start_soon(copy, client, gateway)
            nursery.start_soon(copy, gateway, client)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, host="127.0.0.1")
        (listener,) = await nursery.start(serve, relay, 0)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def client(rig: Rig, port: int, files: PkiFiles) -> MetaClient:
    return MetaClient(
        f"https://localhost:{port}",
        secret=APP_SECRET,
        ca=rig.pki.server_ca,
        certificate=files.client_certificate,
        private_key=files.client_key,
    )


def refusals(rig: Rig) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in rig.log.splitlines() if line.startswith("{")]
    return [event for event in events if event["event"] == "handshake_refused"]


def behind(protocol: str) -> Any:
    def change(config: Config) -> None:
        config["listen"] |= {"proxy_protocol": protocol, "proxy_from": [f"{BALANCER}/32"]}

    return change


@pytest.mark.parametrize(
    ("protocol", "header"),
    [("v1", version_1), ("v2", version_2), ("any", version_2)],
    ids=["v1", "v2", "any"],
)
async def test_behind_a_balancer_a_refusal_names_the_real_client(
    rig: Rig, tmp_path: Path, protocol: str, header: Any
) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=behind(protocol))
        async with rig.running(), balancer(rig, header) as port:
            async with client(rig, port, make_pki(tmp_path / "stranger")) as stranger:
                with pytest.raises(PeerError):
                    await stranger.post(PATH, message(unique_id()))
            async with client(rig, port, rig.pki) as meta:
                assert (await meta.post(PATH, message(unique_id()))).status == 200
                assert (await meta.post(PATH, message(unique_id()), signature="sha256=")).status == 401
            await until(lambda: "request_refused" in rig.log)
        (refused,) = refusals(rig)
        assert (refused["reason"], refused["address"]) == ("unknown_issuer", CLIENT)
        events = [json.loads(line) for line in rig.log.splitlines() if line.startswith("{")]
        (unsigned,) = (event for event in events if event["event"] == "request_refused")
        assert (unsigned["address"], unsigned["proved"]) == (CLIENT, True)


@pytest.mark.parametrize("expected", [True, False])
async def test_where_balancer_and_gateway_do_not_agree_on_the_header_the_doctor_has_the_next_step(
    rig: Rig, expected: bool
) -> None:
    change: Any = behind("v2") if expected else (lambda _: None)
    rig.write(targets={"support": "http://127.0.0.1:9/"}, change=change)
    header: Any = (lambda _: b"") if expected else version_2
    async with rig.running(), balancer(rig, header) as port:
        async with client(rig, port, rig.pki) as meta:
            with pytest.raises(PeerError):
                await meta.post(PATH, message(unique_id()))
        examined = await rig.command("doctor", "--offline", "--json", check=False)
    found = {one["code"]: one for one in json.loads(examined.stdout)["findings"]}
    assert found["proxy_header_refused"]["level"] == "problem"
    step = "switch the PROXY protocol on" if expected else "set listen.proxy_protocol"
    assert found["proxy_header_refused"]["remedy"].startswith(step)


async def test_without_a_header_or_past_the_balancer_nobody_gets_in_and_its_health_checks_are_no_refusals(
    rig: Rig,
) -> None:
    rig.write(targets={"support": "http://127.0.0.1:9/"}, change=behind("any"))
    async with rig.running(), balancer(rig, version_2) as port:
        # The balancer's own checks: connect and close; connect, say LOCAL, close.
        for said in (b"", bytes.fromhex("0d0a0d0a000d0a515549540a20000000"), b"PROXY UNKNOWN\r\n"):
            async with await connect_as_balancer(rig) as check:
                if said:
                    await check.send_all(said)
        # From the balancer, but without a header.
        async with balancer(rig, lambda _: b"") as mute, client(rig, mute, rig.pki) as meta:
            with pytest.raises(PeerError):
                await meta.post(PATH, message(unique_id()))
        # Straight to the gateway, as Meta would.
        with pytest.raises(PeerError):
            await rig.post(message(unique_id()))
        # Straight to the gateway, with a header that claims to be the balancer's.
        async with await trio.open_tcp_stream("127.0.0.1", rig.port) as liar:
            await liar.send_all(version_2((BALANCER, 5)))
            with suppress(trio.BrokenResourceError):
                assert await liar.receive_some() == b""
        async with client(rig, port, rig.pki) as meta:
            assert (await meta.post(PATH, message(unique_id()))).status == 200
        refused = 'meta_gateway_handshakes_total{reason="protocol",result="refused"}'
        assert await rig.metric(refused) == 3
    assert [(line["reason"], line["address"]) for line in refusals(rig)] == [
        ("protocol", BALANCER),
        ("protocol", CLIENT),
        ("protocol", CLIENT),
    ]
