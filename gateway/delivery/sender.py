"""One attempt: one POST to a target, and what came back. The only importer of httpx in delivery.

A lane is one connection to one target, kept alive between attempts and opened anew after anything went
wrong. httpx's transport is driven directly, without its client: no redirects, no cookies, no proxies from
the environment, and one connection a lane is twice as fast as a shared pool.

A kept connection that breaks before the head of an answer was most likely closed by the target between two
requests; the attempt is then made once more, at once, on a fresh connection, and counts as one. That the
target may see it twice is within "at least once", and the Idempotency-Key is the same.
"""

import ssl
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Protocol

import httpcore
import httpx
import trio

from gateway.core.outcome import Answer, NoAnswer
from gateway.delivery.faults import describe
from gateway.delivery.message import OutgoingRequest
from gateway.errors import GatewayError
from gateway.settings.model import TargetTls

ANSWER_BYTES: Final = 4096
"""At most so much of an answer is read (contract, section 4): enough for a reason, too little to hurt."""
KEEP_ALIVE_SECONDS: Final = 4.0
"""An idle connection is not used again after this: shorter than the 5 s after which Node and uvicorn
close it.
"""
CLOSE_SECONDS: Final = 1.0
"""Closing a socket does not block; if it ever does, the lane goes on after this."""

_FOREIGN: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    OSError,
    UnicodeError,
    trio.BrokenResourceError,
)
"""Everything that httpx lets out for what the network and the target do; other exceptions are bugs and
stay so.
"""

_CONNECTIONS: Final = attrgetter("_pool.connections")
_UNREAD: Final = attrgetter("_connection._h11_state.trailing_data")
"""From httpx's transport to the connection it keeps, and from there to what h11 holds of it. Names of their
own, for which there are no public ones; a contract test holds them, and without them a lane works still.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutShort:
    """The attempt was ended by us (shutdown) before an answer came: nothing is known about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a target is, and how to reach it."""

    url: str
    """`http` or `https`."""
    timeout_seconds: float
    """Of the whole attempt: name, connection, TLS, request, answer."""
    tls: ssl.SSLContext

    def __post_init__(self) -> None:
        """Refuse now what no lane could be opened to.

        Raises:
            GatewayError: httpx cannot read the URL.
        """
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise GatewayError("the URL of a target cannot be used", remedy="correct its url") from error


class Closable(Protocol):
    """What can be closed."""

    async def aclose(self) -> None:
        """Close it; again, to no effect."""
        ...


class AttemptLane(Protocol):
    """What the dispatcher needs of a lane: one attempt at a time."""

    async def send(self, request: OutgoingRequest) -> Answer | NoAnswer | CutShort:
        """Make one attempt; never raises for what the network or the target does."""
        ...

    def cut_short(self) -> None:
        """End the attempt under way."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


def tls_context(url: str, tls: TargetTls | None) -> ssl.SSLContext:
    """Make the context for a target: the system's anchors, or the target's `tls.ca` and nothing else.

    Raises:
        GatewayError: a file cannot be read or does not fit.
    """
    if not url.lower().startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; reading the system's anchors takes 20 ms
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls and tls.ca else None)
        if tls and tls.certificate:
            key = str(tls.private_key) if tls.private_key else None
            # A key with a pass phrase would make OpenSSL ask on the terminal, and hang a service.
            context.load_cert_chain(str(tls.certificate), key, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise GatewayError(
            f"the TLS files of a target cannot be used: {describe(error)}",
            remedy="check ca, certificate and private_key",
        ) from error
    return context


class Lane:
    """One connection to one target."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._url = httpx.URL(endpoint.url)
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._stream: Closable | None = None
        """The connection beneath, before any TLS."""
        self._connected_now = False
        self._attempt: trio.CancelScope | None = None
        self._cut = False

    async def send(self, request: OutgoingRequest) -> Answer | NoAnswer | CutShort:
        """Make one attempt within the target's time-out.

        Once the head of an answer is there its status counts, however the rest of the answer ends.
        """
        self._cut = False
        reading = _Reading()
        healthy = False
        try:
            with trio.move_on_after(self._endpoint.timeout_seconds) as self._attempt:
                try:
                    await self._post(request, reading)
                    healthy = True
                except _FOREIGN as error:
                    reading.fault = describe(error)
        finally:
            self._attempt = None
            if not healthy:
                await self.aclose()
        if reading.head is not None:
            return reading.answer()
        if self._cut and not reading.fault:
            return CutShort()
        return NoAnswer(error=reading.fault or f"no answer within {self._endpoint.timeout_seconds:g} s")

    def cut_short(self) -> None:
        """End the attempt under way, if there is one."""
        if self._attempt is not None:
            self._cut = True
            self._attempt.cancel()

    async def aclose(self) -> None:
        """Close the connection; the next attempt opens a new one."""
        transport, self._transport = self._transport, None
        stream, self._stream = self._stream, None
        if transport is not None:
            # Shielded: a socket that is left open because its task was cancelled is a leak.
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await transport.aclose()
                if stream is not None:
                    # httpcore forgets a connection whose TLS handshake is cancelled; closing twice does no
                    # harm.
                    await stream.aclose()

    async def _post(self, request: OutgoingRequest, reading: "_Reading") -> None:
        try:
            response = await self._head(request)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
            if self._connected_now or _is_garbage(error):
                raise
            await self.aclose()
            response = await self._head(request)
        reading.head = response
        # Cancelling what reads too much lets every layer below close properly; leaving a half-read
        # generator does not.
        with trio.CancelScope() as enough:
            async for chunk in response.stream:  # type: ignore[union-attr]  # an async transport's is async
                reading.excerpt += chunk
                if len(reading.excerpt) >= ANSWER_BYTES:
                    enough.cancel()
        await response.aclose()
        if enough.cancelled_caught or self._has_more(response):
            await self.aclose()

    def _has_more(self, response: httpx.Response) -> bool:
        """Whether anything is left behind the answer, which would be read as the answer to the next request.

        RFC 9112, section 6.3: what follows an answer on its connection was not asked for. httpx would keep
        it. What is still in the socket is seen by the pool when it is about to use the connection again.
        """
        if self._transport is None:
            return False
        try:
            unread = any(any(_UNREAD(connection)) for connection in _CONNECTIONS(self._transport))
        except AttributeError:
            return True  # where it cannot be seen, no connection is kept
        return unread or _has_record(response.extensions["network_stream"])

    async def _head(self, request: OutgoingRequest) -> httpx.Response:
        if self._transport is None:
            self._transport = httpx.AsyncHTTPTransport(
                verify=self._endpoint.tls,
                trust_env=False,
                limits=httpx.Limits(
                    max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_SECONDS
                ),
            )
        self._connected_now = False
        outgoing = httpx.Request(
            "POST",
            self._url,
            headers=(*self._framing(request), *request.headers),
            stream=_Body(request.body),
            extensions={"trace": self._trace},
        )
        return await self._transport.handle_async_request(outgoing)

    def _framing(self, request: OutgoingRequest) -> tuple[tuple[bytes, bytes], ...]:
        length = (b"Content-Length", str(len(request.body)).encode())
        if any(name.lower() == b"host" for name, _ in request.headers):
            return (length,)
        return (b"Host", self._url.netloc), length

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._connected_now = True
            self._stream = info["return_value"]


class _Body(httpx.AsyncByteStream):
    """The bytes in one piece. No generator, as httpx's own is: one left half-read, when the target
    closes, warns.
    """

    def __init__(self, body: bytes) -> None:
        self._rest = [body]

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            raise StopAsyncIteration
        return self._rest.pop()


class _Reading:
    """What is known of an answer so far; outlives the deadline that ends the reading."""

    def __init__(self) -> None:
        self.head: httpx.Response | None = None
        self.excerpt = bytearray()
        self.fault = ""

    def answer(self) -> Answer:
        if self.head is None:
            raise ValueError("no head has been read")
        retry_after = self.head.headers.get_list("retry-after")
        return Answer(
            status=self.head.status_code,
            retry_after=retry_after[0] if len(retry_after) == 1 else None,
            excerpt=bytes(self.excerpt[:ANSWER_BYTES]).decode("utf-8", "replace"),
        )


def _has_record(stream: httpcore.AsyncNetworkStream) -> bool:
    """Whether TLS holds more than was read: a record of which neither the parser nor the socket knows."""
    secured: ssl.SSLObject | None = stream.get_extra_info("ssl_object")
    if secured is None:
        return False
    try:
        secured.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        return True  # it has ended, or is broken
    return True


def _is_garbage(error: httpx.TransportError) -> bool:
    """Whether bytes came that are not HTTP; where a connection just ended, no parser complained."""
    # By context: httpcore's pool raises on "from None".
    beneath = error.__cause__.__context__ if error.__cause__ is not None else None
    return isinstance(error, httpx.RemoteProtocolError) and beneath is not None
