"""docs/moving-in.md as a test reads it, and an old application as people have them."""

import hashlib
import hmac
import json
import re
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import trio

from tests.stories.rig import APP_SECRET, VERIFY_TOKEN, Rig, until

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/moving-in.md"


def block(language: str, *, holding: str) -> str:
    """Return the one block of the guide in a language that holds some text, without its indentation."""
    found = [
        re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        for indent, text in re.findall(
            rf"^( *)```{language}\n(.*?)^\1```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL
        )
        if holding in text
    ]
    (one,) = found
    return one


def prepare(rig: Rig, recipe: str, **ports: int) -> None:
    """Lay out a directory as the guide has it, with the configuration of one recipe; on ports of our own."""
    for name, content in (("app_secret", APP_SECRET), ("verify_token", VERIFY_TOKEN.encode())):
        secret = rig.directory / "secrets" / name
        secret.parent.mkdir(exist_ok=True, mode=0o700)
        secret.write_bytes(content + b"\n")
        secret.chmod(0o600)
    certificates = rig.directory / "certs"
    certificates.mkdir(exist_ok=True)
    for file in rig.pki.server_certificate.parent.iterdir():
        (certificates / file.name).symlink_to(file)
    rig.seen = rig.directory / "var/dead-letter"
    written = moved(block("yaml", holding=f"# {recipe}"), {"8443": rig.port, **ports_by_name(ports)})
    rig.config.write_text(written + f'admin: {{address: "127.0.0.1:{rig.admin_port}"}}\n')


def ports_by_name(ports: dict[str, int]) -> dict[str, int]:
    """`old=4711`: what the guide has at 5000 is at 4711."""
    return {{"old": "5000", "recorder": "8090", "nginx": "8080"}[name]: port for name, port in ports.items()}


def moved(text: str, ports: dict[str, int]) -> str:
    """Return a text of the guide with other ports; each must be in it."""
    for before, port in ports.items():
        assert f"127.0.0.1:{before}" in text
        text = text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{port}")
    return text


def type_in(rig: Rig, *, holding: str) -> str:
    """Type the shell block of the guide that holds some text, in the directory of the rig; return what it
    prints."""
    done = subprocess.run(
        ["sh", "-euc", block("sh", holding=holding)],
        cwd=rig.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@asynccontextmanager
async def recorder(port: int, file: Path) -> AsyncGenerator[None, None]:
    """Run the recorder of the guide."""
    command = [sys.executable, str(ROOT / "deploy/shadow/recorder.py"), str(port), str(file)]
    process = await trio.lowlevel.open_process(command)
    try:
        await until(file.exists)
        yield
    finally:
        process.terminate()
        await process.wait()


class OldApplication(BaseHTTPRequestHandler):
    """Verifies token and signature, remembers messages by id, answers 200: what Meta's own samples do."""

    bodies: list[bytes]

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        right = query.get("hub.mode") == "subscribe" and query.get("hub.verify_token") == VERIFY_TOKEN
        self._answer(200 if right else 403, query.get("hub.challenge", "").encode() if right else b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        expected = "sha256=" + hmac.new(APP_SECRET, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, self.headers.get("X-Hub-Signature-256", "")):
            self._answer(401, b"")
            return
        json.loads(body)
        self.bodies.append(body)
        self._answer(200, b"EVENT_RECEIVED")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def old_application() -> Iterator[tuple[int, list[bytes]]]:
    """Run an old application; yield its port, and the notifications that it has taken."""
    bodies: list[bytes] = []
    handler = type("Handler", (OldApplication,), {"bodies": bodies})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port, bodies
        finally:
            server.shutdown()
            thread.join()
