"""One batch of requests becomes one transaction. Runs on a writer thread; knows PostgreSQL, not Trio.

Two of these work side by side, each on a connection of its own: one takes in, one leases and settles. So an
acknowledgement never waits for the bookkeeping of deliveries, and the server joins their commits.

What a batch changes in memory is a draft until the commit. Where the connection is lost at the commit, what
the commit did is not known: appends are done again, or fail and Meta comes again, and the duplicates window
tells; leases end by themselves; settlements are tried again, and find their token gone. What it has added up
is read on the next connection.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Remembered
from gateway.spool.duplicates import Limits, alive
from gateway.spool.postgresql import storing
from gateway.spool.postgresql.keeping import Keeping
from gateway.spool.postgresql.leasing import Leasing
from gateway.spool.postgresql.link import Link, arrays
from gateway.spool.postgresql.partitions import Days
from gateway.spool.postgresql.pauses import read_pauses, write_pauses
from gateway.spool.postgresql.session import DAY_MS, Draft, Session
from gateway.spool.postgresql.tracing import find_mentions, trace
from gateway.spool.postgresql.troubles import ContendedError, LinkHungError, LinkLostError
from gateway.spool.postgresql.window import SHARE_BUCKET, Window
from gateway.spool.requests import (
    Append,
    AskKept,
    AskLetters,
    Effects,
    FindMentions,
    GetKept,
    GetPauses,
    Hasten,
    NextDue,
    Oldest,
    OldestClock,
    OldestKept,
    Request,
    Restore,
    SendAgain,
    SetPauses,
    Settle,
    Take,
    TakeOldest,
    Trace,
    forget_answers,
)
from gateway.spool.sparing import STORING, run_sparing

INTAKE: Final = (*STORING, SetPauses)
"""What the engine that takes in is asked."""
CONTENDED_TRIES: Final = 5
"""How often a batch is begun that lost to another gateway's (the same id, a deadlock)."""
SETTING_UP: Final = 4
"""How often a batch is begun where a day or a bucket has to be made first, with room for a lost race."""


class Engine:
    """A connection to the spool, on the thread that writes by it."""

    def __init__(
        self, link: Link, *, writer: int, limits: Limits, keep_ms: int, days: Days, now_ms: Callable[[], int]
    ) -> None:
        self._link = link
        self._writer = writer
        self._window = Window(limits, writer)
        self._days = days
        self._keeping = Keeping(keep_ms=keep_ms)
        self._leasing = Leasing(self._keeping)
        self._now_ms = now_ms
        self._newest: int | None = None
        """Bucket, as of the last transaction that shares it."""
        self._clock_ahead_ms: float | None = None
        """The clock of the database less the monotonic one of ours, as of the last transaction."""
        self._counted: dict[str, tuple[int, int]] = {}
        """By target, the deliveries and bytes that this writer has told of."""
        self._counted_on = 0
        """The connection on which that was held against the writer's account."""

    def learn(self) -> None:
        """Look at the database for the first time. Raises as `Link.rows`."""
        self._link.open()
        self._window.learn(self._link)

    def try_again(self) -> None:
        """Connect, if need be, without regard to a failure a moment ago; from any thread."""
        self._link.try_again()

    def remembered(self, now_ms: int) -> Remembered:
        """Say how far back the duplicates window reaches; from any thread."""
        return self._window.remembered(now_ms)

    def run(self, batch: list[Request]) -> Effects:
        """Do a batch; every request gets its result or its error.

        Raises:
            SpoolBrokenError: the database failed; nothing may be tried again.
        """
        return run_sparing(batch, self._in_transaction, fails_whole=(LinkLostError,))

    def tidy(self, now_ms: int) -> bool:
        """Forget a slice of what is kept past its time; False where there is none left. Raises as `run`."""
        del now_ms  # the database has a clock of its own
        if not self._keeping.has_work:
            return False
        with self._begun(Draft()) as session:
            return self._keeping.wants_tidy(session) and self._keeping.tidy(session)

    def checkpoint(self) -> None:
        """PostgreSQL looks after its log itself."""

    def wal_pages(self) -> int:
        """See `checkpoint`."""
        return 0

    def close(self, *, clean: bool) -> None:
        """Give back what is leased, and the account; then close."""
        try:
            if clean:
                with self._begun(Draft()) as session:
                    self._leasing.let_go(session)
                    session.rows("fold_writers", writers=[self._writer], silent_ms=2**53)
        finally:
            self._link.close()

    # -- one transaction

    def _in_transaction(self, batch: list[Request]) -> Effects:
        for last in (False,) * (CONTENDED_TRIES - 1) + (True,):
            try:
                return self._once(batch)
            except ContendedError:
                if last:
                    raise
                forget_answers(batch)
        raise AssertionError("unreachable")

    def _once(self, batch: list[Request]) -> Effects:
        appends = [request for request in batch if isinstance(request, Append)]
        if len(appends) == len(batch) and (draft := self._in_one_go(appends)) is not None:
            return self._effects(draft)
        for _ in range(SETTING_UP):
            draft = Draft()
            with self._begun(draft, shares=bool(appends)) as session:
                if any(isinstance(request, STORING) for request in batch) and not self._days.known(
                    session.day
                ):
                    missing: int | None = session.day
                elif appends and not self._enter_window(appends, session):
                    missing = None
                else:
                    self._steps(batch, appends, session)
                    break
            if missing is None:
                self._window.open_bucket(self._link, _latest_ms(appends))
            else:
                self._days.make(self._link, missing)
        else:
            raise SpoolUnavailableError("the database changes under the gateway's hands")
        self._leasing.adopt(draft)
        return self._effects(draft)

    def _in_one_go(self, appends: list[Append]) -> Draft | None:
        """Do a batch in one round trip, where nothing has to be looked up first; None: something has, and
        nothing was stored."""
        now_ms = _latest_ms(appends)
        limits = self._window.limits
        day = self._today()
        if (
            day is None
            or self._counted_on != self._link.opened
            or (limits.enabled and not self._window.is_known(now_ms))
            or _have_turns(appends)
        ):
            return None
        draft = Draft()
        if limits.enabled:
            draft.buckets = self._window.buckets
            draft.alive = alive(draft.buckets, now_ms, limits)
        try:
            clock_ms = storing.append_in_one_go(appends, self._link, draft, day=day, writer=self._writer)
        except LinkLostError as error:
            if isinstance(error, LinkHungError):
                raise
            # It had died while it was idle; or all was done, and is repeated: as Meta would.
            return None
        except BaseException:
            self._link.rollback()
            raise
        if clock_ms is None:
            return None
        self._note_clock(clock_ms)
        return draft

    def _effects(self, draft: Draft) -> Effects:
        if draft.buckets:
            self._window.adopt(draft.buckets)
        for target, change in draft.pending.items():
            deliveries, size_bytes = self._counted.get(target, (0, 0))
            self._counted[target] = (deliveries + change, size_bytes + draft.pending_bytes[target])
        if draft.wrote and draft.is_counted:
            self._counted_on = self._link.opened
        return Effects(
            pending=draft.pending,
            pending_bytes=draft.pending_bytes,
            ready=frozenset(draft.ready),
            stored=draft.stored,
            wrote=draft.wrote,
        )

    @contextmanager
    def _begun(self, draft: Draft, *, shares: bool = False) -> Iterator[Session]:
        """Have a transaction around, committed where nothing is raised. `shares`: it keeps the newest bucket
        of the window open."""
        try:
            clock_ms, self._newest = self._begin(SHARE_BUCKET if shares else "SELECT clock_ms(), NULL")
            yield Session(self._link, draft, writer=self._writer, own_ms=self._now_ms(), clock_ms=clock_ms)
            self._link.execute("COMMIT")
        except BaseException:
            self._link.rollback()
            raise

    def _begin(self, first: str) -> tuple[int, int | None]:
        """Begin, on a new connection where the old one has died while it was idle; the database's clock, and
        its newest bucket."""
        for last in (False, True):
            self._link.open()
            try:
                [(clock_ms, newest)] = self._link.execute(f"BEGIN; {first}")
            except LinkLostError as error:
                if last or isinstance(error, LinkHungError):
                    raise
            else:
                self._note_clock(clock_ms)
                return int(clock_ms), newest
        raise AssertionError("unreachable")

    def _note_clock(self, clock_ms: int) -> None:
        self._clock_ahead_ms = clock_ms - time.monotonic() * 1000

    def _today(self) -> int | None:
        """Return the day of the database, by what it said last, if that has a partition."""
        if self._clock_ahead_ms is None:
            return None
        day = int(self._clock_ahead_ms + time.monotonic() * 1000) // DAY_MS
        return day if self._days.known(day) else None

    def _enter_window(self, appends: Sequence[Append], session: Session) -> bool:
        """Have the draft say which buckets there are; False where another has to be opened first."""
        if not self._window.limits.enabled:
            return True
        now_ms = _latest_ms(appends)
        is_fit = self._window.enter(self._link, now_ms, self._newest)
        session.draft.buckets = self._window.buckets
        session.draft.alive = alive(self._window.buckets, now_ms, self._window.limits)
        return is_fit or storing.are_known(appends, session)

    def _steps(self, batch: list[Request], appends: list[Append], session: Session) -> None:
        self._leasing.settle([request for request in batch if isinstance(request, Settle)], session)
        storing.append(appends, session)
        for request in batch:
            if isinstance(request, Restore):
                storing.restore(request, session)
            elif isinstance(request, SendAgain):
                storing.send_again(request, session)
        for request in batch:
            if isinstance(request, Take):
                self._leasing.take(request, session)
            elif isinstance(request, TakeOldest):
                self._leasing.take_oldest(request, session)
        for request in batch:
            self._answer(request, session)
        self._book(session)

    def _answer(self, request: Request, session: Session) -> None:
        """Do what asks or changes nothing of deliveries."""
        if isinstance(request, NextDue):
            request.result = self._leasing.next_due(request.target, session)
        elif isinstance(request, Hasten):
            request.result = self._leasing.hasten(request, session)
        elif isinstance(request, Oldest | OldestClock):
            name = "oldest" if isinstance(request, Oldest) else "oldest_clock"
            rows = session.rows(name, targets=list(request.targets))
            request.result = {target: at_ms for target, at_ms in rows if at_ms is not None}
        elif isinstance(request, GetKept):
            self._keeping.get(request, session)
        elif isinstance(request, AskKept):
            self._keeping.ask(request, session)
        elif isinstance(request, OldestKept):
            request.result = self._keeping.oldest_ms(session)
        elif isinstance(request, Trace):
            request.result = trace(session, request.notification_id)
        elif isinstance(request, FindMentions):
            request.result = find_mentions(session, request)
        elif isinstance(request, AskLetters):
            session.draft.wrote = session.draft.wrote or request.writes
            request.result = request.ask(session.rows)
        elif isinstance(request, SetPauses):
            session.draft.wrote = True
            write_pauses(request, session.link)
        elif isinstance(request, GetPauses):
            request.result = read_pauses(session.link)

    def _book(self, session: Session) -> None:
        """Book what came and went on this writer's own account."""
        changed = [
            (target, deliveries, size_bytes)
            for target, (deliveries, size_bytes) in sorted(session.draft.to_book.items())
        ]
        if changed:
            columns = arrays(changed, "target", "deliveries", "bytes")
            session.rows("book", writer=self._writer, **columns)
        if session.draft.wrote and self._counted_on != self._link.opened:
            self._recount(session)

    def _recount(self, session: Session) -> None:
        """Count what a commit did whose answer was lost with its connection."""
        draft = session.draft
        account = {target: row for target, *row in session.rows("account", writer=self._writer)}
        for target in account.keys() | self._counted.keys():
            deliveries, size_bytes = account.get(target, (0, 0))
            if deliveries is None:
                draft.is_counted = False  # the next transaction looks again
                continue
            counted, counted_bytes = self._counted.get(target, (0, 0))
            missing = deliveries - counted - draft.pending.get(target, 0)
            missing_bytes = size_bytes - counted_bytes - draft.pending_bytes.get(target, 0)
            if missing or missing_bytes:
                draft.count(target, missing, missing_bytes, booked=True)
                draft.ready.add(target)


def _have_turns(appends: Sequence[Append]) -> bool:
    return any(new.order_keys for request in appends for new in request.notification.deliveries)


def _latest_ms(appends: Sequence[Append]) -> int:
    return max(request.notification.received_at_ms for request in appends)
