"""A target as the dispatcher needs it: settings made ready, once, at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.core.breaker import BreakerPolicy
from gateway.core.merging import Merging
from gateway.core.retry import RetryPolicy
from gateway.delivery.message import signing_key
from gateway.delivery.sender import Endpoint, tls_context
from gateway.settings.model import Target
from gateway.settings.values import Secret

SETTLE_MS: Final = 5000
"""Between the end of an attempt and the settlement of its lease: a commit, on a database that is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchTarget:
    """One target, ready to be delivered to."""

    endpoint: Endpoint
    concurrency: int
    """Attempts at once."""
    headers: Mapping[str, bytes] = field(repr=False)
    webhook_key: bytes | None = field(repr=False)
    """Key of the Standard Webhooks signature; None: no such headers."""
    policy: RetryPolicy
    refuse_statuses: frozenset[int]
    drops: bool
    """A shadow target: what it refuses, and what is given up, leaves no dead letter."""
    merging: Merging | None = None
    """How far waiting deliveries are merged; None: each goes alone."""
    breaker: BreakerPolicy
    max_pending_bytes: int
    """What may wait for it, in bytes of notifications."""

    @property
    def hold_ms(self) -> int:
        """How long a lease of one attempt is held, where others could take it over."""
        return round(self.endpoint.timeout_seconds * 1000) + SETTLE_MS


def dispatch_target(target: Target) -> DispatchTarget:
    """Make a target of the settings ready.

    Raises:
        GatewayError: a TLS file or the signing secret cannot be used.
    """
    return DispatchTarget(
        endpoint=Endpoint(
            url=target.url, timeout_seconds=target.timeout_seconds, tls=tls_context(target.url, target.tls)
        ),
        concurrency=target.concurrency,
        headers={
            name: value.reveal() if isinstance(value, Secret) else value.encode()
            for name, value in target.headers.items()
        },
        webhook_key=signing_key(target.signing_secret.reveal()) if target.signing_secret else None,
        policy=RetryPolicy(
            schedule_seconds=target.retry.schedule_seconds,
            give_up_after_seconds=target.retry.give_up_after_seconds,
        ),
        refuse_statuses=frozenset(target.retry.refuse_statuses),
        drops=target.on_give_up == "drop",
        merging=Merging(max_changes=target.max_changes) if target.max_changes > 1 else None,
        max_pending_bytes=target.max_pending_bytes,
        breaker=BreakerPolicy(
            failures=target.breaker.failures, probe_every_seconds=target.breaker.probe_every_seconds
        ),
    )
