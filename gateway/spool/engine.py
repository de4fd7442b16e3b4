"""One batch of requests becomes one transaction. Runs on the writer thread; knows SQLite, not Trio.

What a batch changes in memory is a draft until the commit: a batch that fails leaves no trace (promises 3,
15). Within a batch: settlements, then appends and restores, then leases, then questions. All callers of a
batch wait at the same time, so any order is one that they may have had.
"""

import time
from collections.abc import Callable
from pathlib import Path

import apsw

from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError
from gateway.spool import duplicates
from gateway.spool.at_hand import AtHand
from gateway.spool.contract import Offer, Remembered
from gateway.spool.database import close_database, translate
from gateway.spool.keeping import Keeping
from gateway.spool.leasing import Leasing
from gateway.spool.pauses import read_pauses, write_pauses
from gateway.spool.requests import (
    Append,
    AskKept,
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
)
from gateway.spool.session import NEVER_MS, Draft, Session, json_rows
from gateway.spool.sparing import run_sparing
from gateway.spool.storing import Storing
from gateway.spool.tracing import find_mentions, trace
from gateway.spool.window import Window

_VACUUM_PAGES = 256
"""Pages given back to the file system in one idle step: 1 MiB, some milliseconds."""
_SPARE_PAGES = 4096
"""Free pages kept in the file for the next wave: 16 MiB."""


class Engine:
    """The spool file, on the thread that writes it."""

    def __init__(
        self,
        connection: apsw.Connection,
        path: Path,
        limits: duplicates.Limits,
        *,
        keep_ms: int = 0,
        min_free_bytes: int = 0,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        """`keep_ms`: how long what was delivered is kept; `now_ms` is asked while that is not 0."""
        self._file = Session(connection, path)
        self._limits = limits
        try:
            self._window = Window(self._file, limits)
            self._keeping = Keeping(
                self._file,
                keep_ms=keep_ms,
                min_free_bytes=min_free_bytes,
                now_ms=now_ms,
                monotonic=time.monotonic,
            )
            self._leasing = (
                Leasing(self._file, keep=self._keeping.keep)
                if self._keeping.has_work
                else Leasing(self._file)
            )
            self._at_hand = AtHand(self._file, self._leasing.token)
            self._storing = Storing(self._file, self._window, self._at_hand)
            self._next_seq = int(self._file.rows("last_seq")[0][0]) + 1
            self._buckets = tuple(
                duplicates.Bucket(id=row[0], start_ms=row[1], end_ms=row[2], keys=row[3])
                for row in self._file.rows("buckets")
            )
            found = self._file.rows("count_pending")
            self.pending: dict[str, int] = {target: count for target, count, _ in found}
            """Deliveries by target as found at open."""
            self.pending_bytes: dict[str, int] = {target: size for target, _, size in found}
            """Bytes of their notifications."""
        except apsw.Error as error:
            raise translate(error, path) from error

    def offer(self, offer: Offer) -> None:
        """Take an offer in place of the last one for its target; on whatever thread."""
        self._at_hand.offer(offer)

    @property
    def buckets(self) -> duplicates.Buckets:
        """Those of the duplicates window, as of the last commit."""
        return self._buckets

    def remembered(self, now_ms: int) -> Remembered:
        """Say how far back the duplicates window reaches, as of the last commit; from any thread."""
        buckets = self._buckets  # a tuple, replaced as a whole
        return Remembered(
            keys=sum(bucket.keys for bucket in buckets),
            since_ms=duplicates.kept_since_ms(buckets, now_ms, self._limits),
        )

    def run(self, batch: list[Request]) -> Effects:
        """Do a batch; every request gets its result or its error.

        Raises:
            SpoolBrokenError: the disk or the file failed; nothing may be tried again.
        """
        return run_sparing(batch, lambda part: self._in_transaction(lambda draft: self._steps(part, draft)))

    def tidy(self, now_ms: int) -> bool:
        """Do one small step of upkeep: forget old keys, put young ones into their buckets, make filters,
        give pages back.

        False where there is none left to do.

        Raises:
            SpoolUnavailableError: no room for it now.
            SpoolBrokenError: as `run`.
        """
        if duplicates.excess(self._buckets, now_ms, self._limits) is not None:
            self._in_transaction(lambda draft: self._window.forget_excess(draft, now_ms))
            return True
        try:
            has_stale = self._keeping.wants_tidy()
        except apsw.Error as error:
            raise self._after_failure(error) from error
        if has_stale:
            self._in_transaction(self._keeping.tidy)
            return True
        if self._window.wants_tidy(self._buckets):
            self._in_transaction(self._window.tidy)
            return True
        try:
            if self._file.connection.pragma("freelist_count") <= _SPARE_PAGES:
                return False
            self._file.connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
        except apsw.Error as error:
            raise self._after_failure(error) from error
        return True

    def checkpoint(self) -> None:
        """Move the log into the main file, both synced. Raises like `tidy`."""
        try:
            self._file.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            raise self._after_failure(error) from error

    def wal_pages(self) -> int:
        """Return how many pages of the log are not in the main file yet. Raises like `tidy`."""
        try:
            written, moved = self._file.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        except apsw.Error as error:
            raise self._after_failure(error) from error
        return written - moved

    def close(self, *, clean: bool) -> None:
        """Close the file. Raises like `tidy`; then it is closed without the checkpoint."""
        try:
            close_database(self._file.connection, clean=clean)
        except apsw.Error as error:
            close_database(self._file.connection, clean=False)
            raise translate(error, self._file.path) from error

    # -- one transaction

    def _in_transaction(self, steps: Callable[[Draft], None]) -> Effects:
        draft = Draft(next_seq=self._next_seq, buckets=self._buckets)
        before = self._file.connection.total_changes()
        try:
            self._file.connection.execute("BEGIN IMMEDIATE")
            steps(draft)
            self._file.connection.execute("COMMIT")
        except apsw.Error as error:
            raise self._after_failure(error) from error
        self._next_seq = draft.next_seq
        self._buckets = draft.buckets
        self._window.adopt(draft)
        self._leasing.adopt(draft)
        self._at_hand.adopt(draft)
        return Effects(
            pending=draft.pending,
            pending_bytes=draft.pending_bytes,
            ready=frozenset(draft.ready),
            fresh=tuple(draft.fresh),
            stored=draft.stored,
            wrote=self._file.connection.total_changes() != before,
        )

    def _steps(self, batch: list[Request], draft: Draft) -> None:
        self._leasing.settle([request for request in batch if isinstance(request, Settle)], draft)
        takes = [request for request in batch if isinstance(request, Take)]
        self._storing.append([request for request in batch if isinstance(request, Append)], takes, draft)
        for request in batch:
            if isinstance(request, Restore):
                self._storing.restore(request, draft)
            elif isinstance(request, SendAgain):
                self._keeping.send_again(request, draft)
        for request in batch:
            if isinstance(request, Take) and not request.is_done:
                self._leasing.take(request, draft)
            elif isinstance(request, TakeOldest):
                self._leasing.take_oldest(request, draft)
        for request in batch:
            self._answer(request, draft)

    def _answer(self, request: Request, draft: Draft) -> None:
        """Do what asks or changes nothing of deliveries."""
        if isinstance(request, NextDue):
            due_ms = self._at_hand.next_due(request.target, draft)
            if due_ms is None:
                due_ms = self._leasing.next_due(request.target, draft)
            request.result = None if due_ms >= NEVER_MS else due_ms
        elif isinstance(request, Hasten):
            request.result = self._leasing.hasten(request, draft)
        elif isinstance(request, Oldest | OldestClock):
            name = "oldest" if isinstance(request, Oldest) else "oldest_clock"
            rows = self._file.rows(name, json_rows(request.targets))
            request.result = {target: at_ms for target, at_ms in rows if at_ms is not None}
        elif isinstance(request, GetKept):
            self._keeping.get(request)
        elif isinstance(request, AskKept):
            self._keeping.ask(request)
        elif isinstance(request, OldestKept):
            request.result = self._keeping.oldest_ms()
        elif isinstance(request, Trace):
            request.result = trace(self._file, request.notification_id)
        elif isinstance(request, FindMentions):
            request.result = find_mentions(self._file, request)
        elif isinstance(request, SetPauses):
            write_pauses(self._file, request)
        elif isinstance(request, GetPauses):
            request.result = read_pauses(self._file)

    def _after_failure(self, error: apsw.Error) -> GatewayError:
        """Roll back where that is safe, and say what the failure means."""
        ours = translate(error, self._file.path)
        if not isinstance(ours, SpoolUnavailableError):
            # After EIO or damage the connection is left as it is: not one more write.
            return ours if isinstance(ours, SpoolBrokenError) else self._file.damaged(str(error))
        try:
            if not self._file.connection.get_autocommit():
                self._file.connection.execute("ROLLBACK")
        except apsw.Error as worse:
            return self._file.damaged(f"no rollback after {error}: {worse}")
        return ours
