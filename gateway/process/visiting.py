"""What a command hears from the other gateways on the database, while the one it was called for does not run.

It takes part in the exchange as a visitor: it asks, and nobody sees it.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from gateway.process.correspondence import ANSWER_SECONDS, Correspondence
from gateway.process.replicas import (
    FOLLOW_SECONDS,
    Recalled,
    answer_of_all,
    ask_to_recall,
    fitting,
    shown_others,
    status_of_all,
)
from gateway.settings.model import Spool as SpoolSettings
from gateway.spool.exchange import Exchange
from gateway.spool.opening import open_exchange
from gateway.tracing import Asked, Letters, Part

SEEN_SECONDS: Final = 5.0
"""For a look at who there is: a connection, and one statement."""


@asynccontextmanager
async def _visit(spool: SpoolSettings) -> AsyncIterator[tuple[Exchange, Correspondence] | None]:
    async with open_exchange(spool, is_visitor=True) as exchange:
        if exchange is None:
            yield None
            return
        with trio.move_on_after(SEEN_SECONDS):
            await exchange.wait_seen()
        yield exchange, Correspondence(exchange, {})


@asynccontextmanager
async def visit_others(spool: SpoolSettings) -> AsyncIterator[Correspondence]:
    """Ask the others, of a spool that is shared."""
    async with _visit(spool) as visit:
        if visit is None:
            raise TypeError("a spool that nobody shares")
        yield visit[1]


async def ask_status(
    spool: SpoolSettings, *, now_ms: Callable[[], int], follow: bool = False
) -> dict[str, Any]:
    """Return `{"targets", "gateways"}` as `/api/status` does, of the others; both empty where there are none.

    `follow`: have them look at the pauses first.
    """
    async with _visit(spool) as visit:
        if visit is None:
            return {"targets": {}, "gateways": []}
        _, others = visit
        if follow:
            await others.ask_all("follow_pauses", object, within_seconds=FOLLOW_SECONDS)
        replies = await others.ask_all("status", dict[str, Any], within_seconds=ANSWER_SECONDS)
        merge = partial(status_of_all, names={one.id: one.name for one in replies.others})
        said = fitting(others, "status", {}, replies, merge)
        return {"targets": merge(said)["targets"], "gateways": shown_others(replies, said, now_ms())}


async def trace_with_others(
    spool: SpoolSettings,
    asked: Asked,
    parts: Sequence[Part],
    letters: Letters,
    *,
    now_ms: Callable[[], int],
) -> Mapping[str, object]:
    """Make the answer of what was found here, and of what the others have."""
    async with _visit(spool) as visit:
        if visit is None:
            raise TypeError("a spool that nobody shares")
        exchange, others = visit
        replies = await ask_to_recall(others, asked, parts)
        names = {exchange.own.id: "here", **{one.id: one.name for one in replies.others}}
        told = {exchange.own.id: Recalled(list(parts), letters), **replies.said}
        return {
            **answer_of_all(asked, told, replies, names),
            "gateways": shown_others(replies, told, now_ms()),
        }
