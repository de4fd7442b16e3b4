"""What a process remembers of its traffic, over reloads: who was refused, who was seen when, how
notifications came and where they went."""

from collections import defaultdict
from dataclasses import dataclass, field

from gateway.telemetry.gap_ledger import GapLedger
from gateway.telemetry.last_seen import LastSeen
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.recent import Recent
from gateway.telemetry.tally import Tally
from gateway.telemetry.turned_away import RecentlyTurnedAway
from gateway.telemetry.whereabouts import Whereabouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """One a process; the door, the acknowledgement path and deliveries write, the admin port reads."""

    ledger: Ledger = field(default_factory=Ledger)
    turned_away: RecentlyTurnedAway = field(default_factory=RecentlyTurnedAway)
    last_seen: LastSeen = field(default_factory=LastSeen)
    recent: defaultdict[str, Recent] = field(default_factory=lambda: defaultdict(Recent))
    """By app."""
    gaps: GapLedger = field(default_factory=GapLedger)
    whereabouts: Whereabouts = field(default_factory=Whereabouts)
    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    """By app."""
