"""What an operator does to a running gateway: the admin port's actions, wired to spool and dead letters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

import trio

from gateway.admin.actions import ActionResult
from gateway.admin.requests import LettersRequest, ReplayKeptRequest
from gateway.core.routing import UNROUTED
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.discarding import Discarder
from gateway.delivery.kept_replay import KeptReplayer, Wanted, shown_step
from gateway.delivery.message import rfc3339
from gateway.delivery.replay import Known, Replayer, Result
from gateway.delivery.shared_letters import SharedLetters
from gateway.delivery.view import UNKNOWN, TargetView, next_attempt_ms, shown_view
from gateway.errors import SpoolUnavailableError, UsageError
from gateway.listing import ask_letters, shown_letter
from gateway.spool.contract import Place, Spool
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.whereabouts import Doing, Whereabouts
from gateway.tracing import Part, find_part, read_asked, recall, trace_letters

COUNTED_SECONDS: Final = 2.0
"""How old the number of listed dead letters may be: a hundred thousand are counted in some 20 ms."""
LOOK_SECONDS: Final = 2.5
"""For what a spool shows, in milliseconds as a rule. `gateway status` waits 5 s for this and for what other
gateways say, a scraper for two of these."""
BY_ADMIN_PORT: Final = "admin_port"
"""Who did it, in the audit log: whoever had the token."""


@contextmanager
def looking() -> Iterator[None]:
    """Bound a look into the spool: a database that hangs keeps nobody for as long as it keeps a write.

    Raises:
        SpoolUnavailableError: it took too long.
    """
    try:
        with trio.fail_after(LOOK_SECONDS):
            yield
    except trio.TooSlowError as error:
        raise SpoolUnavailableError(
            f"the spool has not answered within {LOOK_SECONDS:g} s", remedy="ask again in a moment"
        ) from error


class TargetControl(Protocol):
    """What can be seen of targets that are delivered to, and done to them."""

    def views(self) -> Mapping[str, TargetView]:
        """Return how each is."""
        ...

    def next_give_ups_ms(self, oldest_clock_ms: Mapping[str, int]) -> Mapping[str, int]:
        """Return per target when its next delivery is given up, from `Spool.oldest_clock_ms`."""
        ...

    async def pause(self, name: str, *, seconds: float | None, reason: str) -> None:
        """Leave one alone."""
        ...

    async def resume(self, name: str, *, rate_per_second: float | None) -> None:
        """Deliver to one again."""
        ...


class Operations:
    """The admin port's `Actions`. Each is on the audit log before it is done."""

    def __init__(
        self,
        *,
        known: Callable[[], Known],
        spool: Spool,
        dead_letters: DeadLetterStore,
        audit: AuditLog,
        metrics: Metrics,
        now_ms: Callable[[], int],
        control: TargetControl,
        whereabouts: Whereabouts | None = None,
        number: int = 0,
        shared: bool = False,
        letters: SharedLetters | None = None,
    ) -> None:
        """`known` is asked at every action: a reload changes what it returns. `whereabouts` says what targets
        have taken. `number` is the worker's. `shared`: other processes have the same spool; `letters`: the
        dead letters, where that spool is several gateways'."""
        self._shared = shared
        self._whereabouts = whereabouts or Whereabouts()
        self._number = number
        self._doing = self._whereabouts.doing
        self._control = control
        self._known = known
        self._spool = spool
        self._dead_letters = dead_letters
        self._audit = audit
        self._now_ms = now_ms
        self._letters = letters
        self._counted: Mapping[str, int] = {}
        self._counted_at = float("-inf")
        self._replayer = Replayer(spool=spool, store=dead_letters, known=known, now_ms=now_ms, shared=letters)
        self._kept_replayer = KeptReplayer(spool=spool, known=known, now_ms=now_ms)
        self._discarder = Discarder(
            spool=spool, dead_letters=dead_letters, metrics=metrics, now_ms=now_ms, shared=letters
        )

    async def status(self) -> Mapping[str, object]:
        """Return how each target is and what waits for it; of others, such as the configuration has lost,
        those of which there is something left."""
        now_ms = self._now_ms()
        configured = self._known().targets
        with looking():
            oldest = await self._spool.oldest_received_ms()
            pending = {**dict.fromkeys(sorted(configured), 0), **self._spool.pending()}
            dead, sizes = await self._count_letters(), self._spool.pending_bytes()
            give_ups = self._control.next_give_ups_ms(await self._spool.oldest_clock_ms())
            due = {name: await self._spool.next_due_ms(name) for name, count in pending.items() if count}
        views = self._control.views()
        return {
            "targets": {
                name: {
                    "pending": count,
                    "pending_bytes": sizes.get(name, 0),
                    "oldest_seconds": max(0, now_ms - oldest[name]) / 1000 if name in oldest else 0.0,
                    "next_attempt_at": self._next_attempt_at(views.get(name), due.get(name)),
                    "dead_letters": dead.get(name, 0),
                    **(shown_view(views[name]) if name in views else {}),
                    "next_give_up_at": _moment(give_ups.get(name)),
                    **_shown_doing(self._doing.get(name, Doing())),
                    **({"state": UNKNOWN} if self._is_lost(name, count) else {}),
                }
                for name, count in {**dict.fromkeys(dead, 0), **pending}.items()
                if name in configured or count or dead.get(name)
            }
        }

    async def _count_letters(self) -> Mapping[str, int]:
        """Count the dead letters: those that all gateways have listed, or the files of this one."""
        if self._letters is None:
            return self._dead_letters.counts()
        now_seconds = trio.current_time()
        if now_seconds - self._counted_at > COUNTED_SECONDS:
            self._counted = await self._letters.index.counts()
            self._counted_at = now_seconds
        return self._counted

    async def trace_part(self, text: str) -> Part:
        """Say what this process knows of what is asked."""
        return await find_part(
            read_asked(text),
            spool=self._spool,
            whereabouts=self._whereabouts,
            worker=self._number,
            targets=self._known().targets,
            shared=self._shared,
        )

    def recall(self, ids: Sequence[str]) -> Part:
        """Say what this process remembers of these notifications; what the spool has of them is known."""
        return recall(ids, self._whereabouts, worker=self._number, targets=self._known().targets)

    async def trace(self, text: str) -> Mapping[str, object]:
        """Follow a notification, or find those that hold a message id; see `admin.actions`."""
        asked, parts = read_asked(text), [await self.trace_part(text)]
        return await trace_letters(asked, parts, self._dead_letters, targets=self._known().targets)

    def _next_attempt_at(self, view: TargetView | None, due_ms: int | None) -> str | None:
        not_before_ms = None if view is None else view.not_before_ms
        at_ms = next_attempt_ms(not_before_ms, due_ms, self._now_ms())
        return None if at_ms is None else rfc3339(at_ms)

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Mapping[str, object]:
        """Leave a target alone; return how it is then."""
        self._demand(target)
        await self._record("pause", target=target, seconds=seconds, reason=reason)
        await self._control.pause(target, seconds=seconds, reason=reason)
        return shown_view(self._control.views()[target])

    async def resume(self, target: str, *, rate_per_second: float | None) -> Mapping[str, object]:
        """Deliver to a target again; return how it is then."""
        self._demand(target)
        await self._record("resume", target=target, rate_per_second=rate_per_second)
        await self._control.resume(target, rate_per_second=rate_per_second)
        return shown_view(self._control.views()[target])

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, object]:
        """Make dead letters of what waits for a target that the configuration lost; see `admin.actions`."""
        if not self._is_lost(target, self._spool.pending().get(target, 0)):
            raise UsageError(
                "nothing waits for a target of this name that the configuration has lost",
                remedy="see gateway targets list; to keep a target that is there from getting more, pause it",
            )
        await self._record("discard_target", target=target, limit=limit)
        discarded = await self._discarder.discard(target, limit=limit)
        return {"discarded": discarded, "left": self._spool.pending().get(target, 0)}

    def _is_lost(self, target: str, pending: int) -> bool:
        known = target == UNROUTED or target in self._known().targets or target in self._control.views()
        return pending > 0 and not known

    def _demand(self, target: str) -> None:
        known = self._control.views()
        if target not in known:
            raise UsageError("there is no such target", remedy=f"targets: {', '.join(sorted(known))}")

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Store dead letters again."""
        await self._record("replay", ids=list(ids), accept_edited=accept_edited)
        return _shown(await self._replayer.replay(ids, accept_edited=accept_edited))

    async def rehearse(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Say what a replay would do."""
        return _shown(await self._replayer.rehearse(ids, accept_edited=accept_edited))

    async def list_letters(self, asked: LettersRequest) -> Mapping[str, object]:
        """List dead letters that gateways share; see `admin.actions`."""
        return await ask_letters(self._demand_shared().index, asked)

    async def read_letter(self, identifier: str) -> Mapping[str, object]:
        """Return one of these; see `admin.actions`."""
        self._demand_shared()
        opened = await self._replayer.open(identifier)
        return shown_letter(opened, directory=self._dead_letters.directory)

    def _demand_shared(self) -> SharedLetters:
        if self._letters is None:
            raise UsageError(
                "the dead letters are this gateway's alone: its directory has them all",
                remedy=f"gateway dead-letters list reads {self._dead_letters.directory}",
            )
        return self._letters

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        """Remove dead letters for good."""
        await self._record("discard", ids=list(ids))
        return _shown(await self._replayer.discard(ids))

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, object]:
        """Send again a part of what is kept; see `admin.actions`."""
        wanted = Wanted(
            target=asked.target,
            since_ms=asked.since_ms,
            until_ms=asked.until_ms,
            app=asked.app,
            field=asked.field,
            kind=asked.kind,
            include_delivered=asked.include_delivered,
        )
        if wanted.target not in self._known().targets:
            raise UsageError(
                "there is no such target", remedy=f"targets: {', '.join(sorted(self._known().targets))}"
            )
        if not asked.dry_run:
            await self._record("replay_kept", **wanted.shown(), after=asked.after, limit=asked.limit)
        return shown_step(
            await self._kept_replayer.step(
                wanted, after=_place(asked.after), limit=asked.limit, dry_run=asked.dry_run
            )
        )

    async def _record(self, action: str, **fields: object) -> None:
        await trio.to_thread.run_sync(partial(self._audit.record, action, by=BY_ADMIN_PORT, **fields))


def _shown_doing(doing: Doing) -> Mapping[str, object]:
    return {
        "delivered": doing.delivered,
        "last_delivered_at": _moment(doing.last_delivered_ms),
    }


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def _place(after: tuple[int, ...] | None) -> Place | None:
    if after is None:
        return None
    if len(after) != 2:
        raise UsageError("there is no such place", remedy="begin anew")
    return (after[0], after[1])


def _shown(results: Mapping[str, Result]) -> Mapping[str, ActionResult]:
    return {
        name: ActionResult(result=result.word.value, detail=result.detail) for name, result in results.items()
    }
