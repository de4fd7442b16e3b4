"""Chromium, scenes and a real gateway, for the tests and the pictures."""

import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
CHROMIUM: Final = Path("/usr/bin/chromium")
AXE: Final = HERE / ".cache" / "axe.min.js"
GATEWAY: Final = ROOT / ".venv" / "bin" / "gateway"
PYTHON: Final = ROOT / ".venv" / "bin" / "python"
SCENE_TOKEN: Final = "scene-token-0123456789abcdefghijklmnopqrstu"
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS: Final = 30.0
LETTER: Final = "0191f0a0c0de70008000000000000000-billing"
PAGES: Final = (
    "/",
    "/targets/support",
    "/dead-letters",
    f"/dead-letters/{LETTER}",
    f"/dead-letters/{LETTER}?payload=1",
    "/ledger",
    "/refusals",
    "/changes",
    "/login",
    "/dead-letters/none",
)


def free_port() -> int:
    """Ask the kernel for a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(url: str) -> None:
    """Return when it answers."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 (loopback, ours)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def open_scene(name: str) -> Iterator[str]:
    """Run an invented scene; yield its address."""
    port = free_port()
    process = subprocess.Popen(
        [PYTHON, "-m", "browser.scene", name, str(port)], cwd=ROOT, stdin=subprocess.PIPE
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/healthz")
        yield url
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and see that it does."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
    if process.stdin is not None:
        process.stdin.close()


class _Consumer(BaseHTTPRequestHandler):
    """A target that refuses until it is told otherwise."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        server: Any = self.server
        server.received.append(self.headers["idempotency-key"])
        self.send_response(server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Gateway:
    """A real gateway from `gateway init`, with a real target."""

    directory: Path
    url: str
    target: Any

    def command(self, *arguments: str) -> str:
        """Run `gateway ...`; return what it printed."""
        done = subprocess.run(
            [GATEWAY, "--config", self.directory / "gateway.yaml", *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    @property
    def token(self) -> str:
        return next(self.directory.rglob("admin.token")).read_text().strip()

    def dead_letters(self) -> list[str]:
        """Return the ids of those that are there now."""
        return [str(one["id"]) for one in json.loads(self.command("dead-letters", "list", "--json"))]

    def make_dead_letter(self) -> str:
        """Have the target refuse one; return its id."""
        before = set(self.dead_letters())
        self.target.status = 422
        self.command("send", "--field", "messages")
        until = time.monotonic() + START_SECONDS
        while not (new := set(self.dead_letters()) - before):
            assert time.monotonic() < until, "no dead letter"
            time.sleep(0.1)
        return new.pop()


@contextmanager
def open_gateway(directory: Path, *, workers: int = 1) -> Iterator[Gateway]:
    """Run a gateway process as a user would."""
    target: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Consumer)
    target.status, target.received = 422, []
    threading.Thread(target=target.serve_forever, daemon=True).start()
    port, admin_port = free_port(), free_port()
    subprocess.run([GATEWAY, "init", directory], check=True, capture_output=True)
    config = directory / "gateway.yaml"
    text = config.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{target.server_address[1]}")
    text = text.replace("127.0.0.1:8443", f"127.0.0.1:{port}\n  workers: {workers}")
    config.write_text(f'{text}\nadmin: {{address: "127.0.0.1:{admin_port}"}}\n')
    with (directory / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [GATEWAY, "--config", config, "run"], stdout=log, stderr=log, env={**os.environ, "NO_COLOR": "1"}
        )
        try:
            url = f"http://127.0.0.1:{admin_port}"
            wait_for(f"{url}/readyz")
            yield Gateway(directory, url, target)
        finally:
            end(process)
            target.shutdown()
            target.server_close()


def new_context(
    browser: Browser, *, scheme: str = "light", width: int = 1280, javascript: bool = True
) -> BrowserContext:
    """Return a browser profile of its own."""
    return browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 860},
        java_script_enabled=javascript,
        reduced_motion="reduce",
    )


def log_in(page: Page, url: str, token: str) -> None:
    """Log in as an operator does."""
    page.goto(f"{url}/login")
    page.get_by_label("Admin token").fill(token)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/")


def violations(page: Page) -> list[str]:
    """Ask axe-core: one line for each place where a rule is broken."""
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',"
        " 'best-practice']})"
    )
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
