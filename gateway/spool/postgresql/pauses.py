"""The pauses of targets (promise 23). Their times are by the clock of the gateway that was asked."""

from gateway.core.pausing import Pause, Pauses
from gateway.spool.postgresql.link import Link, arrays
from gateway.spool.requests import SetPauses


def read_pauses(link: Link) -> dict[str, Pauses]:
    """Return all, by target. Raises as `Link.rows`."""
    found: dict[str, Pauses] = {}
    for target, from_ms, until_ms, reason, rate in link.rows("pauses"):
        pause = Pause(from_ms=from_ms, until_ms=until_ms, reason=reason, rate_per_second=rate)
        found[target] = (*found.get(target, ()), pause)
    return found


def write_pauses(request: SetPauses, link: Link) -> None:
    """Replace those of one target, unless they are others than thought, inside a transaction. Raises as
    `Link.rows`."""
    link.rows("lock_pauses")
    request.result = request.former in (None, read_pauses(link).get(request.target, ()))
    if not request.result:
        return
    link.rows("drop_pauses", name=request.target)
    rows = [
        (request.target, pause.from_ms, pause.until_ms, pause.reason, pause.rate_per_second)
        for pause in request.pauses
    ]
    names = ("target", "from_ms", "until_ms", "reason", "rate_per_second")
    link.rows("add_pauses", **arrays(rows, *names))
