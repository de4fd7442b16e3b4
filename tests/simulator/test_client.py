"""Meta's part on the wire, against real TLS servers on the loopback."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import h2.config
import h2.connection
import h2.events
import pytest
import trio

from gateway.errors import PeerError, UsageError
from gateway.simulator.client import ClosedWithoutAnswerError, MetaClient
from gateway.simulator.pki import PkiFiles, make_pki
from gateway.simulator.process import free_ports
from tests.simulator.door import Door, opened

SECRET = b"test-app-secret"
VECTORS = Path(__file__).parent.parent / "data" / "payloads" / "signature_vectors.json"


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    return make_pki(tmp_path_factory.mktemp("pki") / "certs")


def meta(door: Door, pki: PkiFiles, *, certificate: bool = True, http2: bool = False) -> MetaClient:
    return MetaClient(
        door.url,
        secret=SECRET,
        ca=pki.server_ca,
        certificate=pki.client_certificate if certificate else None,
        private_key=pki.client_key if certificate else None,
        http2=http2,
    )


async def test_a_post_carries_metas_headers_signature_and_certificate(pki: PkiFiles) -> None:
    body = b'{"object":"whatsapp_business_account"}'
    async with opened(Door(), pki) as door, meta(door, pki) as client:
        exchange = await client.post("/webhooks/main", body)
    assert exchange.status == 200
    assert exchange.body == b"ok"
    assert exchange.http_version == "HTTP/1.1"
    assert exchange.milliseconds > 0
    assert door.heads[0].splitlines()[0] == "POST /webhooks/main HTTP/1.1"
    assert door.bodies == [body]
    headers = door.headers()
    assert headers["x-hub-signature-256"] == "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    assert headers["x-hub-signature"] == "sha1=" + hmac.new(SECRET, body, hashlib.sha1).hexdigest()
    assert headers["user-agent"] == "facebookexternalua"
    assert headers["accept"] == "*/*"
    assert headers["accept-encoding"] == "deflate, gzip"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    peer = door.peers[0]
    assert isinstance(peer, dict)
    assert (("commonName", "client.webhooks.fbclientcerts.com"),) in peer["subject"]


async def test_no_certificate_is_sent_where_none_is_given(pki: PkiFiles) -> None:
    async with opened(Door(), pki) as door, meta(door, pki, certificate=False) as client:
        await client.post("/webhooks/main", b"{}")
    assert not door.peers[0]


@pytest.mark.parametrize("signature", ["sha256=" + "0" * 64, ""])
async def test_a_signature_of_the_callers_goes_instead_of_the_true_one(pki: PkiFiles, signature: str) -> None:
    async with opened(Door(), pki) as door, meta(door, pki) as client:
        await client.post("/webhooks/main", b"{}", signature=signature)
    assert door.headers().get("x-hub-signature-256", "") == signature
    assert "x-hub-signature" not in door.headers()


async def test_requests_share_one_connection(pki: PkiFiles) -> None:
    accepted = 0
    door = Door()

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        nonlocal accepted
        accepted += 1
        await door.handle(stream)

    async with opened(door, pki, handle=handle), meta(door, pki) as client:
        for _ in range(3):
            await client.post("/webhooks/main", b"{}")
    assert accepted == 1
    assert len(door.heads) == 3


async def test_the_verification_get_asks_as_meta_does(pki: PkiFiles) -> None:
    async with opened(Door(), pki) as door, meta(door, pki, certificate=False) as client:
        await client.challenge("/webhooks/main?team=a", verify_token="t&ken ä", challenge="1158201444")
    method, target, _ = door.heads[0].splitlines()[0].split()
    assert method == "GET"
    assert urlsplit(target).path == "/webhooks/main"
    assert parse_qs(urlsplit(target).query) == {
        "team": ["a"],
        "hub.mode": ["subscribe"],
        "hub.challenge": ["1158201444"],
        "hub.verify_token": ["t&ken ä"],
    }
    assert door.headers()["user-agent"].startswith("facebookplatform/1.0")


async def test_http2_is_spoken_where_it_is_offered(pki: PkiFiles) -> None:
    async with (
        opened(Door(), pki, handle=_serve_h2, alpn=("h2",)) as door,
        meta(door, pki, http2=True) as client,
    ):
        exchange = await client.post("/webhooks/main", b"{}")
    assert (exchange.status, exchange.http_version) == (200, "HTTP/2")


async def _serve_h2(stream: trio.SSLStream[trio.SocketStream]) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    await stream.send_all(connection.data_to_send())
    while data := await stream.receive_some():
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                connection.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
        await stream.send_all(connection.data_to_send())


async def test_a_connection_that_is_closed_without_an_answer_has_an_error_of_its_own(pki: PkiFiles) -> None:
    door = Door()
    door.answer = b""
    async with opened(door, pki), meta(door, pki) as client:
        with pytest.raises(ClosedWithoutAnswerError, match="handshake_refused"):
            await client.post("/webhooks/main", b"{}")


async def test_a_strangers_certificate_is_closed_upon(pki: PkiFiles, tmp_path: Path) -> None:
    stranger = make_pki(tmp_path / "stranger")
    async with opened(Door(), pki, demand=True) as door:
        client = MetaClient(
            door.url,
            secret=SECRET,
            ca=pki.server_ca,
            certificate=stranger.client_certificate,
            private_key=stranger.client_key,
        )
        async with client:
            with pytest.raises(ClosedWithoutAnswerError):
                await client.post("/webhooks/main", b"{}")
    assert door.heads == []


async def test_a_gateway_certificate_that_is_not_trusted_names_the_ca_as_remedy(
    pki: PkiFiles, tmp_path: Path
) -> None:
    other = make_pki(tmp_path / "other")
    async with opened(Door(), pki) as door, meta(door, other, certificate=False) as client:
        with pytest.raises(PeerError, match=r"own certificate is not trusted.*--ca") as caught:
            await client.post("/webhooks/main", b"{}")
    assert not isinstance(caught.value, ClosedWithoutAnswerError)


async def test_nobody_there_is_told_as_such(pki: PkiFiles) -> None:
    (port,) = free_ports(1)
    async with MetaClient(f"https://localhost:{port}", secret=SECRET, ca=pki.server_ca) as client:
        with pytest.raises(PeerError, match=r"no connection.*is the gateway running"):
            await client.post("/webhooks/main", b"{}")


async def test_an_error_names_no_verify_token(pki: PkiFiles) -> None:
    (port,) = free_ports(1)
    async with MetaClient(f"https://localhost:{port}", secret=SECRET, ca=pki.server_ca) as client:
        with pytest.raises(PeerError) as caught:
            await client.challenge("/webhooks/main", verify_token="tell-nobody", challenge="1")
    assert "tell-nobody" not in str(caught.value)


def test_files_that_cannot_be_used_are_mistakes_of_usage(pki: PkiFiles, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    with pytest.raises(UsageError, match=r"no such file"):
        MetaClient("https://localhost", secret=SECRET, ca=tmp_path / "missing.pem")
    with pytest.raises(UsageError, match=r"cannot be read as CA certificates"):
        MetaClient("https://localhost", secret=SECRET, ca=junk)
    with pytest.raises(UsageError, match=r"cannot be used as client certificate"):
        MetaClient("https://localhost", secret=SECRET, certificate=junk, private_key=junk)
    with pytest.raises(UsageError, match=r"key values mismatch"):
        MetaClient(
            "https://localhost", secret=SECRET, certificate=pki.client_certificate, private_key=pki.server_key
        )
    with pytest.raises(UsageError, match=r"secret is empty"):
        MetaClient("https://localhost", secret=b"")


async def test_the_signature_is_metas_own(pki: PkiFiles) -> None:
    """Over bytes whose signature was made elsewhere: `tests/data/signature_vectors.json`."""
    vector = json.loads(VECTORS.read_bytes())[0]
    async with (
        opened(Door(), pki) as door,
        MetaClient(door.url, secret=vector["secret"].encode(), ca=pki.server_ca) as client,
    ):
        await client.post("/", base64.b64decode(vector["body_b64"]))
    assert door.headers()["x-hub-signature-256"] == vector["x_hub_signature_256"]
    assert door.headers()["x-hub-signature"] == vector["x_hub_signature"]
