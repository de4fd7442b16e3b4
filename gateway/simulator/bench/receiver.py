"""The target that counts: stands in the place of a configured one, and knows what must arrive there.

A real notification may wait for that one. Whatever is not of a bench is answered 503, so that the gateway
keeps it: a 200 would be the end of it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from gateway.core.envelope import Envelope, parse_envelope
from gateway.errors import UsageError
from gateway.settings.address import Address
from gateway.simulator.bench.mix import PROBE_WORKER, RUN_LETTERS, number_pattern
from gateway.simulator.bench.tally import Mark
from gateway.web.limits import HttpLimits
from gateway.web.server import WebServer

_ANY_RUN: Final = number_pattern(f"[A-Za-z]{{{RUN_LETTERS}}}")
MOST_BODY_BYTES: Final = 8 * 1024**2
"""The gateway sends 3 MiB at most; anybody may reach a receiver that listens beyond loopback."""
_MOST: Final = 255
"""Arrivals of one change are counted in a byte; beyond it they are still duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What arrived of what was answered 200."""

    expected: int
    """Changes that were answered 200 and that the routes give to the target."""
    arrived: int
    lost: int
    """Expected and not there when the waiting ended; they may still be on their way."""
    duplicates: int
    """Arrivals beyond the first of each change."""
    unanswered: int
    """Changes that arrived though their notification got no 200."""
    strays: int
    """Changes that arrived though the routes, as read here, give them to others."""
    posts: int
    foreign: int
    """POSTs with something that is not of a bench: the gateway keeps them. They are not counted otherwise."""


class Receiver:
    """An HTTP server that answers 200 to what a bench has sent, and counts the changes of one run."""

    def __init__(self, run: str) -> None:
        self._pattern = number_pattern(run)
        self._counts: dict[int, bytearray] = {}
        self.distinct = 0
        """Changes of this run that have arrived at least once."""
        self.posts = 0
        self.foreign = 0

    async def serve(
        self, address: Address, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until cancelled.

        Raises:
            UsageError: it cannot listen there.
        """
        try:
            listeners = await trio.open_tcp_listeners(address.port, host=address.host)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {address} in the target's place: {error.strerror or error}",
                remedy="end what listens there; or, where the gateway reaches this machine by another"
                " address, name the one to listen on with --listen",
            ) from error
        server = WebServer(self._app, limits=HttpLimits(), metrics=None)

        async def handle(stream: trio.SocketStream) -> None:
            await server.serve(stream, peer=None, alpn="http/1.1", server=(address.host, address.port))

        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, handle, listeners)
            task_status.started()

    def compare(self, compressed_marks: Sequence[bytes]) -> Verified:
        """Hold what arrived against what each process says of its changes (`Tally.marks`)."""
        numbers = dict.fromkeys(("expected", "arrived", "lost", "duplicates", "unanswered", "strays"), 0)
        for worker, compressed in enumerate(compressed_marks):
            marks = zlib.decompress(compressed) if compressed else b""
            counts = self._counts.get(worker, bytearray()).ljust(len(marks), b"\0")
            numbers["expected"] += marks.count(Mark.EXPECTED)
            for mark, count in zip(marks, counts, strict=False):
                if count > 1:
                    numbers["duplicates"] += count - 1
                if mark == Mark.EXPECTED:
                    numbers["arrived" if count else "lost"] += 1
                elif count:
                    numbers["unanswered" if mark == Mark.UNANSWERED else "strays"] += 1
        return Verified(**numbers, posts=self.posts, foreign=self.foreign)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            event = await receive()
            if event["type"] != "http.request":
                return
            body += event.get("body", b"")
            if len(body) > MOST_BODY_BYTES or not event.get("more_body", False):
                break
        is_ours = _is_of_a_bench(bytes(body))
        if is_ours:
            self._count(bytes(body))
        else:
            self.foreign += 1
        await send({"type": "http.response.start", "status": 200 if is_ours else 503, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _count(self, body: bytes) -> None:
        self.posts += 1
        for worker, first, place in self._pattern.findall(body):
            if (sender := int(worker, 16)) == PROBE_WORKER:
                continue
            counts = self._counts.setdefault(sender, bytearray())
            number = int(first, 16) + int(place, 16)
            if number >= len(counts):
                counts.extend(bytes(number + 1 - len(counts)))
            if not counts[number]:
                self.distinct += 1
            counts[number] = min(_MOST, counts[number] + 1)


def _is_of_a_bench(body: bytes) -> bool:
    """Whether each change has the number of one, of this run or of another: a merged POST may hold both."""
    numbers = sum(1 for _ in _ANY_RUN.finditer(body))
    envelope = parse_envelope(body) if numbers > 0 and len(body) <= MOST_BODY_BYTES else None
    return isinstance(envelope, Envelope) and len(envelope.changes) <= numbers


def expected_changes(compressed_marks: Sequence[bytes]) -> int:
    """Return how many changes must arrive."""
    return sum(zlib.decompress(one).count(Mark.EXPECTED) for one in compressed_marks if one)
