"""What the edge remembers of its clients, over reloads: refusals, times, and how notifications came."""

from collections import defaultdict
from dataclasses import dataclass, field

from gateway.telemetry.last_seen import LastSeen
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.recent import Recent
from gateway.telemetry.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """One a process; the door and the acknowledgement path write, the admin port reads."""

    ledger: Ledger = field(default_factory=Ledger)
    last_seen: LastSeen = field(default_factory=LastSeen)
    recent: defaultdict[str, Recent] = field(default_factory=lambda: defaultdict(Recent))
    """By app."""
    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    """By app."""
