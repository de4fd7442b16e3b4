"""One attempt: one POST to a target, and what came back.

A lane is one connection to one target, kept alive between attempts and opened anew after anything went
wrong. A transport of httpx is driven directly (see transport.py), without its client: no redirects, no
cookies, no proxies from the environment, and no pool that several lanes would share.

A kept connection that breaks before the head of an answer was most likely closed by the target between two
requests; the attempt is then made once more, at once, on a fresh connection, and counts as one. That the
target may see it twice is within "at least once", and the Idempotency-Key is the same.
"""

import ssl
from dataclasses import dataclass
from typing import Final, Protocol

import httpx
import trio

from gateway.core.outcome import Answer, NoAnswer
from gateway.delivery.message import OutgoingRequest
from gateway.delivery.transport import OneConnection
from gateway.errors import GatewayError
from gateway.network_faults import describe
from gateway.settings.model import TargetTls

ANSWER_BYTES: Final = 4096
"""At most so much of an answer is read (contract, section 4): enough for a reason, too little to hurt."""
KEEP_ALIVE_SECONDS: Final = 4.0
"""An idle connection is not used again after this: shorter than the 5 s after which Node and uvicorn
close it.
"""

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
        self._host = ((b"Host", self._url.netloc),)
        self._transport = OneConnection(endpoint.tls, keep_alive_seconds=KEEP_ALIVE_SECONDS)
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
        await self._transport.aclose()

    async def _post(self, request: OutgoingRequest, reading: "_Reading") -> None:
        try:
            response = await self._head(request)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
            if self._transport.opened_now or _is_garbage(error):
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
        if enough.cancelled_caught or self._transport.has_more():
            await self.aclose()

    async def _head(self, request: OutgoingRequest) -> httpx.Response:
        length = (b"Content-Length", str(len(request.body)).encode())
        named = any(name.lower() == b"host" for name, _ in request.headers)
        outgoing = httpx.Request(
            "POST",
            self._url,
            headers=(*(() if named else self._host), length, *request.headers),
            stream=_Body(request.body),
        )
        return await self._transport.handle_async_request(outgoing)


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


def _is_garbage(error: httpx.TransportError) -> bool:
    """Whether bytes came that are not HTTP; where a connection just ended, no parser complained."""
    beneath = error.__cause__.__cause__ if error.__cause__ is not None else None
    return isinstance(error, httpx.RemoteProtocolError) and beneath is not None
