"""Staged anchors: they admit nobody, and say of each refused chain whether they would have.

Their stores are never the live one's: they are asked after the verdict, which they cannot change. What they
say is a whole verdict on the same chain (dates, purpose, revocation, name), so that "would be admitted" holds
on the day on which the anchor moves to `trust_anchors`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from OpenSSL import crypto

from gateway.core.identity import Identity, Reason, Refusal
from gateway.telemetry.line_budget import LineBudget
from gateway.tls.verdict import ChainRecord, ClientEntry, decide

TRIALS_PER_SECOND: Final = 10.0
"""Beyond a burst. A trial costs up to some four signature checks, a fraction of the handshake before it; with
this bound a flood of bad chains costs at most some milliseconds a second more than without staged anchors."""

SHOWN_DIGITS: Final = 16
"""Of an anchor's SHA-256, as in the metrics."""

_MAY_CHANGE: Final = frozenset(
    {Reason.UNKNOWN_ISSUER, Reason.BAD_CHAIN, Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.WRONG_PURPOSE}
)
"""Refusals that may be the fault of the chain above the leaf, which another anchor can mend. A wrong name
stays wrong, and revoked is revoked."""

_STRENGTH: Final = frozenset({66, 67, 68})
"""Keys and digests too weak: seen in the handshake alone, since a store by itself has no security level."""

NOT_ASKED: Final = "not asked: too many refusals at once"


class StagedTrials:
    """Tries refused chains against the staged anchors of all client entries."""

    def __init__(
        self, entries: Sequence[ClientEntry], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`entries` hold the staged anchors in place of the live ones; `clock` is monotonic, in seconds."""
        self._entries = tuple(entries)
        self._clock = clock
        # Whoever bears Meta's name has an allowance of its own: the noise of others cannot use it up.
        self._budgets = {claims: LineBudget(lines_per_second=TRIALS_PER_SECOND) for claims in (True, False)}

    def ask(
        self, refusal: Refusal, record: ChainRecord, leaf: crypto.X509, sent: Sequence[crypto.X509]
    ) -> Refusal:
        """Return the refusal with what the staged anchors say of it."""
        if refusal.reason not in _MAY_CHANGE or refusal.leaf is None:
            return refusal
        if self._budgets[refusal.claims is not None].take(self._clock()) is None:
            return replace(refusal, staged=NOT_ASKED)
        verdict = decide(
            record=ChainRecord(seen=True, errors=[one for one in record.errors if one[0] in _STRENGTH]),
            leaf=leaf,
            sent=sent,
            entries=self._entries,
            now=datetime.now(UTC),
        )
        if isinstance(verdict, Identity):
            client = next(entry.name for entry in self._entries if entry.name in verdict.clients)
            anchor = verdict.anchor_sha256[:SHOWN_DIGITS]
            who = f"{client} {anchor}"
            return replace(refusal, staged=f"would be admitted by {who}", would_admit=who)
        return replace(refusal, staged=f"would be refused too ({verdict.reason}): {verdict.detail}")
