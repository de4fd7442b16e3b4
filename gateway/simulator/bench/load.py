"""One process's share of the load: open loop, so that a slow answer delays no other request's time.

When a request is due is written down before the first is sent. A connection that is free takes the next one
and waits for its time; where none is free, the request waits for a connection, and that is in its latency,
since Meta does not hold back what it has to send (no "coordinated omission").
"""

import hmac
import math
import random
import time
import zlib
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from gateway.core.signature import sign
from gateway.simulator.bench.latencies import Latencies
from gateway.simulator.bench.mix import Template, make_templates, stamp
from gateway.simulator.bench.tally import Mark, Order, Tally
from gateway.simulator.bench.wire import Door, Wire, WireError
from gateway.simulator.client import POST_HEADERS, client_context

BACKLOG_SECONDS: Final = 2.0
"""After the end, what is due and not yet begun is still begun for so long; the rest counts as never sent."""
AGAIN_SECONDS: Final = 0.25
"""After a connection that failed: a gateway that is gone is not hammered."""
IDLE_SECONDS: Final = 1.0
"""Unused for so long, a connection is looked at first: the gateway closes idle ones, which is no fault."""
HANDSHAKES_AT_ONCE: Final = 8
"""While the connections are opened, before the first request: a crowd of them is another measurement."""
REMEMBERED: Final = 200
"""Notifications that may be sent once more, as duplicates."""
REMEMBERED_BYTES: Final = 64 * 1024
"""Larger ones are not remembered: 200 of 3 MiB would be 600."""
SCHEDSTAT: Final = Path("/proc/self/schedstat")
"""Nanoseconds on a processor, and waiting for one (Linux, Documentation/scheduler/sched-stats)."""


class Load:
    """Connections, and what goes over them."""

    def __init__(self, order: Order) -> None:
        """Make the bodies.

        Raises:
            UsageError: CA or client certificate cannot be used.
        """
        self._order = order
        self._context = client_context(
            _path(order.ca),
            _path(order.certificate),
            _path(order.private_key),
            system_trust=order.system_trust,
        )
        self._templates = make_templates(
            order.shares, changes=order.changes, large_bytes=order.large_bytes, now_ms=order.now_ms
        )
        self._expected = [bytes(_marks(one, order.expected, at)) for at, one in enumerate(self._templates)]
        by_kind: dict[str, list[int]] = {}
        for at, template in enumerate(self._templates):
            by_kind.setdefault(template.kind, []).append(at)
        self._by_kind = by_kind
        self._kinds = [kind for kind, share in order.shares.items() if share]
        self._weights = [order.shares[kind] for kind in self._kinds]
        self._random = random.Random(f"{order.run}/{order.worker}")  # noqa: S311 - a draw of bodies, no secret
        self._sent: deque[tuple[bytes, int, int]] = deque(maxlen=REMEMBERED)
        self._marks = bytearray()
        self._next = self._total = 0
        self._latencies, self._services, self._lags = Latencies(), Latencies(), Latencies()
        self._tally = Tally()
        self._start = self._end = self._last = 0.0
        self._work_before = 0.0
        self._wires: list[Wire | None] = []
        self._used = [0.0] * order.connections
        self._door: Door | None = None

    async def connect(self) -> None:
        """Open every connection, before anything is measured; what fails is tried again when it is used."""
        order = self._order
        self._door = await Door.find(order.host, order.port, self._context)
        self._wires = [None] * order.connections
        limit = trio.CapacityLimiter(HANDSHAKES_AT_ONCE)

        async def open_one(at: int, door: Door) -> None:
            async with limit:
                with suppress(WireError):  # the first request over it tries again, and is counted
                    self._wires[at] = await self._connected(door)

        async with trio.open_nursery() as nursery:
            for at in range(order.connections):
                nursery.start_soon(open_one, at, self._door)

    async def run(self) -> None:
        """Send for as long as ordered; return when the last answer is here. Cancel it to end it at once."""
        order = self._order
        self._work_before = _work_seconds()
        self._start = self._last = trio.current_time()
        self._end = self._start + order.seconds
        self._total = self._due(order.seconds)
        try:
            async with trio.open_nursery() as nursery:
                for at in range(order.connections):
                    nursery.start_soon(self._lane, at)
        finally:
            self._tally.unsent = max(0, self.tally().due - self._next)
            for wire in self._wires:
                if wire is not None:
                    wire.close()

    def stop(self) -> None:
        """Begin no more requests; those under way may end."""
        self._end = min(self._end, trio.current_time())
        self._total = min(self._total, self._due(self._end - self._start))

    def tally(self, *, final: bool = False) -> Tally:
        """Return what came of it so far; with `marks` where it is final."""
        tally = self._tally
        now = trio.current_time()
        tally.due = min(self._due(now - self._start), self._total)
        tally.seconds = (self._last if final else now) - self._start
        tally.busy = min(1.0, (_work_seconds() - self._work_before) / max(now - self._start, 0.001))
        tally.latency, tally.late = self._latencies.buckets, self._latencies.late
        tally.slowest_us = self._latencies.slowest_us
        tally.service, tally.service_slowest_us = self._services.buckets, self._services.slowest_us
        tally.lag, tally.lag_slowest_us = self._lags.buckets, self._lags.slowest_us
        tally.marks = zlib.compress(self._marks, 1) if final else b""
        return tally

    # -- when

    def _time_of(self, number: int) -> float:
        """Return when the request of this number (0...) is due: processes take turns."""
        order = self._order
        return self._start + (number * order.workers + order.worker) / order.rate

    def _due(self, seconds: float) -> int:
        """Return how many are due in the first so many seconds."""
        order = self._order
        # Rounded, so that 0.3 s at 10/s are three, whatever 0.3 is in binary.
        return max(0, math.ceil((round(seconds * order.rate, 6) - order.worker) / order.workers))

    # -- sending

    async def _lane(self, at: int) -> None:
        """Be one connection: take what is due next, wait for its time, send it, and so on."""
        while True:
            number, now = self._next, trio.current_time()
            if number >= self._total or now > self._end + BACKLOG_SECONDS:
                return
            self._next += 1
            due = self._time_of(number)
            if now < due:
                await trio.sleep_until(due)
                if number >= self._total:  # stopped meanwhile
                    return
                self._lags.record(trio.current_time() - due)
            await self._send(at, due)

    async def _send(self, at: int, due: float) -> None:
        kind, body, at_template, number = self._draw()
        tally = self._tally
        tally.kinds[kind] = tally.kinds.get(kind, 0) + 1
        began = trio.current_time()
        wire = self._wires[at]
        try:
            if wire is not None and wire.open and began - self._used[at] > IDLE_SECONDS and wire.is_gone():
                wire.close()
            if wire is None or not wire.open:
                assert self._door is not None  # noqa: S101 - connect comes first
                wire = self._wires[at] = await self._connected(self._door)
            status = await wire.post(self._head(body), body)
        except WireError as error:
            tally.faults[error.fault] = tally.faults.get(error.fault, 0) + 1
            await trio.sleep(AGAIN_SECONDS)
            return
        self._last = self._used[at] = trio.current_time()
        tally.answered += 1
        tally.sent_bytes += len(body)
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        if status == 200:
            self._latencies.record(self._last - due)
            self._services.record(self._last - began)
            marks = self._expected[at_template]
            tally.changes += len(marks)
            self._marks[number : number + len(marks)] = marks
            if kind != "duplicates" and len(body) <= REMEMBERED_BYTES:
                self._sent.append((body, at_template, number))

    async def _connected(self, door: Door) -> Wire:
        wire = await Wire.connect(door)
        self._tally.handshakes += 1
        return wire

    def _draw(self) -> tuple[str, bytes, int, int]:
        """Return kind, body, which template it is of, and the number of its first change."""
        (kind,) = self._random.choices(self._kinds, self._weights)
        if kind == "duplicates":
            if self._sent:
                return kind, *self._random.choice(self._sent)
            kind = next(one for one in self._kinds if one != "duplicates")
        at_template = self._random.choice(self._by_kind[kind])
        template = self._templates[at_template]
        number = len(self._marks)
        self._marks += bytes((Mark.UNANSWERED,)) * template.changes
        mark = stamp(self._order.run, self._order.worker, number)
        return kind, template.fill(mark), at_template, number

    def _head(self, body: bytes) -> bytes:
        secret = self._order.secret
        fields = {
            "Host": self._order.authority,
            **POST_HEADERS,
            "Content-Length": str(len(body)),
            "X-Hub-Signature": "sha1=" + hmac.digest(secret, body, "sha1").hex(),
            "X-Hub-Signature-256": sign(secret, body),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {self._order.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def _marks(template: Template, expected: list[list[int]], at: int) -> bytearray:
    marks = bytearray([Mark.ELSEWHERE] * template.changes)
    for place in expected[at] if expected else ():
        marks[place] = Mark.EXPECTED
    return marks


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _work_seconds() -> float:
    """Return for how long this process has had work: on a processor, or waiting for one."""
    try:
        running, waiting, *_ = SCHEDSTAT.read_text().split()
    except OSError:
        return time.process_time()
    return (int(running) + int(waiting)) / 1e9
