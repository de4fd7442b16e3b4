"""One canary of each kind is planted, everything fails that can, and none is found in what comes out.

Law 8: secrets and message text are in no log, repr, metric or error.
"""

import base64
import json
import os
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import trio

from gateway.core.signature import sign
from gateway.simulator.client import MetaClient
from gateway.simulator.target import FAIL_FOR_EVER, REFUSE
from tests.stories.rig import PATH, Config, Rig, free_port, message, open_target, unique_id, until

CRASHING = """\
from gateway.delivery import sender
from gateway.ingress import app

append, send = app.Ingress._append, sender.Lane.send

async def defective_append(self, *taken):
    if b"crash-the-door" in taken[-1].raw:
        raise RuntimeError(f"a defect that quotes what it had in hand: {taken!r} {taken[-1].raw!r}")
    return await append(self, *taken)

async def defective_send(self, request):
    if b"crash-the-sender" in request.body:
        raise RuntimeError(f"a defect that quotes what it had in hand: {request!r} {request.body!r}")
    return await send(self, request)

app.Ingress._append = defective_append
sender.Lane.send = defective_send
"""
"""A sitecustomize: defects on the way in and on the way out, whose exceptions quote what was there."""


@dataclass(frozen=True)
class Planted:
    """Secrets in files and in the environment, and what a message holds."""

    app_secret: bytes = field(default_factory=lambda: _drawn("app"))
    old_secret: bytes = field(default_factory=lambda: _drawn("old"))
    verify_token: bytes = field(default_factory=lambda: _drawn("verify"))
    admin_token: bytes = field(default_factory=lambda: _drawn("admin"))
    header: bytes = field(default_factory=lambda: _drawn("header"))
    signing_key: bytes = field(default_factory=lambda: _drawn("signing"))
    guess: bytes = field(default_factory=lambda: _drawn("guess"))
    """What a stranger took for a secret: it may be one, of something else."""
    text: bytes = field(default_factory=lambda: _drawn("text"))
    phone: bytes = b"4915560017342"
    display_phone: bytes = b"4930901820143"

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """Those that may stand nowhere but where they were planted."""
        return (
            *(self.app_secret, self.old_secret, self.verify_token, self.admin_token),
            *(self.header, self.signing_key, self.guess),
        )

    @property
    def message(self) -> tuple[bytes, ...]:
        """What the spool and dead letters hold, and no output."""
        return (self.text, self.phone, self.display_phone)

    def files(self) -> Mapping[str, bytes]:
        return {
            "app_secret": self.app_secret,
            "verify_token": self.verify_token,
            "admin": self.admin_token,
            "bearer": b"Bearer " + self.header,
            "signing": b"whsec_" + base64.b64encode(self.signing_key),
            "two_lines": self.app_secret + b"\n" + self.old_secret,
        }

    def body(self, word: str = "") -> bytes:
        """Return a notification with text, and a word that may have it crash."""
        text = b'"text": {"body": "%s %s"}, "type": "text"' % (self.text, word.encode())
        return message(unique_id()).replace(b'"type": "text"', text)


def _drawn(kind: str) -> bytes:
    return f"canary-{kind}-{secrets.token_hex(6)}".encode()


def spellings(canary: bytes) -> set[bytes]:
    """Return a canary in the ways in which it could have been written."""
    aligned = {base64.b64encode(canary[start : start + (len(canary) - start) // 3 * 3]) for start in range(3)}
    return {canary, canary.hex().encode(), quote(canary).encode(), base64.b64encode(canary), *aligned}


def configure(config: Config, planted: Planted) -> None:
    main = config["apps"]["main"]
    main["app_secrets"] = [{"file": "secrets/app_secret"}, {"env": "OLD_SECRET"}]
    for target in config["targets"].values():
        target["headers"] = {"Authorization": {"file": "secrets/bearer"}}
        target["signing_secret"] = {"file": "secrets/signing"}
    config["targets"]["failing"]["retry"] = {"schedule": ["100ms"], "give_up_after": "1s"}
    config["admin"]["token"] = {"file": "secrets/admin"}
    config["log"]["level"] = "debug"
    config["listen"]["max_body"] = "64KiB"


@dataclass
class Outputs:
    """Everything that was said to anybody."""

    rig: Rig
    said: dict[str, bytes] = field(default_factory=dict)

    def note(self, where: str, what: bytes) -> None:
        self.said[f"{len(self.said)} {where}"] = what

    async def command(self, *arguments: str) -> None:
        done = await self.rig.command(*arguments, check=False)
        self.note(" ".join(arguments), done.stdout + done.stderr)

    async def ask_admin(self, token: bytes | None) -> None:
        headers = {"authorization": f"Bearer {token.decode()}"} if token else {}
        async with httpx.AsyncClient(trust_env=False, base_url=self.rig.admin_url, headers=headers) as admin:
            for path in (
                *(
                    "/",
                    "/healthz",
                    "/readyz",
                    "/metrics",
                    "/nothing",
                    "/api/status",
                    "/api/config",
                    "/api/config/source",
                    "/api/edge",
                    "/api/ledger",
                ),
            ):
                answer = await admin.get(path)
                self.note(f"{path} {answer.status_code}", str(answer.headers).encode() + answer.content)
            for path in (*("/api/dead-letters/replay", "/api/dead-letters/discard", "/api/targets/pause"),):
                for content in (b"{", b'{"ids": ["x"], "target": "nobody", "x": 1}', b"[]"):
                    answer = await admin.post(
                        path, content=content, headers={"content-type": "application/json"}
                    )
                    self.note(f"{path} {answer.status_code}", str(answer.headers).encode() + answer.content)

    def found(self, canary: bytes) -> list[str]:
        """Return where a canary was seen."""
        return [
            where for where, what in self.said.items() if any(spelt in what for spelt in spellings(canary))
        ]


async def bother(rig: Rig, planted: Planted, outputs: Outputs) -> None:
    """Come as Meta and as strangers, rightly and wrongly."""
    body = planted.body()
    mistaken = {
        "authorization": f"Bearer {planted.guess.decode()}",
        "x-hub-signature": planted.guess.decode(),
    }
    for certificate in (True, False):
        async with MetaClient(
            rig.public_url,
            secret=planted.app_secret,
            ca=rig.pki.server_ca,
            certificate=rig.pki.client_certificate if certificate else None,
            private_key=rig.pki.client_key if certificate else None,
        ) as meta:
            told = [
                await meta.challenge(PATH, verify_token=planted.verify_token.decode(), challenge="1"),
                await meta.challenge(PATH, verify_token=planted.guess.decode(), challenge="1"),
                await meta.post(PATH, planted.body()),
                await meta.post(PATH, body, signature=sign(b"another", body)),
                await meta.post(PATH, body, signature=planted.guess.decode()),
                await meta.post(PATH, b"x" * 100_000 + planted.text),
                await meta.post(f"/{planted.guess.decode()}", body),
                await meta.post(PATH, planted.body("crash-the-door")),
                await meta.post(PATH, b"{" + planted.text),
                await meta.post(PATH, b'{"object":"%s"}' % planted.text),
            ]
        for exchange in told:
            outputs.note(f"public {exchange.status}", exchange.body)
        if certificate:
            assert {200, 401, 403, 404, 413, 500} <= {exchange.status for exchange in told}
    async with httpx.AsyncClient(verify=False, trust_env=False) as stranger:  # noqa: S501 # a stranger
        answer = await stranger.put(rig.public_url + PATH, content=body, headers=mistaken)
        outputs.note("PUT", str(answer.headers).encode() + answer.content)
    for noise in (body, b"GET /?token=%s HTTP/1.1\r\n\r\n" % planted.guess):
        stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
        async with stream:
            await stream.send_all(noise)


async def mistake(rig: Rig, planted: Planted, outputs: Outputs) -> None:
    """Write secrets where they do not belong, and ask what is wrong."""
    good = rig.config.read_text()
    app, token = planted.app_secret.decode(), planted.verify_token.decode()
    file = '{"file": "secrets/app_secret"}'.replace(" ", "")
    compact = json.dumps(json.loads(good), separators=(",", ":"))
    # Not as {file: SECRET}: of a file that is not there the name has to be told.
    for wrong in (f'"{app}"', f'{{"env":"{app}"}}', '{"file":"secrets/two_lines"}'):
        spoiled = compact.replace(file, wrong)
        assert spoiled != compact
        rig.config.write_text(spoiled)
        await outputs.command("check")
    await outputs.command("check", "--json")
    await outputs.command("doctor", "--offline")
    rig.config.write_text(compact.replace('"verify_token":', f'"verify_tokem":"{token}","verify_token":'))
    await outputs.command("check")
    rig.config.write_text(good)


async def test_no_secret_and_no_message_comes_out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    planted, outputs = Planted(), Outputs(rig)
    defects = rig.directory / "defects"
    defects.mkdir()
    (defects / "sitecustomize.py").write_text(CRASHING)
    monkeypatch.setenv("PYTHONPATH", str(defects))
    monkeypatch.setenv("OLD_SECRET", planted.old_secret.decode())
    async with open_target("refusing", REFUSE) as refusing, open_target("failing", FAIL_FOR_EVER) as failing:
        targets = {
            "refusing": refusing.url,
            "failing": failing.url,
            "dead": f"http://127.0.0.1:{free_port()}/",
        }
        rig.write(targets=targets, change=lambda config: configure(config, planted))
        for name, content in planted.files().items():
            (rig.directory / "secrets" / name).write_bytes(content + b"\n")
            (rig.directory / "secrets" / name).chmod(0o600)
        async with rig.running() as process:
            await bother(rig, planted, outputs)
            await until(lambda: len(rig.dead_letters) >= 4)
            for token in (planted.admin_token, planted.guess, None):
                await outputs.ask_admin(token)
            await outputs.command("dead-letters", "list", "--json")
            await outputs.command("dead-letters", "replay", "--target", "refusing")
            await outputs.command("targets", "pause", "dead", "--reason", "a test")
            await outputs.command("doctor", "--json")
            await outputs.command("status", "--json")
            await outputs.command("status")
            await outputs.command("trace", rig.dead_letters[0]["notification_id"])
            await outputs.command("trace", rig.dead_letters[0]["notification_id"], "--json")
            await outputs.command("certs", "show", str(rig.pki.server_key))
            await mistake(rig, planted, outputs)
            os.kill(process.pid, signal.SIGHUP)
            rig.config.write_text(rig.config.read_text().replace('"field": "*"', '"feeld": "*"'))
            os.kill(process.pid, signal.SIGHUP)
            await until(lambda: "feeld" in rig.log)
        await outputs.command("run")  # it does not start with such a file
        rig.config.write_text(rig.config.read_text().replace('"feeld": "*"', '"field": "*"'))
        async with rig.running() as process, rig.meta() as meta:
            body = planted.body("crash-the-sender")
            await meta.post(PATH, body, signature=sign(planted.app_secret, body))
            with trio.fail_after(20):
                assert await process.wait() == 1, "a defect on the way out ends the process"
        authorization = {request.headers.get("authorization") for request in refusing.received}
    assert authorization == {f"Bearer {planted.header.decode()}"}, "the secrets were those in use"
    assert "app_failed" in rig.log, "the defect on the way in came to pass"
    assert "in defective_send" in rig.log
    outputs.note("log", rig.log.encode())
    outputs.note("audit", (rig.directory / "state" / "audit.log").read_bytes())
    for canary in (*planted.secrets, *planted.message, *private_key_lines(rig)):
        assert outputs.found(canary) == [], canary
    assert stored_secrets(rig, planted) == []


def private_key_lines(rig: Rig) -> list[bytes]:
    """Return the lines of the server's private key."""
    lines = rig.pki.server_key.read_bytes().splitlines()[1:-1]
    assert lines
    return [line for line in lines if len(line) > 16]


def stored_secrets(rig: Rig, planted: Planted) -> list[Path]:
    """Return the files that hold a secret and should not: spool, dead letters, whatever was left."""
    files = [path for path in rig.directory.rglob("*") if path.is_file()]
    kept = [path for path in files if path.parent.name not in ("secrets", "defects")]
    assert any("spool" in path.parts for path in kept)
    return [path for path in kept if any(canary in path.read_bytes() for canary in planted.secrets)]


def test_a_canary_is_found_however_it_is_written() -> None:
    """The search can fail: otherwise the story above would prove nothing."""
    canary = b"canary-app-0123456789ab"
    for what in (canary, canary.hex().encode(), base64.b64encode(b"a" + canary), base64.b64encode(canary)):
        outputs = Outputs(rig=Rig(directory=Path(), pki=None))  # type: ignore[arg-type] # not looked at
        outputs.note("somewhere", b"before " + what + b" after")
        assert outputs.found(canary) == ["0 somewhere"]
