"""One run of the bench: a probe, the processes that send, the target that counts, and the figures."""

import os
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from gateway.core.routing import RoutingTable
from gateway.errors import PeerError
from gateway.settings.address import Address
from gateway.simulator.answers import explain_status
from gateway.simulator.bench.crew import Crew, processes_for
from gateway.simulator.bench.figures import Figures, Wanted
from gateway.simulator.bench.mix import (
    PROBE_WORKER,
    RUN_LETTERS,
    Template,
    expected_places,
    make_templates,
    stamp,
)
from gateway.simulator.bench.receiver import Receiver, Verified, expected_changes
from gateway.simulator.bench.tally import Order, Tally
from gateway.simulator.client import MetaClient

SILENT_SECONDS: Final = 10.0
"""Without a single 200 although requests are due, the run ends: nothing more is to be learned, and a gateway
that restarts is back within seconds."""
LOOK_SECONDS: Final = 0.25
"""Between two looks at what has come in: smooth to watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """The target that counts, and what it must get."""

    address: Address
    """Where to listen in the target's place."""
    table: RoutingTable | None
    """The routes of the gateway under test; None: everything must arrive."""
    app: str
    target: str
    settle_seconds: float
    """How long nothing may arrive, before what is missing counts as lost."""

    def expected(self, templates: tuple[Template, ...]) -> list[list[int]]:
        """Return for each template which of its changes must arrive."""
        if self.table is None:
            return [list(range(one.changes)) for one in templates]
        return [
            list(expected_places(one, app=self.app, table=self.table, target=self.target))
            for one in templates
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What to measure."""

    base_url: str
    path: str
    """With its query."""
    secret: bytes
    ca: Path | None
    system_trust: bool
    certificate: Path | None
    private_key: Path | None
    rate: float
    seconds: float
    connections: int
    processes: int | None
    """None: as many as the rate takes."""
    shares: dict[str, float]
    changes: int
    large_bytes: int
    now_ms: int
    counting: Counting | None

    @property
    def crew_size(self) -> int:
        wanted = processes_for(self.rate, os.cpu_count() or 1) if self.processes is None else self.processes
        return min(wanted, self.connections)

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            url=self.base_url + self.path.partition("?")[0],
            rate=self.rate,
            seconds=self.seconds,
            connections=self.connections,
            processes=self.crew_size,
        )


Watch = Callable[[str, Tally, int], None]
"""Told what is being done (`sending`, `settling`), how far it is, and how many changes have arrived."""


async def measure(course: Course, *, watch: Watch, interrupted: trio.Event) -> Figures:
    """Run it. Where `interrupted` is set, it ends early with the figures so far.

    Raises:
        PeerError: the first notification was not taken; nothing was measured.
        UsageError: a file cannot be used, or the target's address.
        GatewayError: a process of the client failed.
    """
    run = "".join(secrets.choice(string.ascii_letters) for _ in range(RUN_LETTERS))
    templates = make_templates(
        course.shares, changes=course.changes, large_bytes=course.large_bytes, now_ms=course.now_ms
    )
    counting = course.counting
    expected = counting.expected(templates) if counting is not None else []
    crew = Crew(_orders(course, run, expected))
    receiver = Receiver(run)
    ended = ""
    verified: Verified | None = None
    async with trio.open_nursery() as nursery:
        if counting is not None:
            await nursery.start(receiver.serve, counting.address)
        await _probe(course, templates[0].fill(stamp(run, PROBE_WORKER, 0)))
        ended = await _send(crew, receiver, watch, interrupted)
        if counting is not None:
            verified = await _settle(crew, receiver, counting.settle_seconds, watch, interrupted)
        nursery.cancel_scope.cancel()
    return Figures(
        wanted=course.wanted,
        tally=crew.tally(),
        verified=verified,
        ended=ended,
        interrupted=interrupted.is_set(),
    )


async def _probe(course: Course, body: bytes) -> None:
    """Send one notification as `gateway send` does, so that what is wrong has a sentence."""
    client = MetaClient(
        course.base_url,
        secret=course.secret,
        ca=course.ca,
        system_trust=course.system_trust,
        certificate=course.certificate,
        private_key=course.private_key,
    )
    async with client:
        exchange = await client.post(course.path, body)
    if exchange.status != 200:
        raise PeerError(
            f"{course.wanted.url} answered {exchange.status} to the first notification",
            remedy=explain_status(exchange.status),
        )


def _orders(course: Course, run: str, expected: list[list[int]]) -> list[Order]:
    parts = urlsplit(course.base_url)
    workers = course.crew_size
    return [
        Order(
            host=parts.hostname or "",
            port=parts.port or 443,
            authority=parts.netloc,
            path=course.path,
            secret=course.secret,
            ca=_text(course.ca),
            system_trust=course.system_trust,
            certificate=_text(course.certificate),
            private_key=_text(course.private_key),
            rate=course.rate,
            seconds=course.seconds,
            connections=course.connections // workers + (worker < course.connections % workers),
            worker=worker,
            workers=workers,
            run=run,
            shares=course.shares,
            changes=course.changes,
            large_bytes=course.large_bytes,
            now_ms=course.now_ms,
            expected=expected,
        )
        for worker in range(workers)
    ]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


async def _send(crew: Crew, receiver: Receiver, watch: Watch, interrupted: trio.Event) -> str:
    """Have the crew send; return why it ended before its time, if it did."""
    ended = ""
    started = trio.Event()

    async def look() -> None:
        nonlocal ended
        await started.wait()
        accepted, since = 0, trio.current_time()
        while True:
            await trio.sleep(LOOK_SECONDS)
            tally = crew.tally()
            watch("sending", tally, receiver.distinct)
            if tally.accepted > accepted or not tally.due:
                accepted, since = tally.accepted, trio.current_time()
            elif tally.due > accepted and trio.current_time() - since > SILENT_SECONDS and not crew.stopped:
                ended = f"nothing was answered 200 for {SILENT_SECONDS:g} s"
                await crew.stop()

    async def heed() -> None:
        await interrupted.wait()
        await crew.stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        nursery.start_soon(heed)
        await crew.run(started=started.set)
        nursery.cancel_scope.cancel()
    return ended


async def _settle(
    crew: Crew, receiver: Receiver, settle_seconds: float, watch: Watch, interrupted: trio.Event
) -> Verified:
    """Wait until all has arrived, or nothing more does."""
    marks = crew.marks()
    expected = expected_changes(marks)
    distinct, since = receiver.distinct, trio.current_time()
    while not interrupted.is_set() and trio.current_time() - since < settle_seconds:
        watch("settling", crew.tally(), receiver.distinct)
        # What else has arrived may be among those that are counted: the comparison decides.
        if receiver.distinct >= expected and not receiver.compare(marks).lost:
            break
        await trio.sleep(LOOK_SECONDS)
        if receiver.distinct != distinct:
            distinct, since = receiver.distinct, trio.current_time()
    return receiver.compare(marks)
