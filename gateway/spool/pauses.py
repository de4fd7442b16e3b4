"""The pauses of targets, inside the transaction of a batch (promise 23)."""

from gateway.core.pausing import Pause, Pauses
from gateway.spool.requests import SetPauses
from gateway.spool.session import Session, json_rows


def read_pauses(file: Session) -> dict[str, Pauses]:
    """Return all, by target."""
    found: dict[str, Pauses] = {}
    for target, from_ms, until_ms, reason, rate in file.rows("pauses"):
        pause = Pause(from_ms=from_ms, until_ms=until_ms, reason=reason, rate_per_second=rate)
        found[target] = (*found.get(target, ()), pause)
    return found


def write_pauses(file: Session, request: SetPauses) -> None:
    """Replace those of one target, unless they are others than thought."""
    request.result = request.former in (None, read_pauses(file).get(request.target, ()))
    if not request.result:
        return
    file.do("drop_pauses", request.target)
    rows = [
        (request.target, pause.from_ms, pause.until_ms, pause.reason, pause.rate_per_second)
        for pause in request.pauses
    ]
    file.do("add_pauses", json_rows(rows))
