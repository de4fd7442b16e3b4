"""A batch whose transaction finds no room: what stores fails, and the rest is done without it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from gateway.errors import GatewayError, SpoolUnavailableError
from gateway.spool.requests import Append, Effects, Request, Restore, SendAgain, forget_answers

STORING: Final = (Append, Restore, SendAgain)
"""What needs room."""


def run_sparing(
    batch: list[Request],
    transact: Callable[[list[Request]], Effects],
    *,
    fails_whole: tuple[type[SpoolUnavailableError], ...] = (),
) -> Effects:
    """Do a batch; every request gets its result or its error.

    A full disk must not keep deliveries from leaving. After one of `fails_whole` nothing of the batch is
    tried again.

    Raises:
        SpoolBrokenError: `transact` did; nothing may be tried again.
    """
    try:
        return transact(batch)
    except SpoolUnavailableError as failure:
        storing = [request for request in batch if isinstance(request, STORING)]
        rest = [request for request in batch if not isinstance(request, STORING)]
        if storing and rest and not isinstance(failure, fails_whole):
            _fail(storing, failure)
            forget_answers(rest)
            return replace(run_sparing(rest, transact, fails_whole=fails_whole), failure=failure)
        _fail(batch, failure)
        return Effects(failure=failure)


def _fail(requests: Sequence[Request], failure: GatewayError) -> None:
    for request in requests:
        request.error = failure
