"""The Graph API over httpx: one connection, one call at a time, each under a deadline and a bound.

The token goes into the `Authorization` header and nowhere else; no redirect is followed with it. Before a
call the pace is kept that Meta's last answers ask for, and a call that would only lengthen a block is not
made. Nothing is ever sent twice here: who may repeat what is decided above, by looking first.
"""

import json
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import trio

from gateway.errors import PeerError, UsageError
from gateway.graph import answers
from gateway.graph.answers import AppSubscription, PhoneConfiguration, SubscribedApp
from gateway.graph.refusals import RefusedError, known_block, read_refusal
from gateway.graph.usage import HEADER, Usage, UsageBook, pace_seconds, read_usage, regain_minutes
from gateway.network_faults import describe
from gateway.settings.secret import Secret

CALL_SECONDS: Final = 20.0
"""A whole call: setting an override makes Meta verify the URL first; what takes longer is looked up."""
CONNECT_SECONDS: Final = 10.0
"""Name, TCP and TLS, to a host that is always there."""
MAX_ANSWER_BYTES: Final = 1024**2
"""Of one answer; a page of subscribed apps has some kilobytes."""
MAX_PAGES: Final = 200
"""Of one list; an account has a handful of apps, so more is a server that runs in circles."""

_TOKEN: Final = re.compile(rb"[\x21-\x7e]+")
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Nothing has reached the other side; every other fault leaves open whether the call was carried out."""
_LOOK: Final = "`gateway subscriptions list` shows what is so"


class NoAnswerError(PeerError):
    """No answer came, and the call may have been carried out."""


class NotSentError(PeerError):
    """The call has not reached Meta: nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Which Graph API, and as whom."""

    base_url: str
    """https, without a slash at its end."""
    version: str
    token: Secret

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a header; httpx would quote it in its error.

        Raises:
            UsageError: the token cannot be one.
        """
        if not _TOKEN.fullmatch(self.token.reveal()):
            raise UsageError(
                f"the access token ({self.token.source}) holds white space or letters beyond ASCII",
                remedy="put the token alone there",
            )


@dataclass(slots=True, kw_only=True)
class Pacing:
    """How the client keeps Meta's limits."""

    book: UsageBook
    sleep: Callable[[float], Awaitable[None]] = trio.sleep
    on_pause: Callable[[str, float, tuple[Usage, ...]], None] = lambda *_: None
    """Told before each pause: the account, seconds, and the usages that ask for it."""


class GraphClient:
    """Calls on the Graph API. Made by `open_graph`."""

    def __init__(self, http: httpx.AsyncClient, api: Api, pacing: Pacing, hidden: tuple[Secret, ...]) -> None:
        self._http = http
        self._api = api
        self._pacing = pacing
        self._hidden = tuple(map(_text, (api.token, *hidden)))

    def hide(self, secret: Secret) -> None:
        """Let a secret stand in nothing that is told of an answer."""
        self._hidden = (*self._hidden, _text(secret))

    async def subscribed_apps(self, waba: str) -> tuple[SubscribedApp, ...]:
        """Return every app that is subscribed to an account, over all pages."""
        found: list[SubscribedApp] = []
        seen: set[str] = set()
        after: str | None = None
        while True:
            query = {} if after is None else {"after": after}
            page = answers.read_apps_page(await self._call("GET", waba, f"/{waba}/subscribed_apps", query))
            found += page.apps
            after = page.after
            if after is None:
                return tuple(found)
            if after in seen or len(seen) >= MAX_PAGES:
                raise answers.UnreadableAnswerError("its pages have no end")
            seen.add(after)

    async def subscribe(self, waba: str) -> None:
        """Subscribe the app to an account; removes an override that is there."""
        answers.read_success(await self._call("POST", waba, f"/{waba}/subscribed_apps"))

    async def set_override(self, waba: str, *, url: str, verify_token: Secret) -> None:
        """Set the alternate callback URL of an account; Meta verifies it before it answers."""
        body = {"override_callback_uri": url, "verify_token": _text(verify_token)}
        answers.read_success(await self._call("POST", waba, f"/{waba}/subscribed_apps", body=body))

    async def unsubscribe(self, waba: str) -> None:
        """Unsubscribe the app from an account."""
        answers.read_success(await self._call("DELETE", waba, f"/{waba}/subscribed_apps"))

    async def phone_configuration(self, phone: str) -> PhoneConfiguration:
        """Return the callback URLs that may hold for one phone number."""
        query = {"fields": "webhook_configuration"}
        return answers.read_phone_configuration(await self._call("GET", phone, f"/{phone}", query))

    async def set_phone_override(self, phone: str, *, url: str, verify_token: Secret | None) -> None:
        """Set the alternate callback URL of a phone number; an empty one deletes it."""
        configuration = {"override_callback_uri": url}
        if verify_token is not None:
            configuration["verify_token"] = _text(verify_token)
        body = {"webhook_configuration": configuration}
        answers.read_success(await self._call("POST", phone, f"/{phone}", body=body))

    async def app_subscriptions(self, app_id: str) -> tuple[AppSubscription, ...]:
        """Return what an app is subscribed to. The token must be the app's own."""
        return answers.read_app_subscriptions(await self._call("GET", app_id, f"/{app_id}/subscriptions"))

    async def is_app_of(self, app_id: str, secret: Secret) -> bool:
        """Say whether a secret is that of an app: its token is `app id|app secret`, and Meta takes no other.

        False says nothing: the secret may have been changed, or the app may not be asked about.
        """
        token = app_token(app_id, secret)
        try:
            await self._call("GET", app_id, f"/{app_id}/subscriptions", token=token)
        except RefusedError as error:
            if error.refusal.limit is not None:
                raise
            return False
        return True

    async def set_app_subscription(
        self, app_id: str, *, object_: str, callback_url: str, fields: tuple[str, ...], verify_token: Secret
    ) -> None:
        """Set the callback URL and the fields of one object; Meta verifies the URL before it answers."""
        body = {
            "object": object_,
            "callback_url": callback_url,
            "fields": ",".join(fields),
            "verify_token": _text(verify_token),
        }
        answers.read_success(await self._call("POST", app_id, f"/{app_id}/subscriptions", body=body))

    async def _call(
        self,
        method: str,
        account: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, object] | None = None,
        token: Secret | None = None,
    ) -> object:
        """Make one call about one account; return the JSON of its good answer.

        Raises:
            RefusedError: Meta refused, or is known to.
            NotSentError: nothing was sent. NoAnswerError: it may have been carried out.
            UnreadableAnswerError: it is no JSON.
        """
        await self._keep_pace(account)
        request = self._request(method, path, query, body, token or self._api.token)
        answer, content = await self._exchange(request)
        usages = read_usage(answer.headers.get_list(HEADER))
        self._pacing.book.note(account, usages)
        parsed = _json(content)
        if answer.status_code == HTTPStatus.OK and not (isinstance(parsed, dict) and "error" in parsed):
            if parsed is None:
                raise answers.UnreadableAnswerError("it is no JSON")
            return parsed
        refusal = read_refusal(
            answer.status_code,
            parsed,
            minutes=regain_minutes(usages, account) or _minutes(answer.headers.get_list("retry-after")),
            secrets=self._hidden,
        )
        raise RefusedError(refusal)

    async def _keep_pace(self, account: str) -> None:
        book = self._pacing.book
        if blocked := book.blocked_minutes(account):
            raise RefusedError(known_block(blocked))
        if slowing := book.slowing(account):
            pause = pace_seconds(slowing[0].percent)
            self._pacing.on_pause(account, pause, slowing)
            await self._pacing.sleep(pause)

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
        token: Secret,
    ) -> httpx.Request:
        url = httpx.URL(f"{self._api.base_url}/{self._api.version}{path}", params=query or None)
        content = b"" if body is None else json.dumps(body).encode()
        headers = [
            (b"Host", url.netloc),
            (b"Authorization", b"Bearer " + token.reveal()),
            (b"Accept", b"application/json"),
            # What is unpacked has no bound that could be kept before it is unpacked.
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"meta-webhook-gateway"),
        ]
        if body is not None:
            headers.append((b"Content-Type", b"application/json"))
        if method != "GET":
            headers.append((b"Content-Length", str(len(content)).encode()))
        return httpx.Request(method, url, headers=headers, stream=_Body(content))

    async def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        try:
            with trio.fail_after(CALL_SECONDS):
                answer = await self._http.send(request, stream=True)
                content = await _read(answer)
        except _NOT_SENT as error:
            raise NotSentError(
                f"{self._api.base_url} cannot be reached: {describe(error)}", remedy=_reach(error)
            ) from error
        except (trio.TooSlowError, httpx.TimeoutException) as error:
            raise NoAnswerError(f"no answer within {CALL_SECONDS:g} s", remedy=_LOOK) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ssl.SSLError) as error:
            raise NoAnswerError(f"no answer: {describe(error)}", remedy=_LOOK) from error
        return answer, content


def app_token(app_id: str, secret: Secret) -> Secret:
    """Make the token of an app itself (Meta, "Access tokens": app access tokens)."""
    return Secret(f"{app_id}|".encode() + secret.reveal(), source=f"the app's id and {secret.source}")


@asynccontextmanager
async def open_graph(
    api: Api, pacing: Pacing, *, hidden: tuple[Secret, ...] = ()
) -> AsyncIterator[GraphClient]:
    """Open a client; certificates are checked by the system's anchors, SSL_CERT_FILE and SSL_CERT_DIR.

    `hidden`: secrets besides the token that may stand in a request, and must not stand in what is printed of
    an answer.
    """
    http = httpx.AsyncClient(
        verify=ssl.create_default_context(),
        headers={},
        timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
        trust_env=False,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
    )
    async with http:
        yield GraphClient(http, api, pacing, hidden)


class _Body(httpx.AsyncByteStream):
    """The bytes in one piece; httpx's own generator, left half-read, is a leak to Trio."""

    def __init__(self, body: bytes) -> None:
        self._rest = [body] if body else []

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            raise StopAsyncIteration
        return self._rest.pop()


async def _read(answer: httpx.Response) -> bytes:
    """Read an answer, as far as it may go.

    Raises:
        UnreadableAnswerError: it is too long, or packed though nobody asked for that.
    """
    content = bytearray()
    # Cancelling what reads too much lets every layer below close properly (see delivery/sender.py).
    with trio.CancelScope() as enough:
        async for chunk in answer.stream:  # type: ignore[union-attr]  # an async client's is async
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                enough.cancel()
    await answer.aclose()
    if len(content) > MAX_ANSWER_BYTES:
        raise answers.UnreadableAnswerError("it has no end")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise answers.UnreadableAnswerError("it is packed")
    return bytes(content)


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _minutes(values: list[str]) -> float:
    """Read Retry-After in seconds; its other form, a date, is not seen at this API."""
    if len(values) == 1 and re.fullmatch(r"[0-9]{1,7}", values[0]):
        return int(values[0]) / 60
    return 0.0


def _text(secret: Secret) -> str:
    return secret.reveal().decode("utf-8", "replace")


def _reach(error: Exception) -> str:
    if "certificate" not in describe(error):
        return "does this machine reach the Internet, and is graph.base_url right?"
    named = os.environ.get("SSL_CERT_FILE", "")
    if named and not Path(named).is_file():
        return f"SSL_CERT_FILE names {named}, which is no file: then nothing is trusted"
    return "SSL_CERT_FILE or SSL_CERT_DIR name other anchors than the system's, for a proxy that ends TLS"
