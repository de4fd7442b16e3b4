"""`gateway send`: Meta's part, against a stand-in for the gateway's public port."""

import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from gateway.simulator.pki import PkiFiles, make_pki
from gateway.simulator.process import free_ports
from tests.cli.calling import Called, call
from tests.simulator.door import Door, opened

CONFIG = """\
listen: {{address: "{address}"}}
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients: {{meta: {{trust_anchors: [certs/meta-ca.pem]}}}}
apps:
  main: {{path: /main, app_secrets: [{{file: secret_main}}, {{file: old}}], verify_token: {{file: token}}}}
  other: {{path: /other, app_secrets: [{{file: secret_other}}], verify_token: {{file: token}}}}
targets: {{support: {{url: "http://127.0.0.1:1/"}}}}
routes: [{{to: [support]}}]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    make_pki(directory / "certs")
    for name in ("secret_main", "secret_other", "old", "token"):
        (directory / name).write_text(f"the {name}\n")
    return directory


@pytest.fixture
async def door(site: Path) -> AsyncIterator[Door]:
    async with opened(Door(), PkiFiles.in_directory(site / "certs")) as door:
        config = CONFIG.format(address=f"127.0.0.1:{door.port}")
        (site / "gateway.yaml").write_text(config)
        yield door


@pytest.fixture
def send(site: Path, capsys: pytest.CaptureFixture[str]) -> "Sender":
    return Sender(site, capsys)


class Sender:
    def __init__(self, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.site = site
        self.capsys = capsys

    async def __call__(self, *arguments: str) -> Called:
        """In a thread: the command runs a loop of its own, beside that of the server."""
        before = ("--config", str(self.site / "gateway.yaml"), "send")
        return await trio.to_thread.run_sync(call, self.capsys, *before, *arguments)


def signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def test_what_is_not_given_comes_from_the_configuration(door: Door, send: Sender) -> None:
    called = await send("--field", "security")
    assert called.code == 0
    assert called.out.startswith("200  ")
    assert called.out.rstrip().endswith("ms  HTTP/1.1  ok")
    assert door.heads[0].startswith("POST /main HTTP/1.1")
    assert json.loads(door.bodies[0])["entry"][0]["changes"][0]["field"] == "security"
    assert door.headers()["x-hub-signature-256"] == signature("the secret_main", door.bodies[0])
    assert door.peers[0], "the certificate of gateway init was not presented"
    assert f"POST https://127.0.0.1:{door.port}/main, with " in called.err


async def test_the_secret_is_that_of_the_app_whose_path_is_in_the_url(door: Door, send: Sender) -> None:
    assert (await send("--url", f"{door.url}/other", "--field", "security")).code == 0
    assert door.headers()["x-hub-signature-256"] == signature("the secret_other", door.bodies[0])
    assert (await send("--url", f"{door.url}/somewhere?a=b", "--field", "security")).code == 0
    assert door.headers()["x-hub-signature-256"] == signature("the secret_main", door.bodies[1])
    assert door.heads[1].startswith("POST /somewhere?a=b HTTP/1.1")


async def test_without_a_configuration_everything_can_be_given(
    door: Door, site: Path, send: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (site / "gateway.yaml").unlink()
    certs = PkiFiles.in_directory(site / "certs")
    monkeypatch.setenv("SECRET_OF_TEST", "from the environment")
    called = await send(
        *("--url", f"{door.url}/main", "--secret", "env:SECRET_OF_TEST", "--field", "messages"),
        *("--cert", str(certs.client_certificate), "--key", str(certs.client_key)),
        *("--ca", str(certs.server_ca)),
    )
    assert called.code == 0, called.err
    assert door.headers()["x-hub-signature-256"] == signature("from the environment", door.bodies[0])
    assert door.peers[0]


@pytest.mark.parametrize("reference", ["file:{}", "{}"])
async def test_a_secret_is_read_from_a_file(door: Door, site: Path, send: Sender, reference: str) -> None:
    called = await send("--field", "security", "--secret", reference.format(site / "old"))
    assert called.code == 0
    assert door.headers()["x-hub-signature-256"] == signature("the old", door.bodies[0])
    assert "note:" not in called.err


async def test_a_plain_secret_is_taken_and_warned_about_but_not_shown(door: Door, send: Sender) -> None:
    called = await send("--field", "security", "--secret", "0123456789abcdef")
    assert door.headers()["x-hub-signature-256"] == signature("0123456789abcdef", door.bodies[0])
    assert "note: a secret on the command line" in called.err
    assert "0123456789abcdef" not in called.err + called.out


async def test_a_payload_is_sent_byte_for_byte(
    door: Door, send: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{ "object" : "x", "n":\x00\xff }\n'
    file = tmp_path / "payload"
    file.write_bytes(body)
    assert (await send("--payload", str(file), "--repeat", "2")).code == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body)))
    assert (await send("--payload", "-")).code == 0
    assert door.bodies == [body, body, body]


async def test_repeated_samples_are_never_the_same_bytes(door: Door, send: Sender) -> None:
    called = await send("--field", "account_review_update", "--repeat", "5")
    assert called.code == 0
    assert called.out.startswith("5 requests: 5 x 200; median")
    assert len(called.out.splitlines()) == 1
    assert len(set(door.bodies)) == 5


async def test_repeated_and_verbose_there_is_a_line_for_each(door: Door, send: Sender) -> None:
    called = await send("--field", "security", "--repeat", "3", "--verbose")
    assert [line[:3] for line in called.out.splitlines()] == ["200", "200", "200", "3 r"]


async def test_json_tells_status_and_time_of_each(door: Door, send: Sender) -> None:
    called = await send("--field", "messages", "--repeat", "2", "--json")
    told = json.loads(called.out)
    assert told["ok"] is True
    assert told["url"] == f"https://127.0.0.1:{door.port}/main"
    assert [one["status"] for one in told["requests"]] == [200, 200]
    assert all(one["milliseconds"] > 0 for one in told["requests"])


async def test_anything_but_200_ends_with_1(door: Door, send: Sender) -> None:
    door.answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    called = await send("--field", "messages")
    assert called.code == 1
    assert called.out.startswith("401  ")
    assert "401: the signature was refused" in called.err
    assert "--secret" in called.err


async def test_the_word_of_the_answer_is_shown(door: Door, send: Sender) -> None:
    door.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\nno_certificate \x1b[31\n"
    called = await send("--field", "messages")
    assert called.out.startswith("403  ")
    assert called.out.endswith(" ms  HTTP/1.1  no_certificate \\x1b[31\n")
    told = json.loads((await send("--field", "messages", "--json")).out)
    assert told["requests"][0]["answer"] == "no_certificate \\x1b[31"


async def test_a_wrong_verify_token_is_not_taken_for_a_missing_certificate(door: Door, send: Sender) -> None:
    door.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nverify_token"
    called = await send("--challenge", "wrong")
    assert "403: that is not the verify token of the app" in called.err
    assert "certificate that it accepts" not in called.err


async def test_a_closed_connection_ends_with_1_and_says_what_it_means(door: Door, send: Sender) -> None:
    door.answer = b""
    called = await send("--field", "messages", "--json")
    assert called.code == 1
    told = json.loads(called.out)
    assert told["ok"] is False
    assert told["requests"][0]["status"] is None
    assert "closed the connection without an answer" in told["requests"][0]["error"]
    assert "handshake_refused" in called.err


async def test_no_cert_presents_none(door: Door, send: Sender) -> None:
    called = await send("--field", "messages", "--no-cert")
    assert called.code == 0
    assert not door.peers[0]
    assert "without client certificate" in called.err


async def test_a_challenge_that_does_not_come_back_ends_with_1(door: Door, send: Sender) -> None:
    called = await send("--challenge", "file:" + str(send.site / "token"))
    assert called.code == 1
    assert "the answer is not the challenge" in called.err
    assert "hub.verify_token=the+token" in door.heads[0]
    assert door.heads[0].startswith("GET /main?hub.mode=subscribe&hub.challenge=")


async def test_a_challenge_comes_without_a_certificate_unless_one_is_named(door: Door, send: Sender) -> None:
    called = await send("--challenge", "plain-token")
    assert "without client certificate" in called.err
    certs = PkiFiles.in_directory(send.site / "certs")
    named = ("--cert", str(certs.client_certificate), "--key", str(certs.client_key))
    await send("--challenge", "plain-token", *named)
    assert [bool(peer) for peer in door.peers] == [False, True]


async def test_a_challenge_needs_no_secret(door: Door, send: Sender) -> None:
    secrets = [send.site / name for name in ("secret_main", "secret_other")]
    contents = [path.read_text() for path in secrets]
    for path in secrets:
        path.unlink()
    try:
        assert (await send("--challenge", "plain-token")).out.startswith("200")
    finally:
        for path, content in zip(secrets, contents, strict=True):
            path.write_text(content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to send; give one of --field, --payload and --challenge"),
        (("--field", "messages", "--challenge", "t"), "say what to send"),
        (("--field", "mesages"), "no sample for the field 'mesages'"),
        (("--field", "messages", "--url", "http://localhost/x"), "not an https URL"),
        (("--field", "messages", "--url", "localhost:8443"), "not an https URL"),
        (("--payload", "/no/such/file"), "/no/such/file: No such file or directory"),
        (("--field", "messages", "--secret", "env:NOT_SET_IN_TEST"), "NOT_SET_IN_TEST is not set"),
        (("--field", "messages", "--secret", "secrets/mistyped"), "names a file that does not exist"),
        (("--field", "messages", "--secret", "file:/no/such"), "/no/such: No such file"),
        (("--field", "messages", "--secret", "file:/dev/null"), "/dev/null is empty"),
        (("--field", "messages", "--cert", "x.pem", "--no-cert"), "--cert and --no-cert together"),
        (("--field", "messages", "--cert", "/no/x.pem"), "cannot be used as client certificate"),
        (("--field", "messages", "--repeat", "0"), "greater than or equal to 1"),
    ],
)
async def test_mistakes_of_usage_end_with_2(
    door: Door, send: Sender, arguments: tuple[str, ...], message: str
) -> None:
    called = await send(*arguments)
    assert called.code == 2, called
    assert message in called.err
    assert door.heads == []


async def test_nobody_listening_ends_with_1(send: Sender, site: Path) -> None:
    (port,) = free_ports(1)
    (site / "gateway.yaml").write_text(CONFIG.format(address=f"127.0.0.1:{port}"))
    called = await send("--field", "messages")
    assert called.code == 1
    assert "is the gateway running" in called.err


async def test_listening_everywhere_is_called_as_localhost(send: Sender, site: Path, door: Door) -> None:
    (site / "gateway.yaml").write_text(CONFIG.format(address=f"[::]:{door.port}"))
    called = await send("--field", "messages", "--json")
    assert json.loads(called.out)["url"] == f"https://localhost:{door.port}/main"


async def test_port_0_needs_the_url(send: Sender, site: Path) -> None:
    (site / "gateway.yaml").write_text(CONFIG.format(address="127.0.0.1:0"))
    called = await send("--field", "messages")
    assert called.code == 2
    assert "give --url" in called.err
