"""The duplicates window in the file, inside the transaction of a batch (promises 3 and 4)."""

from typing import Final

import apsw

from gateway.spool import duplicates
from gateway.spool.contract import Appended
from gateway.spool.filters import KEY_BYTES, Filters
from gateway.spool.requests import Append
from gateway.spool.session import Draft, Session, json_rows
from gateway.spool.young_keys import PARTS, Generation, YoungKeys

FORGET_SLICE: Final = 512
"""Keys removed at once, besides as many as came in: a few milliseconds."""
FILTER_SLICE: Final = 256
"""Keys that a batch takes into a filter: a third of a millisecond, so that there is one even if it is never
quiet."""
FILTER_SLICE_IDLE: Final = 4096
"""Keys taken into a filter in one step of upkeep: 5 ms."""
PARTS_IDLE: Final = 4
"""Parts of a generation of young keys that one step of upkeep puts into their bucket: some milliseconds."""
ROWS_SLICE: Final = 128
"""Rows of young keys removed at once."""


class Window:
    """Which bodies have been accepted already: buckets in the file, filters before them, young keys in
    memory."""

    def __init__(self, file: Session, limits: duplicates.Limits) -> None:
        self._file = file
        self._limits = limits
        self._filters = Filters(file.rows("filters"))
        self._young = YoungKeys(file.rows("young_keys"), generation_keys=limits.young_keys)

    def adopt(self, draft: Draft) -> None:
        """Take over what a committed batch made of it."""
        self._filters.keep(draft.buckets)
        for generation, parts in draft.merged:
            self._young.merged(generation, parts)
        if draft.young is not None:
            bucket, keys = draft.young
            self._young.add(bucket, keys)
        if draft.rows_gone:
            self._young.rows_gone(draft.rows_gone)
        if draft.unlisted is not None:
            self._young.unlisted(draft.unlisted)

    def unseen(self, requests: list[Append], draft: Draft) -> list[Append]:
        """Return what is no duplicate, remembered; the others are marked."""
        if not self._limits.enabled:
            return requests
        self._tidy(draft, filter_keys=FILTER_SLICE)
        now_ms = max(request.notification.received_at_ms for request in requests)
        digests = [
            duplicates.digest(request.notification.body.app, request.notification.body.raw)
            for request in requests
        ]
        known = self._known(digests, duplicates.alive(draft.buckets, now_ms, self._limits))
        new: dict[bytes, Append] = {}
        for position, (key, request) in enumerate(zip(digests, requests, strict=True)):
            request.result = Appended.DUPLICATE
            if position not in known:
                new.setdefault(key, request)
        if new:
            self._remember(tuple(new), now_ms, draft)
        return list(new.values())

    def forget_excess(self, draft: Draft, now_ms: int) -> None:
        """Remove a slice of what need not be held."""
        self._forget(draft, now_ms, FORGET_SLICE)

    def wants_tidy(self, buckets: duplicates.Buckets) -> bool:
        """Whether young keys are to go into their bucket, or some bucket lacks its filter."""
        return (
            self._young.oldest() is not None
            or self._young.rows_to_go > 0
            or self._filters.wanted(buckets) is not None
            or self._filters.to_store(buckets) is not None
        )

    def tidy(self, draft: Draft) -> None:
        """Do a step of upkeep."""
        self._tidy(draft, filter_keys=FILTER_SLICE_IDLE, parts=PARTS_IDLE)

    def _tidy(self, draft: Draft, *, filter_keys: int, parts: int = 0) -> None:
        """At the start of a batch: what is asked is the state of the last commit."""
        generation = self._young.oldest()
        if generation is not None:
            owed = parts or self._young.parts_owed(generation)
            self._merge(generation, min(owed, PARTS - generation.merged_parts), draft)
        elif self._young.rows_to_go:
            draft.rows_gone = self._young.first_row + min(self._young.rows_to_go, ROWS_SLICE) - 1
            self._file.do("forget_young_keys", draft.rows_gone)
        elif (wanted := self._filters.wanted(draft.buckets)) is not None:
            self._go_on_with_filter(*wanted, filter_keys, draft)
        elif (bucket := self._filters.to_store(draft.buckets)) is not None:
            self._file.do("put_filter", bucket.id, self._filters.folded(bucket))

    def _go_on_with_filter(self, bucket: duplicates.Bucket, after: bytes, limit: int, draft: Draft) -> None:
        [(keys,)] = self._file.rows("keys_after", bucket.id, after, limit)
        room = self._limits.bucket_keys if bucket.id == draft.buckets[-1].id else bucket.keys
        self._filters.take_in(bucket, keys, room=room)
        if len(keys) < limit * KEY_BYTES:
            self._filters.finish(bucket)

    def _merge(self, generation: Generation, parts: int, draft: Draft) -> None:
        """Put the next parts of a generation into their bucket."""
        if not parts:
            return
        done = generation.merged_parts + sum(n for one, n in draft.merged if one is generation)
        for number in range(done, done + parts):
            if keys := generation.part(number):
                self._put(generation.bucket, tuple(keys))
        draft.merged.append((generation, parts))

    def _put(self, bucket: int, keys: tuple[bytes, ...]) -> None:
        self._file.do("remember_digests", bucket, apsw.carray(keys))
        self._filters.add(bucket, keys)

    def _put_all(self, bucket: int, draft: Draft) -> None:
        """Put all young keys of a bucket there, and off the list: it is about to lose some."""
        if not self._young.is_listed(bucket):
            return
        for generation in self._young.of(bucket):
            done = generation.merged_parts + sum(n for one, n in draft.merged if one is generation)
            self._merge(generation, PARTS - done, draft)
        self._file.do("unlist_young_keys", bucket)
        draft.unlisted = bucket

    def _known(self, digests: list[bytes], alive: list[int]) -> set[int]:
        """Return the positions of those that one of the buckets has."""
        known = self._young.known(digests, alive)
        plain = [id_ for id_ in alive if id_ not in self._filters]
        if plain:
            known |= self._look_up(digests, plain)
        positions, buckets = self._filters.candidates(digests, alive)
        if positions:
            found = self._look_up([digests[position] for position in positions], sorted(buckets))
            known |= {positions[index] for index in found}
        return known

    def _look_up(self, digests: list[bytes], buckets: list[int]) -> set[int]:
        rows = self._file.rows("known_digests", apsw.carray(tuple(digests)), json_rows(buckets))
        return {row[0] for row in rows}

    def _remember(self, keys: tuple[bytes, ...], now_ms: int, draft: Draft) -> None:
        draft.buckets = duplicates.with_current(draft.buckets, now_ms, self._limits)
        current = draft.buckets[-1]
        if not current.keys:
            self._filters.begin(current, room=self._limits.bucket_keys)
        draft.buckets = duplicates.with_keys(draft.buckets, current.id, len(keys))
        last = draft.buckets[-1]
        self._file.do("put_bucket", last.id, last.start_ms, last.end_ms, last.keys)
        excess = duplicates.excess(draft.buckets, now_ms, self._limits)
        if excess is not None and excess.bucket.id == current.id:
            # So few are allowed that some of these have to go at once.
            self._put(current.id, keys)
        else:
            self._file.do("add_young_keys", self._young.next_row, current.id, b"".join(keys))
            draft.young = (current.id, keys)
        self._forget(draft, now_ms, FORGET_SLICE + len(keys))

    def _forget(self, draft: Draft, now_ms: int, limit: int) -> None:
        excess = duplicates.excess(draft.buckets, now_ms, self._limits)
        if excess is None:
            return
        wanted = min(limit, excess.keys)
        bucket = excess.bucket
        self._put_all(bucket.id, draft)
        self._file.do("forget_digests", bucket.id, wanted)
        removed = self._file.changes()
        draft.buckets = duplicates.with_keys(
            draft.buckets, bucket.id, -wanted if removed == wanted else -bucket.keys
        )
        left = next((other for other in draft.buckets if other.id == bucket.id), None)
        if left is None:
            self._file.do("drop_bucket", bucket.id)
            self._file.do("drop_filter", bucket.id)
        else:
            self._file.do("put_bucket", left.id, left.start_ms, left.end_ms, left.keys)
