"""What gateways on one database ask each other: names and values, over the bytes that the exchange carries.

`{"ask": "status", "with": {...}}` is answered by `{"result": ...}` or `{"error": {...}}`. What comes from
another gateway may be of another version, or forged by whoever may write to the database: a question that is
not known, or whose arguments do not fit, is answered by an error; an answer that does not fit is none.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
import trio

from gateway.errors import GatewayError, UsageError
from gateway.process.channel import ToldError
from gateway.spool.exchange import Exchange, Question, Replica, is_alive
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger

ANSWER_SECONDS: Final = 2.0
"""For a view: asked and answered in milliseconds, the lines of a ledger (some MiB) in tenths of a second.
Two of these make one answer of the admin port, for which `gateway status` waits 5 s."""
FRESH_SECONDS: Final = 1.0
"""How old an answer may be: whoever asks one gateway, or ten at once, asks all of them once a second."""
AT_ONCE: Final = 8
"""Questions answered at a time."""
_LINES_PER_SECOND: Final = 0.1

Answer = TypeVar("Answer")

log = get_logger("replicas")


class _Asked(msgspec.Struct):
    ask: str
    with_: dict[str, Any] = msgspec.field(name="with", default_factory=dict)


class _Said(msgspec.Struct, omit_defaults=True):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: ToldError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """How one kind of question is answered."""

    arguments: type[msgspec.Struct]
    answer: Callable[..., Awaitable[object]]
    """Called with an instance of `arguments`; returns what is fit for JSON."""


class NoArguments(msgspec.Struct):
    """Of a question that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies(Generic[Answer]):
    """What the others said, and who did not."""

    said: Mapping[int, Answer]
    """By replica."""
    others: tuple[Replica, ...]
    """All that are known, answering or not."""


@dataclass(slots=True)
class _Kept:
    lock: trio.Lock
    at_seconds: float = float("-inf")
    replies: Replies[Any] | None = None


class Correspondence:
    """Asks, and answers."""

    def __init__(self, exchange: Exchange, desks: Mapping[str, Desk]) -> None:
        self._exchange = exchange
        self._desks = desks
        self._kept: dict[str, _Kept] = {}
        self._budget = LineBudget(lines_per_second=_LINES_PER_SECOND)

    async def run(self) -> None:
        """Answer what others ask, until cancelled."""
        places = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                question = await self._exchange.next_question()
                nursery.start_soon(self._answer, question, places)

    async def look(self, name: str, answer: type[Answer]) -> Replies[Answer]:
        """Ask all that are alive for a view, or return what they said a moment ago."""
        kept = self._kept.setdefault(name, _Kept(trio.Lock()))
        async with kept.lock:
            now_seconds = trio.current_time()
            if kept.replies is None or now_seconds - kept.at_seconds >= FRESH_SECONDS:
                kept.replies = await self.ask_all(name, answer, within_seconds=ANSWER_SECONDS)
                kept.at_seconds = trio.current_time()
            return kept.replies

    def forget(self) -> None:
        """Ask anew when somebody looks: something was done."""
        self._kept.clear()

    async def ask_all(
        self, name: str, answer: type[Answer], *, within_seconds: float, **arguments: object
    ) -> Replies[Answer]:
        """Ask all that are alive."""
        others = self._exchange.others()
        names = {one.id: one.name for one in others}
        content = msgspec.json.encode(_Asked(ask=name, with_=arguments))
        found = await self._exchange.ask_all(content, within_seconds=within_seconds)
        said: dict[int, Answer] = {}
        for replica, bytes_ in found.items():
            try:
                said[replica] = _read(bytes_, answer)
            except GatewayError as error:
                self.tell_unusable(names.get(replica, ""), name, error.message)
        return Replies(said=said, others=others)

    def tell_unusable(self, gateway: str, question: str, detail: str) -> None:
        """Log that an answer was of no use."""
        if (suppressed := self._budget.take(trio.current_time())) is not None:
            log.warning(
                "replica_answer_unusable",
                gateway=gateway[:100],
                question=question,
                detail=detail[:300],
                suppressed=suppressed,
            )

    async def _answer(self, question: Question, places: trio.Semaphore) -> None:
        try:
            with trio.move_on_after(question.within_seconds):
                said = await self._say(question.content)
                self._exchange.answer(question, msgspec.json.encode(said))
        finally:
            places.release()

    async def _say(self, content: bytes) -> _Said:
        try:
            asked = msgspec.json.decode(content, type=_Asked)
            desk = self._desks.get(asked.ask)
            if desk is None:
                raise UsageError("this gateway does not know that question: it is of another version")
            result = await desk.answer(msgspec.convert(asked.with_, desk.arguments))
            return _Said(result=msgspec.Raw(msgspec.json.encode(result)))
        except GatewayError as error:
            return _Said(error=ToldError.of(error))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return _Said(error=ToldError(kind="UsageError", message=f"no question: {type(error).__name__}"))


def _read(content: bytes, answer: type[Answer]) -> Answer:
    """Return an answer as that type. Raises GatewayError: it was an error, or is of no use."""
    try:
        said = msgspec.json.decode(content, type=_Said)
        if said.error is None:
            return msgspec.json.decode(said.result, type=answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise GatewayError(f"it does not fit: {type(error).__name__}") from error
    raise said.error.again()


def alive(replies: Replies[Answer]) -> tuple[Replica, ...]:
    """Return those that were asked."""
    return tuple(one for one in replies.others if is_alive(one))
