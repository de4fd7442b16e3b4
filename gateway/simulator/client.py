"""Meta's part on the wire: the verification GET, and signed POSTs with or without a client certificate.

Headers are those that Meta has been seen to send. One `MetaClient` holds one connection and reuses it.
"""

import hmac
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

import httpx
import trio

from gateway.core.signature import sign
from gateway.errors import PeerError, UsageError

TIMEOUT_SECONDS: Final = 20.0
"""One request, from connecting to the end of the answer: generous, so that the gateway's own answer to a
slow request is seen, and not a time-out of ours."""

CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""TCP and TLS: the gateway's own deadline on a handshake is as long."""

POST_HEADERS: Final = {
    "user-agent": "facebookexternalua",
    "accept": "*/*",
    "accept-encoding": "deflate, gzip",
    "content-type": "application/json",
}
_GET_HEADERS: Final = {
    "user-agent": "facebookplatform/1.0 (+http://developers.facebook.com)",
    "accept": "*/*",
    "accept-encoding": "deflate, gzip",
}


class ClosedWithoutAnswerError(PeerError):
    """The gateway closed the connection and said nothing: so it treats a certificate that it refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request of Meta's and what came back."""

    status: int
    milliseconds: float
    """From sending to the end of the answer; the handshake is in it where a new connection was needed."""
    http_version: str
    """`HTTP/1.1` or `HTTP/2`."""
    body: bytes
    content_type: str
    """Empty where the answer named none."""


class _Body(httpx.AsyncByteStream):
    """A request's body in one piece.

    httpx's own is an async generator, and is left unfinished when the other side closes in the middle of it:
    Trio reports that as a leak.
    """

    def __init__(self, body: bytes) -> None:
        self._pieces = iter((body,) if body else ())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class MetaClient:
    """Plays Meta towards one gateway. Use it as an async context manager."""

    def __init__(
        self,
        base_url: str,
        *,
        secret: bytes | None,
        ca: Path | None = None,
        system_trust: bool = False,
        certificate: Path | None = None,
        private_key: Path | None = None,
        http2: bool = False,
    ) -> None:
        """`secret`: the app's; None: only the verification GET can be sent.

        `ca`: whose certificates the gateway may show, besides the system's trust store with `system_trust`;
        None: the system's trust store alone. `certificate` is leaf and intermediate in one PEM file, as Meta
        sends them; None: no client certificate.

        Raises:
            UsageError: one of the files cannot be used, or the secret is empty.
        """
        if secret is not None and not secret:
            raise UsageError(
                "the app secret is empty", remedy="Meta signs with the app secret of the dashboard"
            )
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._client = httpx.AsyncClient(
            base_url=self._base_url,
            verify=client_context(ca, certificate, private_key, system_trust=system_trust),
            http2=http2,
            headers={},
            timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            # Meta calls the gateway directly; a proxy in between would end the TLS that is to be shown.
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def challenge(self, path: str, *, verify_token: str, challenge: str) -> Exchange:
        """Send the verification GET (Meta, "Webhooks, getting started": verification requests).

        Raises:
            PeerError: no answer.
        """
        query = urlencode(
            {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
        )
        joint = "&" if "?" in path else "?"
        return await self._exchange("GET", f"{path}{joint}{query}", headers=_GET_HEADERS, body=None)

    async def post(self, path: str, body: bytes, *, signature: str | None = None) -> Exchange:
        """Send a notification, signed as Meta signs: over these bytes, with the app secret.

        `signature` goes out as `X-Hub-Signature-256` instead of the true one; empty: no signature at all.

        Raises:
            PeerError: no answer; `ClosedWithoutAnswerError` where the gateway closed the connection.
        """
        headers = dict(POST_HEADERS)
        if signature is None:
            if self._secret is None:
                raise UsageError("no app secret to sign with", remedy="name one with --secret")
            # The legacy header is still sent beside the other one; receivers ignore it.
            headers["x-hub-signature"] = "sha1=" + hmac.digest(self._secret, body, "sha1").hex()
            headers["x-hub-signature-256"] = sign(self._secret, body)
        elif signature:
            headers["x-hub-signature-256"] = signature
        return await self._exchange("POST", path, headers=headers, body=body)

    async def _exchange(
        self, method: str, path: str, *, headers: dict[str, str], body: bytes | None
    ) -> Exchange:
        started = trio.current_time()
        try:
            url = httpx.URL(self._base_url + path)
            fields = {"host": url.netloc.decode("ascii"), **headers}
            if body is not None:
                fields["content-length"] = str(len(body))
            request = httpx.Request(method, url, headers=fields, stream=_Body(body or b""))
            with trio.fail_after(TIMEOUT_SECONDS):
                answer = await self._client.send(request)
        except (httpx.TransportError, httpx.InvalidURL, trio.TooSlowError, OSError) as error:
            raise _as_ours(error, url=self._base_url + path.partition("?")[0]) from error
        return Exchange(
            status=answer.status_code,
            milliseconds=(trio.current_time() - started) * 1000,
            http_version=answer.http_version,
            body=answer.content,
            content_type=answer.headers.get("content-type", ""),
        )


def client_context(
    ca: Path | None, certificate: Path | None, private_key: Path | None, *, system_trust: bool
) -> ssl.SSLContext:
    if ca is not None and not ca.is_file():
        raise UsageError(f"{ca}: no such file", remedy="--ca names the CA of the gateway's own certificate")
    try:
        context = ssl.create_default_context(cafile=ca)
        if ca is not None and system_trust:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{ca}: cannot be read as CA certificates ({_reason(error)})",
            remedy="--ca names a PEM file with the CA of the gateway's own certificate",
        ) from error
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, private_key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{certificate} and {private_key or 'the key in it'}: cannot be used as client certificate"
                f" ({_reason(error)})",
                remedy="--cert is a PEM file with leaf and intermediate, --key the leaf's private key",
            ) from error
    return context


def _reason(error: BaseException) -> str:
    """Tell the cause deepest down that says something: httpx, httpcore and Trio each wrap the one below."""
    reason = str(error) or type(error).__name__
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.replace("_", " ").lower()
        if isinstance(cause, OSError) and cause.strerror:
            reason = cause.strerror
    return reason


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _as_ours(error: Exception, *, url: str) -> PeerError:
    """The boundary at which httpx's exceptions become ours; the wording tells a user's next step."""
    reason = _reason(error)
    match error:
        case httpx.ConnectError() if any(
            isinstance(one, ssl.SSLCertVerificationError) for one in _causes(error)
        ):
            return PeerError(
                f"{url}: the gateway's own certificate is not trusted here ({reason})",
                remedy="name its CA with --ca (gateway init writes one to certs/ca.pem), and in the URL a"
                " host that the certificate names",
            )
        case httpx.ConnectError():
            return PeerError(
                f"{url}: no connection ({reason})", remedy="is the gateway running, and is this its address?"
            )
        case httpx.TimeoutException() | trio.TooSlowError():
            return PeerError(
                f"{url}: no answer within {TIMEOUT_SECONDS:g} s",
                remedy="look at the gateway's log and /readyz",
            )
        case httpx.ReadError() | httpx.WriteError() | httpx.RemoteProtocolError():
            return ClosedWithoutAnswerError(
                f"{url}: the gateway closed the connection without an answer ({reason})",
                remedy="it does so to a client certificate that it does not accept: its log names the reason"
                " (event handshake_refused)",
            )
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return PeerError(
                f"{url}: not a URL that can be called ({reason})", remedy="write it as https://HOST:PORT/PATH"
            )
        case _:
            return PeerError(f"{url}: {reason}", remedy="look at the gateway's log")
