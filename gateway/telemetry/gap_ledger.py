"""The gap ledger: per app, WABA, phone number id and field, when something last came, how often it usually
does, how late it was by Meta's own clock, and what of it targets have taken.

Theory of operation. `note` stands on the way of every acknowledgement, so it does what an addition costs: it
finds the slot of a change, counts, and sets a time (the counters of the metrics hang on the slot, so that
they are not looked up a second time). The first notification of a slot since the last `fold` is put aside;
`fold`, every few seconds, reads Meta's timestamp from those, and brings intervals and hours up to date.

Strangers cannot write here: only what was verified and stored is noted. Nor can Meta fill the memory: there
are `SLOTS` slots, and what is beyond them goes into one that bears `other` for its WABA and phone number.

On the Trio thread alone.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.change import Change
from gateway.core.fields import OTHER, metric_field, metric_object
from gateway.core.heard import HOUR_MS, Heard, Slot, Way, running_median
from gateway.core.meta_time import meta_time_ms
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.series import CounterSeries, GaugeSeries
from gateway.telemetry.state_file import read_state

GAP_LEDGER: Final = "gap-ledger"
"""The stem of the file (`state_file`), in the parent directory of the spool's."""
MAX_FILE_BYTES: Final = 16 * 1024**2
"""Two thousand slots and some sixty fields an app are a few megabytes at most."""

SLOTS: Final = 2000
"""Triples of WABA, phone number and field: some hundred bytes each, and what a page can list."""
KNOWN_WAYS: Final = 8192
"""Ids and fields whose slot is remembered, those that share one included; emptied rather than let grow."""
LONGEST_NAME: Final = 64
"""Characters of an id or a field; what is longer is none of Meta's, and goes under `other`."""
TARGETS: Final = 64
"""Of one slot."""
FORGOTTEN_MS: Final = 60 * 24 * HOUR_MS
"""A slot that has not been heard of for so long gives way where there are too many."""

SAMPLES: Final = 200
"""Notifications of which Meta's timestamp is read at one fold: some milliseconds."""
SAMPLED_BYTES: Final = 1024**2
"""Of them together, where there is more than one."""


class Live(msgspec.Struct, kw_only=True, gc=False):
    """A slot with what hangs on it while the process lives."""

    slot: Slot
    counter: CounterSeries
    gauge: GaugeSeries
    track: Heard
    folded: int
    """The slot's count at the last fold."""
    folded_ms: int
    """And the time of the last change by then."""


class _File(msgspec.Struct, kw_only=True):
    """What outlives a restart."""

    slots: list[Slot]
    tracks: list[Heard]


_decoder: Final = msgspec.json.Decoder(_File)


class GapLedger:
    """One a process."""

    def __init__(self) -> None:
        self._metrics = Metrics()
        self._ways: dict[Way, Live] = {}
        self._slots: dict[Way, Live] = {}
        """Those that there are; `_ways` finds them, and several ways may lead to one."""
        self._tracks: dict[tuple[str, str, str], Heard] = {}
        self._samples: list[tuple[Live, bytes, int]] = []
        self._sampled_bytes = 0
        self._touched: list[Live] = []

    def count_in(self, metrics: Metrics) -> None:
        """Have the changes counted in these metrics; those that are counted in already go on there."""
        self._metrics = metrics
        for live in self._slots.values():
            live.counter, live.gauge = self._series(live.track)
            live.gauge.value = max(live.gauge.value, live.slot.last_ms / 1000)

    # -- on the way of an acknowledgement

    def note(self, app: str, changes: Sequence[Change], raw: bytes, received_ms: int) -> tuple[Live, ...]:
        """Count the changes of a notification that is on disk; return their slots, in order."""
        if len(changes) == 1:  # nearly all
            return (self._note(app, changes[0], raw, received_ms),)
        return tuple([self._note(app, change, raw, received_ms) for change in changes])

    def _note(self, app: str, change: Change, raw: bytes, received_ms: int) -> Live:
        way = (app, change.object, change.field, change.entry_id, change.phone_number_id)
        live = self._ways.get(way) or self._admit(way, received_ms)
        slot = live.slot
        if slot.count == live.folded:
            self._touch(live, raw, received_ms)
        slot.count += 1
        slot.last_ms = received_ms
        live.counter.value += 1.0
        live.gauge.value = received_ms / 1000
        return live

    def _touch(self, live: Live, raw: bytes, received_ms: int) -> None:
        """The first of a slot since the last fold."""
        self._touched.append(live)
        track = live.track
        if track.received:
            track.longest_ms = max(track.longest_ms, received_ms - track.last_ms)
        size_bytes = len(raw)
        if not self._samples or (
            len(self._samples) < SAMPLES and self._sampled_bytes + size_bytes <= SAMPLED_BYTES
        ):
            self._samples.append((live, raw, received_ms))
            self._sampled_bytes += size_bytes

    def _admit(self, way: Way, received_ms: int) -> Live:
        """Find the slot of a way that is new."""
        app, object_, field, waba, phone = way
        named = tuple(name if len(name) <= LONGEST_NAME else OTHER for name in (object_, field, waba, phone))
        exact: Way = (app, *named)  # type: ignore[assignment] # four of four
        live = self._slots.get(exact)
        if live is None:
            if len(self._slots) >= SLOTS and not self._make_room(received_ms):
                exact = (app, metric_object(object_), metric_field(object_, field), OTHER, OTHER)
                live = self._slots.get(exact)
            if live is None:
                slot = Slot(
                    app=app,
                    object=exact[1],
                    field=exact[2],
                    waba=exact[3],
                    phone_number_id=exact[4],
                    first_ms=received_ms,
                    last_ms=received_ms,
                )
                live = self._enter(slot)
        if max(map(len, way)) <= LONGEST_NAME:
            if len(self._ways) >= KNOWN_WAYS:
                self._ways.clear()
            self._ways[way] = live
        return live

    def _enter(self, slot: Slot) -> Live:
        object_, field = metric_object(slot.object), metric_field(slot.object, slot.field)
        key = (slot.app, object_, field)
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = Heard(
                app=slot.app, object=object_, field=field, first_ms=slot.first_ms, last_ms=slot.last_ms
            )
        counter, gauge = self._series(track)
        live = Live(
            slot=slot,
            counter=counter,
            gauge=gauge,
            track=track,
            folded=slot.count,
            folded_ms=slot.last_ms,
        )
        self._slots[(slot.app, slot.object, slot.field, slot.waba, slot.phone_number_id)] = live
        return live

    def _series(self, track: Heard) -> tuple[CounterSeries, GaugeSeries]:
        counter = self._metrics.notifications_total.labels(track.app, track.object, track.field)
        return counter, self._metrics.last_received_timestamp_seconds.labels(track.app, track.field)

    def _make_room(self, now_ms: int) -> bool:
        stale = [way for way, live in self._slots.items() if live.slot.last_ms < now_ms - FORGOTTEN_MS]
        for way in stale:
            del self._slots[way]
        if stale:
            self._ways.clear()
        return bool(stale)

    # -- now and again

    def fold(self, now_ms: int) -> None:
        """Bring intervals, hours and lags up to date with what was noted since the last time."""
        touched, self._touched = self._touched, []
        samples, self._samples, self._sampled_bytes = self._samples, [], 0
        came_of: dict[tuple[str, str, str], tuple[Heard, int, int]] = {}
        for live in touched:
            slot, track = live.slot, live.track
            came = slot.count - live.folded
            intervals = came if live.folded else came - 1
            slot.usual_ms = running_median(slot.usual_ms, slot.last_ms - live.folded_ms, intervals)
            live.folded, live.folded_ms = slot.count, slot.last_ms
            _, others, last_ms = came_of.get(track.key, (track, 0, 0))
            came_of[track.key] = (track, others + came, max(last_ms, slot.last_ms))
        for track, came, last_ms in came_of.values():
            track.take(came, last_ms=last_ms, hour=now_ms // HOUR_MS)
        for live, raw, received_ms in samples:
            meta_ms = meta_time_ms(raw)
            if meta_ms is not None:
                for one in (live.slot, live.track):
                    if received_ms >= one.lag_at_ms:
                        one.lag_ms, one.lag_at_ms = received_ms - meta_ms, received_ms

    # -- what targets take

    def delivered(self, lives: Sequence[Live], target: str, at_ms: int) -> None:
        """A target has taken these changes of one notification."""
        for live in {id(one): one for one in lives}.values():
            taken = live.slot.delivered
            count, _ = taken.get(target, (0, 0))
            if count or len(taken) < TARGETS:
                taken[target] = (count + 1, at_ms)

    def find(self, app: str, changes: Sequence[Change]) -> tuple[Live, ...]:
        """Return the slots of changes that were noted in a former life; those that there are."""
        ways = ((app, one.object, one.field, one.entry_id, one.phone_number_id) for one in changes)
        return tuple(
            live for way in ways if (live := self._ways.get(way) or self._slots.get(way)) is not None
        )

    # -- what is known, and over a restart

    def slots(self) -> list[Slot]:
        """Return the lines, those heard of last first."""
        return sorted((live.slot for live in self._slots.values()), key=lambda one: -one.last_ms)

    def tracks(self) -> list[Heard]:
        """Return what is known of each field of an app."""
        return list(self._tracks.values())

    def content(self) -> bytes:
        """Return what the file should hold."""
        return msgspec.json.encode(_File(slots=self.slots(), tracks=self.tracks())) + b"\n"

    def load(self, path: Path, *, apps: Collection[str]) -> None:
        """Take in what a former life has stored of these apps; before anything is noted. Where there is no
        file, nothing.

        Raises:
            StateFileError: it cannot be read.
        """
        stored = read_state(path, _decoder, max_bytes=MAX_FILE_BYTES)
        if stored is None:
            return
        self._tracks = {track.key: track for track in stored.tracks if track.app in apps}
        for slot in stored.slots[:SLOTS]:
            if slot.app in apps:
                self._enter(slot)
