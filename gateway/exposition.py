"""What the metrics say of the configuration, and of what is looked up when somebody scrapes."""

from collections.abc import Iterable, Mapping

from gateway import __version__
from gateway.edge import Edge
from gateway.generation import Generation
from gateway.spool.contract import Spool
from gateway.telemetry.metrics import Metrics


def describe_generation(metrics: Metrics, generation: Generation) -> None:
    """Have the metrics tell of this generation alone; what has been counted stays. It cannot fail."""
    settings = generation.settings
    metrics.start_series(version=__version__, apps=settings.apps, targets=settings.targets)
    metrics.config_info.clear()
    metrics.config_info.labels(generation.loaded.source.sha256).set(1)


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
    for target, pending in {**dict.fromkeys(targets, 0), **spool.pending()}.items():
        metrics.spool_pending.labels(target).set(pending)
        age_ms = now_ms - oldest[target] if target in oldest else 0
        metrics.spool_oldest_seconds.labels(target).set(max(0, age_ms) / 1000)
    metrics.next_give_up_timestamp_seconds.clear()  # a series that stayed would read as overdue
    for target, at_ms in give_ups_ms.items():
        metrics.next_give_up_timestamp_seconds.labels(target).set(at_ms / 1000)
    for target, files in dead_letters.items():
        metrics.dead_letters.labels(target).set(files)
    metrics.spool_bytes.set(spool.size_bytes())
    metrics.spool_free_bytes.set(room.free_bytes)
