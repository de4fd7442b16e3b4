"""What the other gateways on the database say, while the one of this configuration does not run."""

from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.clock import unix_ms

if TYPE_CHECKING:
    from gateway.settings.model import Settings

Targets = dict[str, Any]
"""As `/api/status` has them."""


def has_others(settings: "Settings") -> bool:
    """Whether there may be any."""
    from gateway.spool.opening import is_shared

    return is_shared(settings.spool)


def alone_note(settings: "Settings") -> str:
    """Say what a command does where no gateway answers on the admin port."""
    if has_others(settings):
        return "this gateway does not run: doing it in the spool that the others share"
    return "no gateway runs: doing it here"


def with_others(
    settings: "Settings", targets: Targets, *, follow: bool = False
) -> tuple[Targets, list[dict[str, Any]]]:
    """Return the targets as those see them that run, and who these are; as they are here, where none does.

    `follow`: have them look at the pauses first.
    """
    if not has_others(settings):
        return targets, []
    import trio

    from gateway.cli.stopped_spool import spool_with_dsn
    from gateway.process.visiting import ask_status

    spool = spool_with_dsn(settings.spool)
    said = trio.run(partial(ask_status, spool, now_ms=unix_ms, follow=follow))
    found = dict(targets)
    for name, there in said["targets"].items():
        here = targets.get(name, {})
        dead = max(here.get("dead_letters", 0), there.get("dead_letters", 0))
        found[name] = {**here, **there, "dead_letters": dead}
    return found, said["gateways"]
