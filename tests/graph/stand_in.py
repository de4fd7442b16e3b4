"""A Graph API over real TLS with a CA of its own: subscriptions, overrides, paging, limits, errors.

It does what Meta's pages say and no more; answers have the shape of `tests/data/payloads/_graph_api`. With
`verify` it performs the verification GET where Meta does, so that both sides can be tested together.
"""

import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import h11
import trio
import trustme

TOKEN = "EAAstandInToken7f3a"
APP_ID = "264419870315578"
APP_SECRET = "stand-in-app-secret"
OTHER_APP = "111222333444555"
WABA = "735190284461207"
PHONE = "541870239965418"
WHATSAPP = "whatsapp_business_account"
VERSION = "v25.0"

Verify = Callable[[str, str], Awaitable[bool]]
"""(callback URL, verify token) -> whether the challenge came back."""


class Trouble(Enum):
    """What may happen to a call instead of its answer, or after it was carried out."""

    HANG = "hang"
    DONE_THEN_CLOSED = "done, and then the connection breaks"
    ENDLESS = "a body without end"
    GARBAGE = "bytes that are no HTTP"
    DRIP = "a byte now and then"


@dataclass(frozen=True, kw_only=True)
class Canned:
    """An answer that is given whatever was asked."""

    status: int = 200
    body: object = None
    """JSON; bytes go out as they are."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that came in."""

    method: str
    path: str
    """Without the version."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    """JSON; None where there was none."""


def refused(code: int, message: str, *, status: int = 400, subcode: int | None = None) -> Canned:
    """Return an error as the Graph API writes it."""
    error: dict[str, object] = {"message": message, "type": "OAuthException", "code": code}
    if subcode is not None:
        error["error_subcode"] = subcode
    return Canned(status=status, body={"error": error | {"fbtrace_id": "AStandInTrace"}})


def limited(business: str, *, minutes: float = 7, code: int = 80008, status: int = 400) -> Canned:
    """Return a rate limit as the Graph API writes it."""
    usage = {
        "type": "whatsapp_business_management", "call_count": 100, "total_cputime": 12, "total_time": 15,
        "estimated_time_to_regain_access": minutes,
    }  # fmt: skip
    answer = refused(
        code, f"(#{code}) There have been too many calls. Wait a bit and try again.", status=status
    )
    return Canned(
        status=answer.status,
        body=answer.body,
        headers={"x-business-use-case-usage": json.dumps({business: [usage]})},
    )


class StandIn:
    """The state of a small Graph API, and its server."""

    def __init__(
        self,
        ca: trustme.CA,
        *,
        verify: Verify | None = None,
        names: Sequence[str] = ("localhost", "127.0.0.1"),
    ) -> None:
        self.accounts: dict[str, dict[str, str | None]] = {WABA: {}}
        """Account -> subscribed app -> its override."""
        self.phones: dict[str, tuple[str, str | None]] = {PHONE: (WABA, None)}
        """Phone number -> its account, its override."""
        self.app: dict[str, Any] | None = {
            "object": WHATSAPP,
            "callback_url": "https://gw.example.com/hooks",
            "active": True,
            "fields": ["messages", "account_update"],
        }
        self.page_size = 25
        self.success: object = True
        self.usage: dict[str, object] = {}
        """Account -> the usage header of answers about it, as JSON or text."""
        self.scripted: list[tuple[str, str, Canned | Trouble]] = []
        """What happens to the next call of that method whose path begins so; taken out as it is used."""
        self.calls: list[Call] = []
        self.port = 0
        self.trouble_seen = trio.Event()
        self._verify = verify
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert(*names).configure_cert(self._context)

    @property
    def base_url(self) -> str:
        return f"https://localhost:{self.port}"

    def asked(self, method: str) -> list[str]:
        """Return the paths that were asked for by this method."""
        return [call.path for call in self.calls if call.method == method]

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        listeners = [trio.SSLListener(listener, self._context, https_compatible=True)]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._connection, listeners)
            task_status.started()

    async def _connection(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            while await self._exchange(stream):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        await trio.aclose_forcefully(stream)

    async def _exchange(self, stream: trio.SSLStream[trio.SocketStream]) -> bool:
        connection = h11.Connection(h11.SERVER)
        request, content = None, b""
        while True:
            event = connection.next_event()
            match event:
                case h11.NEED_DATA:
                    data = await stream.receive_some()
                    if not data and request is None:
                        return False
                    connection.receive_data(bytes(data))
                case h11.Request():
                    request = event
                case h11.Data():
                    content += bytes(event.data)
                case h11.EndOfMessage():
                    break
                case _:
                    return False
        if request is None:
            return False
        call = read_call(request, content)
        self.calls.append(call)
        happening = self._next(call)
        if isinstance(happening, Trouble):
            await self._make_trouble(happening, stream, call)
            return False
        answer = happening or await self._answer(call)
        usage = self.usage.get(call.path.split("/")[1])
        headers = dict(answer.headers)
        if usage is not None:
            headers["X-Business-Use-Case-Usage"] = usage if isinstance(usage, str) else json.dumps(usage)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        response = h11.Response(status_code=answer.status, headers=list(lines.items()))
        out = (
            connection.send(response),
            connection.send(h11.Data(data=body)),
            connection.send(h11.EndOfMessage()),
        )
        await stream.send_all(b"".join(filter(None, out)))
        return True

    def _next(self, call: Call) -> Canned | Trouble | None:
        for index, (method, path, what) in enumerate(self.scripted):
            if method == call.method and call.path.startswith(path):
                del self.scripted[index]
                return what
        return None

    async def _make_trouble(
        self, trouble: Trouble, stream: trio.SSLStream[trio.SocketStream], call: Call
    ) -> None:
        self.trouble_seen.set()
        match trouble:
            case Trouble.HANG:
                await trio.sleep_forever()
            case Trouble.DONE_THEN_CLOSED:
                await self._answer(call)
            case Trouble.GARBAGE:
                await stream.send_all(b"\x16\x03 no HTTP at all\r\n\r\n")
            case Trouble.ENDLESS:
                await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            case Trouble.DRIP:
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while True:
                    await stream.send_all(b"{")
                    await trio.sleep(0.05)

    # -- what the API does

    async def _answer(self, call: Call) -> Canned:
        authorization = call.headers.get("authorization", "")
        kind, _, token = authorization.partition(" ")
        parts = call.path.strip("/").split("/")
        as_app = f"{APP_ID}|{APP_SECRET}"
        if kind != "Bearer" or token not in {TOKEN, as_app} or "access_token" in call.query:
            return refused(190, f"Malformed access token {token}", status=401)
        match call.method, parts:
            case "GET", [waba, "subscribed_apps"] if waba in self.accounts:
                return self._page(waba, call)
            case "POST", [waba, "subscribed_apps"] if waba in self.accounts:
                return await self._subscribe(waba, call.body)
            case "DELETE", [waba, "subscribed_apps"] if waba in self.accounts:
                self.accounts[waba].pop(APP_ID, None)
                return Canned(body={"success": self.success})
            case "GET", [phone] if phone in self.phones:
                return self._phone(phone, call)
            case "POST", [phone] if phone in self.phones:
                return await self._set_phone(phone, call.body)
            case "GET" | "POST", [app, "subscriptions"] if app == APP_ID:
                if token != as_app:
                    return refused(15, "This method must be called with an app access_token.")
                return await self._app_level(call)
        return refused(100, f"Unsupported request. Object with ID '{parts[0]}' does not exist", subcode=33)

    def _page(self, waba: str, call: Call) -> Canned:
        start = int(call.query.get("after", "c0")[1:])
        rows = list(self.accounts[waba].items())
        data = [
            {
                "whatsapp_business_api_data": {
                    "id": app,
                    "link": f"https://www.facebook.com/games/?app_id={app}",
                    "name": "Kestrel GW" if app == APP_ID else "Another app",
                },
                **({"override_callback_uri": override} if override else {}),
            }
            for app, override in rows[start : start + self.page_size]
        ]
        body: dict[str, object] = {"data": data}
        if start + self.page_size < len(rows):
            cursor = f"c{start + self.page_size}"
            next_page = f"https://elsewhere.example/x?access_token={TOKEN}&after={cursor}"
            body["paging"] = {"cursors": {"before": "c0", "after": cursor}, "next": next_page}
        return Canned(body=body)

    async def _subscribe(self, waba: str, body: Any) -> Canned:
        if body is None:
            self.accounts[waba][APP_ID] = None
            return Canned(body={"success": self.success})
        if APP_ID not in self.accounts[waba]:
            return refused(100, "Before an override the app must be subscribed.")
        url, token = body.get("override_callback_uri"), body.get("verify_token")
        if not url or len(url) > 200 or not token:
            return refused(100, "Invalid parameter: override_callback_uri, verify_token")
        if not await self._verified(url, token):
            return refused(2200, "(#2200) Callback verification failed with HTTP status 403")
        self.accounts[waba][APP_ID] = url
        return Canned(body={"success": self.success})

    def _phone(self, phone: str, call: Call) -> Canned:
        waba, override = self.phones[phone]
        if call.query.get("fields") != "webhook_configuration":
            return Canned(body={"id": phone})
        urls = {
            "phone_number": override,
            "whatsapp_business_account": self.accounts[waba].get(APP_ID),
            "application": self.app["callback_url"] if self.app else None,
        }
        return Canned(
            body={"webhook_configuration": {key: url for key, url in urls.items() if url}, "id": phone}
        )

    async def _set_phone(self, phone: str, body: Any) -> Canned:
        configuration = body["webhook_configuration"]
        url = configuration["override_callback_uri"]
        if url and not await self._verified(url, configuration["verify_token"]):
            return refused(2200, "(#2200) Callback verification failed")
        self.phones[phone] = (self.phones[phone][0], url or None)
        return Canned(body={"success": self.success})

    async def _app_level(self, call: Call) -> Canned:
        if call.method == "POST":
            if not await self._verified(call.body["callback_url"], call.body["verify_token"]):
                return refused(2200, "(#2200) Callback verification failed")
            self.app = {
                "object": call.body["object"],
                "callback_url": call.body["callback_url"],
                "active": True,
                "fields": call.body["fields"].split(","),
            }
            return Canned(body={"success": self.success})
        shown = []
        if self.app is not None:
            fields = [{"name": name, "version": VERSION} for name in self.app["fields"]]
            shown = [self.app | {"fields": fields}]
        return Canned(body={"data": shown})

    async def _verified(self, url: str, token: str) -> bool:
        return self._verify is None or await self._verify(url, token)


def read_call(request: h11.Request, content: bytes) -> Call:
    """Take a request apart."""
    parts = urlsplit(request.target.decode())
    version, _, path = parts.path.lstrip("/").partition("/")
    assert version == VERSION, parts.path
    return Call(
        method=request.method.decode(),
        path="/" + unquote(path),
        query={key: values[0] for key, values in parse_qs(parts.query).items()},
        headers={name.decode(): value.decode() for name, value in request.headers},
        body=json.loads(content) if content else None,
    )


@contextmanager
def in_a_thread(stand_in: StandIn) -> Iterator[StandIn]:
    """Serve in a thread, for commands that are called in this one."""
    up, ends = threading.Event(), []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            ends.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            await nursery.start(stand_in.serve)
            up.set()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        yield stand_in
    finally:
        token, scope = ends[0]
        token.run_sync_soon(scope.cancel)
        thread.join(10)


def write_ca(ca: trustme.CA, directory: Path) -> Path:
    """Write the CA for SSL_CERT_FILE."""
    file = directory / "graph-ca.pem"
    file.write_bytes(ca.cert_pem.bytes())
    return file
