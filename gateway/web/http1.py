"""HTTP/1.1 on one connection: head, app, answer, and again.

Theory of operation. One task does everything, and everything is pulled. It reads a head (`head`, on
httptools), calls the app, and the app's own `receive` reads the body from the stream when the app wants it:
what nobody asks for stays in the socket, `100 Continue` goes out when the app first waits for body, and an
early answer is given before the body is here. A request whose body came with its head, which is nearly every
one, meets no queue, no task and no event between its first byte and the last of its answer.

Hypercorn's TCPServer is not under it. It pushes: a reader, a task for the app of each request and a channel
between the two, each a turn of the scheduler and none of use to a protocol that answers in order.

    waiting for a request       idle_seconds, from the last answer
    a head has begun            head_seconds, from its first byte
    the app waits for body      read_seconds between two reads
    an answer goes out          send_seconds for each slice of it
    answered, body unread       linger_seconds or linger_bytes, or the end of the body
    the app is at work          no deadline
"""

from math import inf
from typing import Any
from urllib.parse import unquote

import trio

from gateway.core.asgi import BODY_IS_HERE
from gateway.telemetry.log import get_logger
from gateway.web.answer import CONTINUE, AnswerWriter, refusal
from gateway.web.body import MalformedBodyError, RequestBody
from gateway.web.exchange import INTERNAL_SERVER_ERROR, describe
from gateway.web.guarded import READ_BYTES, GuardedStream
from gateway.web.head import BAD_REQUEST, Head, HeadFault, HeadReader
from gateway.web.wire import AsgiApp, Terms

log = get_logger("web")

_ASGI = {"spec_version": "2.1", "version": "3.0"}


class Http1Connection:
    """One connection, over any trio stream."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        app: AsgiApp,
        terms: Terms,
        scope: dict[str, Any],
        state: dict[str, Any],
    ) -> None:
        """`scope`: what the scope of every request says of the connection; `state` is copied for each."""
        self._stream = GuardedStream(stream, terms.limits)
        self._app = app
        self._terms = terms
        self._limits = terms.limits
        self._scope = {"type": "http", "asgi": _ASGI, "root_path": "", **scope}
        self._state = state
        self._requests = 0
        self._is_idle = False
        self._is_asking = False
        """Nothing of it is in flight: it has not said what it wants."""
        self._welcome_until = -inf

    async def run(self) -> None:
        """Serve until the connection is over, and close it. Raises, in a group, only what is a defect."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stream.watch)
                await self._serve()
                nursery.cancel_scope.cancel()
        finally:
            await self._stream.close()

    def drain(self, *, newcomer_seconds: float = 0.0) -> None:
        """Take no more requests: an idle connection ends, one in flight ends after its answer. One that has
        made no request yet has `newcomer_seconds` for it."""
        if self._requests == 0 and newcomer_seconds:
            self._welcome_until = trio.current_time() + newcomer_seconds
            self._stream.hasten(self._welcome_until)
        elif self._is_idle:
            self._stream.expire()

    def give_way(self) -> bool:
        """End, if no request is in flight; whether that is so, and was not asked before."""
        if not self._is_asking:
            return False
        self._is_asking = False
        self._stream.expire()
        return True

    async def _serve(self) -> None:
        stream = self._stream
        # While draining, a request that is here already is still answered: nobody has told its sender to go.
        while stream.data or not self._terms.is_draining() or self._is_welcome:
            if not stream.data and not await self._wait():
                return
            reader = HeadReader(self._limits)
            head = reader.read(stream.data) or await self._read_rest(reader)
            if isinstance(head, Head):
                stream.data = stream.data[head.size_bytes :]
                if not await self._answer(head):
                    return
            else:
                if head is not None:
                    self._terms.record_refusal(head.status, head.reason)
                    await stream.send(refusal(head.status))
                    await self._linger(None)
                return

    @property
    def _is_welcome(self) -> bool:
        return self._requests == 0 and trio.current_time() < self._welcome_until

    async def _wait(self) -> bool:
        self._is_idle = self._is_asking = True
        due = trio.current_time() + self._terms.idle_seconds
        try:
            return await self._stream.read(due=min(due, self._welcome_until) if self._is_welcome else due)
        finally:
            self._is_idle = self._is_asking = False

    async def _read_rest(self, reader: HeadReader) -> Head | HeadFault | None:
        due = trio.current_time() + self._limits.head_seconds
        self._is_asking = True
        try:
            while await self._stream.read(due=due):
                head = reader.read(self._stream.data)
                if head is not None:
                    return head
        finally:
            self._is_asking = False
        return None

    async def _answer(self, head: Head) -> bool:
        """Have one request answered; False when the connection is over."""
        self._requests += 1
        is_last = head.is_last or self._requests >= self._terms.max_requests
        exchange = _Exchange(self._stream, self._terms, head, is_last=is_last)
        try:
            await self._app(self._scope_of(head), exchange.receive, exchange.send)
        except* Exception as errors:  # noqa: BLE001 (the boundary to the app)
            # Recorded, answered 500, and never the end of the process.
            log.error(  # noqa: TRY400 (the text of an exception may quote a body)
                "app_failed", errors=describe(errors)
            )
        answer = await exchange.finish()
        if answer.is_whole and not answer.is_last:
            return True
        if answer.is_whole and (self._stream.data or not head.body.is_read):
            await self._linger(head.body)
        return False

    def _scope_of(self, head: Head) -> dict[str, Any]:
        path, _, query = head.target.partition(b"?")
        return {
            **self._scope,
            "http_version": head.version,
            "method": head.method,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "headers": head.headers,
            "state": self._state.copy(),
            "extensions": {BODY_IS_HERE: {}} if head.body.fits(self._stream.data) else {},
        }

    async def _linger(self, body: RequestBody | None) -> None:
        """Read and drop for a while before closing: no reset may overtake the answer (RFC 9112 section 9.6).

        Over at the end of `body`, where that is known.
        """
        stream = self._stream
        await stream.send_eof()
        due = trio.current_time() + self._limits.linger_seconds
        budget = self._limits.linger_bytes
        while budget >= 0:
            budget -= len(stream.data)
            if body is not None:
                try:
                    _, stream.data = body.take(stream.data)
                except MalformedBodyError:
                    body = None
                else:
                    if body.is_read and not stream.data:
                        return
            stream.data = b""
            if not await stream.read(due=due):
                return


class _Exchange:
    """One request and its answer: what the app receives, and what it sends."""

    __slots__ = (
        "_answer",
        "_body",
        "_expects_continue",
        "_is_delivered",
        "_is_disconnected",
        "_is_last",
        "_is_malformed",
        "_is_refused",
        "_pending",
        "_stream",
        "_terms",
        "_waiting",
    )

    def __init__(self, stream: GuardedStream, terms: Terms, head: Head, *, is_last: bool) -> None:
        self._stream = stream
        self._terms = terms
        self._body = head.body
        self._expects_continue = head.expects_continue
        self._is_last = is_last
        self._answer = AnswerWriter(is_head=head.method == "HEAD", is_http_1_1=head.version == "1.1")
        self._pending = b""
        self._is_delivered = False
        self._is_disconnected = False
        self._is_malformed = False
        self._is_refused = False
        self._waiting: trio.CancelScope | None = None

    async def receive(self) -> dict[str, Any]:
        """ASGI's receive: the next piece of the body, as soon as there is one."""
        if self._is_delivered:
            await self._wait_until_over()
            return {"type": "http.disconnect"}
        while not self._is_disconnected:
            self._take()
            is_read = self._body.is_read
            if self._is_malformed:
                await self._refuse()
            elif self._pending or is_read:
                piece, self._pending = self._pending, b""
                self._is_delivered = is_read
                return {"type": "http.request", "body": piece, "more_body": not is_read}
            else:
                await self._read()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """ASGI's send. What is sent to a peer that is gone is dropped."""
        if self._is_refused:
            return
        answer = self._answer
        is_last = message["type"] == "http.response.body" and not answer.has_begun and self._must_close()
        data = answer.write(message, is_last=is_last)
        if data:
            await self._stream.send(data)
        if answer.is_whole and self._waiting is not None:
            self._waiting.cancel()

    async def finish(self) -> AnswerWriter:
        """Answer in place of an app that has not, and return how it was answered."""
        if not (self._answer.has_begun or self._is_disconnected):
            self._terms.record_failure(INTERNAL_SERVER_ERROR)
            await self._answer_instead(INTERNAL_SERVER_ERROR)
        return self._answer

    async def _answer_instead(self, status: int) -> None:
        self._answer = AnswerWriter(is_head=False, is_http_1_1=True)
        await self.send({"type": "http.response.start", "status": status})
        await self.send({"type": "http.response.body"})

    def _take(self) -> None:
        """Part what is here of the body from what is behind it."""
        stream = self._stream
        if stream.data and not (self._body.is_read or self._is_malformed):
            self._expects_continue = False
            try:
                piece, stream.data = self._body.take(stream.data)
            except MalformedBodyError:
                self._is_malformed = True
            else:
                self._pending = self._pending + piece if self._pending else piece

    async def _read(self) -> None:
        if self._expects_continue and not self._answer.has_begun:
            self._expects_continue = False
            await self._stream.send(CONTINUE)
        if not await self._stream.read(due=trio.current_time() + self._terms.limits.read_seconds):
            self._is_disconnected = True

    async def _refuse(self) -> None:
        """Answer in place of the app, which will hear that the peer is gone."""
        self._is_disconnected = True
        if not self._answer.has_begun:
            self._terms.record_refusal(BAD_REQUEST, "malformed_body")
            await self._answer_instead(BAD_REQUEST)
            self._is_refused = True

    def _must_close(self) -> bool:
        """Whether the answer that begins now is the last one."""
        self._take()
        return self._is_last or not self._body.is_read or self._terms.is_draining()

    async def _wait_until_over(self) -> None:
        """Nobody else reads while the app is at work: so who asks whether the peer is still there, looks."""
        stream = self._stream
        with trio.CancelScope() as self._waiting:
            while len(stream.data) < READ_BYTES and not self._answer.is_whole:
                if not await stream.read(due=inf):
                    return
            if not self._answer.is_whole:
                await trio.sleep_forever()
