"""What was delivered, kept for another sending (promises 26 to 28), inside the transaction of a batch.

A delivery that is kept stands in a table of its own, and its notification counts it like one that waits: so
the body stays with the last of either. Where `spool.keep_delivered` is 0s nothing of this is ever asked but
once at open, and a settlement costs what it costs without it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateway.spool.contract import KeptStates
from gateway.spool.requests import AskKept, GetKept, SendAgain
from gateway.spool.session import NOT_STARTED, WAITS_FOR_ANOTHER_MS, Draft, Key, Session, json_rows
from gateway.spool.stored_forms import kept_of, selection_text

FORGET_SLICE: Final = 512
"""Kept deliveries forgotten at once, besides as many as came: some milliseconds."""
PAGE_BYTES: Final = 4 * 1024**2
"""Bodies of one page: more would hold up the writer thread, and memory."""
LOOK_SECONDS: Final = 1.0
"""How old a look at the file system may be."""
SPARE: Final = 2
"""Times `min_free`: below that much free space what is kept gives way, so that it never shuts the door."""


class Keeping:
    """Keeps what has been delivered, gives it out, and forgets it in time."""

    def __init__(
        self,
        file: Session,
        *,
        keep_ms: int,
        min_free_bytes: int,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._file = file
        self._keep_ms = keep_ms
        self._min_free_bytes = min_free_bytes
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._short = False
        self.has_work = keep_ms > 0 or bool(file.rows("any_kept")[0][0])
        """Whether something may be there: with 0s, what an earlier setting has left."""

    def keep(self, delivered: list[Key]) -> None:
        """Keep deliveries that are about to be removed (26); called before they are."""
        if not delivered or not self.has_work:
            return
        if self._keep_ms and not self._is_short():
            self._file.do("keep_deliveries", self._now_ms(), json_rows(delivered))
            self._file.expect_changes(len(delivered), "deliveries to keep")
        self._forget(FORGET_SLICE + len(delivered))

    def wants_tidy(self) -> bool:
        """Whether something is kept that is past its time, or that there is no room for."""
        if not self.has_work:
            return False
        [(oldest_ms,)] = self._file.rows("oldest_kept")
        self.has_work = self._keep_ms > 0 or oldest_ms is not None
        return oldest_ms is not None and oldest_ms <= self._forget_until_ms()

    def tidy(self, _: Draft) -> None:
        """Forget a slice of it."""
        self._forget(FORGET_SLICE)

    def oldest_ms(self) -> int | None:
        """Return when the oldest of what is kept was delivered."""
        if not self.has_work:
            return None
        [(oldest_ms,)] = self._file.rows("oldest_kept")
        return oldest_ms if oldest_ms is None else int(oldest_ms)

    def get(self, request: GetKept) -> None:
        """Give out a page (27)."""
        received_ms, seq = request.after or (request.since_ms - 1, 2**62)
        found = self._file.rows("kept_page", received_ms, seq, request.until_ms, request.limit)
        rows: list[tuple[Any, ...]] = []
        size_bytes = 0
        for row in found:
            if row[2] is None:
                raise self._file.damaged("a delivery that is kept has lost its notification")
            size_bytes += row[5]
            if rows and size_bytes > PAGE_BYTES:
                break
            rows.append(row)
        bodies = dict(self._file.rows("bodies", json_rows([row[1] for row in rows])))
        request.result = tuple(kept_of(row, bodies.get(row[1])) for row in rows)

    def ask(self, request: AskKept) -> None:
        """Say which of some ids wait, and which are kept."""
        ids = json_rows(request.ids)
        request.result = KeptStates(
            waiting=frozenset(row[0] for row in self._file.rows("pending_ids", ids)),
            kept=frozenset(row[0] for row in self._file.rows("kept_ids", ids)),
        )

    def send_again(self, request: SendAgain, draft: Draft) -> None:
        """Make deliveries of what is kept (28)."""
        wanted = {new.id: (kept, new) for kept, new in request.items}
        asked = [
            (kept.place[1], kept.notification_id, id_, new.target) for id_, (kept, new) in wanted.items()
        ]
        places = self._file.rows("places_again", json_rows(asked))
        ids = list(wanted)
        rows: list[tuple[object, ...]] = []
        taken_back: list[tuple[int, int, int]] = []
        seqs: list[int] = []
        free: dict[int, int] = {}
        turns: list[tuple[object, ...]] = []
        for index, received_ms, seq, raw_bytes, position, next_position in places:
            id_ = ids[index]
            new = wanted[id_][1]
            if position is None:
                position = max(next_position, free.get(seq, 0))
                free[seq] = position + 1
            else:
                taken_back.append((received_ms, seq, position))
            chosen = selection_text(new.selection)
            clock_ms = request.clock_started_ms
            rows.append(
                (
                    *(new.target, received_ms, seq, position, id_, chosen, clock_ms, new.changes, new.lane),
                    *NOT_STARTED,
                )
            )
            seqs.append(seq)
            turns += ((new.target, key, seq, position) for key in new.order_keys)
            draft.count(new.target, 1, raw_bytes)
            draft.wake(new.target)
        request.result = frozenset(str(row[4]) for row in rows)
        if not rows:
            return
        draft.stored = True
        self._file.do("count_again", json_rows(seqs))
        self._file.do_each("add_deliveries", rows)
        if turns:
            self._queue_up(turns, [row[:4] for row in rows])
        if taken_back:
            self._file.do("forget_these", json_rows(taken_back))
            self._file.expect_changes(len(taken_back), "kept deliveries to take back")

    def _queue_up(self, turns: list[tuple[object, ...]], rows: list[tuple[object, ...]]) -> None:
        """Give back their turns to deliveries with order; who was the first until now steps back (24)."""
        keys = list(dict.fromkeys(turn[:2] for turn in turns))
        firsts = self._file.rows("firsts", json_rows(keys))
        self._file.do("add_turns", json_rows(turns))
        self._file.do("queue_up", WAITS_FOR_ANOTHER_MS, json_rows(rows))
        if firsts:
            self._file.do("step_back", WAITS_FOR_ANOTHER_MS, json_rows(firsts))

    def _forget(self, limit: int) -> None:
        self._file.do("forget_kept", self._forget_until_ms(), limit)

    def _forget_until_ms(self) -> int:
        return 2**62 if self._is_short() else self._now_ms() - self._keep_ms

    def _is_short(self) -> bool:
        """Whether what is kept must give way to what comes in."""
        now = self._monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._short = _free_bytes(self._file.path) < self._min_free_bytes * SPARE
        return self._short


def _free_bytes(path: Path) -> float:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return float("inf")  # that there is no directory is told elsewhere (room.py)
    return found.f_bavail * found.f_frsize
