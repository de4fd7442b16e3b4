"""What came in for an app, beyond what the metrics count: for `telemetry.summary`."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts that only grow."""

    bytes: int = 0
    """Of bodies answered 200."""
    refused: Counter[str] = field(default_factory=Counter)
    """Requests that stored nothing, by the word of their answer."""
