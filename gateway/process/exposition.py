"""What is told of the configuration and its last reload; and what is looked up when somebody scrapes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from gateway import __version__
from gateway.admin.health import Check
from gateway.core.routing import UNROUTED
from gateway.delivery.message import rfc3339
from gateway.delivery.view import UNKNOWN
from gateway.errors import Problem
from gateway.process.edge import Edge
from gateway.process.generation import Generation
from gateway.spool.contract import Spool
from gateway.telemetry.metrics import Metrics

Trigger = Literal["signal", "file"]
"""What brought a reload about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a reload went."""

    at_ms: int
    trigger: Trigger
    problems: tuple[Problem, ...]
    """Why it was refused; empty where it was not."""


class ReloadRecord:
    """What is loaded and how the last reload went: for the metrics, `/readyz` and `/api/config`."""

    def __init__(self, generation: Generation, *, metrics: Metrics, at_ms: int) -> None:
        self._success = metrics.config_last_reload_success
        self._timestamp = metrics.config_last_reload_timestamp_seconds
        self._last: Outcome | None = None
        # The start counts as a load that went well, so that an alert on 0 means what it says.
        self._success.set(1)
        self._timestamp.set(at_ms / 1000)
        self.loaded(generation, at_ms=at_ms)

    def loaded(self, generation: Generation, *, at_ms: int) -> None:
        """Note what holds from now on."""
        self._loaded = generation.loaded
        self._loaded_at_ms = at_ms

    def tried(self, outcome: Outcome) -> None:
        """Note how a reload went."""
        self._last = outcome
        self._success.set(0 if outcome.problems else 1)
        self._timestamp.set(outcome.at_ms / 1000)

    def config(self) -> Mapping[str, object]:
        """Return what `/api/config` answers (`admin.reports.Config`)."""
        last = self._last
        return {
            "hash": self._loaded.source.sha256,
            "file": str(self._loaded.source.file.absolute()),
            "spool": str(self._loaded.settings.spool.directory),
            "loaded_at": rfc3339(self._loaded_at_ms),
            "last_reload": None
            if last is None
            else {
                "at": rfc3339(last.at_ms),
                "success": not last.problems,
                "trigger": last.trigger,
                "problems": [problem.plain() for problem in last.problems],
            },
        }

    def source(self) -> bytes:
        """Return the file as it was loaded: what stands there now may be broken."""
        return self._loaded.source.content

    def refusal(self) -> str:
        """Say why the last reload was refused; empty where it was not."""
        last = self._last
        if last is None or not last.problems:
            return ""
        more = f" (and {len(last.problems) - 1} more)" if len(last.problems) > 1 else ""
        return (
            f"the reload at {rfc3339(last.at_ms)} was refused, what was loaded before still holds:"
            f" {last.problems[0]}{more}"
        )


def describe_generation(metrics: Metrics, generation: Generation) -> None:
    """Have the metrics tell of this generation alone; what has been counted stays. It cannot fail."""
    settings = generation.settings
    metrics.start_series(
        version=__version__, apps=settings.apps, targets=settings.targets, clients=settings.tls.clients
    )
    # The disk of a database is not ours to see: 0 of 0 says that nothing is short.
    on_own_disk = settings.spool.engine == "sqlite"
    metrics.spool_min_free_bytes.set(settings.spool.min_free_bytes if on_own_disk else 0)
    metrics.config_info.clear()
    metrics.config_info.labels(generation.loaded.source.sha256).set(1)


def set_readiness(metrics: Metrics, checks: Mapping[str, Check]) -> None:
    """Have the metrics say what `/readyz` would."""
    metrics.readiness.clear()
    for name, check in checks.items():
        metrics.readiness.labels(name).set(1 if check.ok else 0)


async def update_gauges(
    metrics: Metrics,
    *,
    edge: Edge,
    spool: Spool,
    targets: Iterable[str],
    dead_letters: Mapping[str, int],
    give_ups_ms: Mapping[str, int],
    now_ms: int,
) -> None:
    """Bring up to date what is not counted as it happens."""
    edge.set_gauges(metrics)
    room = spool.room()
    oldest = await spool.oldest_received_ms()
    kept_ms = await spool.oldest_kept_ms()
    configured = frozenset(targets)
    pending_of = {**dict.fromkeys(configured, 0), **spool.pending()}
    # A target that the configuration has lost is shown while something waits for it, and no longer.
    metrics.target_state.remove_by_labels({"state": UNKNOWN})
    metrics.spool_pending.clear()
    metrics.spool_oldest_seconds.clear()
    for target, pending in pending_of.items():
        if target not in configured and target != UNROUTED:
            metrics.target_state.labels(target, UNKNOWN).set(1)
        metrics.spool_pending.labels(target).set(pending)
        age_ms = now_ms - oldest[target] if target in oldest else 0
        metrics.spool_oldest_seconds.labels(target).set(max(0, age_ms) / 1000)
    metrics.next_give_up_timestamp_seconds.clear()  # a series that stayed would read as overdue
    for target, at_ms in give_ups_ms.items():
        metrics.next_give_up_timestamp_seconds.labels(target).set(at_ms / 1000)
    for target, files in dead_letters.items():
        metrics.dead_letters.labels(target).set(files)
    remembered = spool.remembered(now_ms)
    metrics.duplicates_keys.set(remembered.keys)
    window_ms = 0 if remembered.since_ms is None else now_ms - remembered.since_ms
    metrics.duplicates_window_seconds.set(max(0, window_ms) / 1000)
    metrics.spool_kept_oldest_seconds.set(0 if kept_ms is None else max(0, now_ms - kept_ms) / 1000)
    metrics.spool_bytes.set(spool.size_bytes())
    if room.free_bytes is not None:
        metrics.spool_free_bytes.set(room.free_bytes)
