"""What the admin port answers where several gateways share a database: what all of them say, made one.

Each is asked by the exchange what it knows for itself (what it has delivered, how its breakers are, whom it
has seen and turned away, what it remembers and what lies on its disk), and the answers are merged as those of
workers are (`merging`). What each sees whole, such as what waits, is not added. Who does not answer is named.

Whether Meta is silent is judged on what all have heard, by every gateway alike: behind a load balancer one
alone may hear nothing for hours. For that nobody is asked: each publishes what it has heard with its row
(`Digest`), and the others read it. What a gateway that is gone had heard counts for as long as this process
lives, but not as listening: what Meta sends while nobody is there comes again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
import trio

from gateway.admin.actions import ActionResult
from gateway.admin.requests import LettersRequest, ReplayKeptRequest
from gateway.core.conditions import TargetSeen
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.message import rfc3339
from gateway.delivery.view import UNKNOWN
from gateway.errors import UsageError
from gateway.process.admin_port import AdminAnswers
from gateway.process.correspondence import Correspondence, Desk, NoArguments, Replies
from gateway.process.digests import LATEST_MS, Digest, Digests, is_sane
from gateway.process.elsewhere import letter_desks, letter_of_all, results_of_all
from gateway.process.merging import merge_edges, merge_status, merge_targets_seen, most_dead
from gateway.process.observing import Facts, Judged, merge_facts, targets_seen
from gateway.spool.exchange import Exchange, Replica, is_alive
from gateway.telemetry.audit import TAIL_LINES
from gateway.tracing import (
    Asked,
    Letters,
    Part,
    answer,
    letters_of,
    merge_letters,
    name_gateway,
    read_asked,
)

FOLLOW_SECONDS: Final = 1.0
"""For the others to follow a pause; who does not sees it by itself a second later."""
SEARCH_SECONDS: Final = 25.0
"""For what the others remember and have on their disks: a look through dead letters takes ten."""
PUBLISH_SECONDS_EACH: Final = 2.0
"""Between two digests, for each gateway there is: all read those of all."""

Rates = Mapping[tuple[str, ...], float]
"""Per second, by what is counted (`admin.dashboard.history.Key`)."""


Said = dict[str, Any]
"""What a gateway says of its targets, or of its edge."""


class _Recall(msgspec.Struct):
    ids: list[str]
    text: str


class Recalled(msgspec.Struct):
    """What a gateway has of what is asked, besides the spool that all see."""

    parts: list[Part]
    letters: Letters


def with_others(
    exchange: Exchange | None,
    own: AdminAnswers,
    *,
    dead_letters: DeadLetterStore,
    targets: Callable[[], Collection[str]],
    now_ms: Callable[[], int],
) -> AdminAnswers:
    """Return what is told on the admin port: of all gateways there are, where there can be others."""
    if exchange is None:
        return own
    return Replicas(exchange, own, dead_letters=dead_letters, targets=targets, now_ms=now_ms).answers


class Replicas:
    """The admin port's answers, of all gateways on the database."""

    def __init__(
        self,
        exchange: Exchange,
        own: AdminAnswers,
        *,
        dead_letters: DeadLetterStore,
        targets: Callable[[], Collection[str]],
        now_ms: Callable[[], int],
    ) -> None:
        """`own` is what this gateway says alone; `targets` are those configured now."""
        self._exchange = exchange
        self._own = own
        self._dead_letters = dead_letters
        self._targets = targets
        self._now_ms = now_ms
        self._digests = Digests(exchange)
        self._published_at = float("-inf")
        self._rates: Rates = {}
        self._others = Correspondence(
            exchange,
            {
                "status": Desk(arguments=NoArguments, answer=lambda _: own.actions.status()),
                "edge": Desk(arguments=NoArguments, answer=lambda _: own.edge_now()),
                "changes": Desk(arguments=NoArguments, answer=lambda _: own.changes()),
                "facts": Desk(arguments=NoArguments, answer=lambda _: own.facts(True)),
                "recall": Desk(arguments=_Recall, answer=self._recall),
                **letter_desks(own.actions),
                "follow_pauses": Desk(arguments=NoArguments, answer=lambda _: own.follow_pauses()),
            },
        )

    @property
    def answers(self) -> AdminAnswers:
        """What is told on the admin port: of health and metrics, what is our own."""
        return replace(
            self._own,
            actions=self,
            edge=self.edge,
            facts=self.facts,
            changes=self.changes,
            judged=self.judged,
            share_rates=self.share_rates,
            attend=self._others.run,
        )

    # -- views

    async def status(self) -> Mapping[str, object]:
        """Return how each target is, over all gateways; where they differ, how it is for each."""
        own = await self._own.actions.status()
        replies = await self._others.look("status", Said)
        merge = partial(status_of_all, names=self._names(replies))
        said = fitting(self._others, "status", {self._exchange.own.id: dict(own)}, replies, merge)
        return {**merge(said), "gateways": self._gateways(replies, said)}

    async def edge(self) -> Mapping[str, object]:
        """Return what all know of their clients."""
        own = await self._own.edge_now()
        replies = await self._others.look("edge", Said)
        merge = partial(_edge_of_all, names=self._names(replies))
        said = fitting(self._others, "edge", {self._exchange.own.id: dict(own)}, replies, merge)
        return {**merge(said), "gateways": self._gateways(replies, said)}

    async def changes(self) -> Sequence[Mapping[str, Any]]:
        """Return the last lines of the audit logs of all, each with the gateway's name, oldest first."""
        own = await self._own.changes()
        replies = await self._others.look("changes", list[dict[str, Any]])
        names = self._names(replies)
        lines = [
            {**line, "gateway": names[id_]}
            for id_, tail in {self._exchange.own.id: own, **replies.said}.items()
            for line in tail
        ]
        return sorted(lines, key=lambda line: str(line.get("at")))[-TAIL_LINES:]

    async def facts(self, with_slots: bool) -> Facts:
        """Return what all have heard; who does not answer, by its digest."""
        own = await self._own.facts(with_slots)
        known = self._digests.facts(self._now_ms())
        if with_slots:
            replies = await self._others.look("facts", Facts)
            known |= {id_: one for id_, one in replies.said.items() if is_sane(one)}
        return merge_facts([own, *known.values()])

    async def judged(self) -> Judged:
        """Return what is judged: the same for every gateway, but for the last seconds."""
        own = await self._own.facts(False)
        targets = targets_seen(await self._own.actions.status())
        self._publish(own, targets)
        others = self._digests.alive()
        return Judged(
            facts=merge_facts([own, *self._digests.facts(self._now_ms()).values()]),
            targets=merge_targets_seen([targets, *(one.targets for one in others)]),
        )

    def share_rates(self, own: Rates) -> Rates:
        """Take what this gateway counts in a second, and return what the others do, together."""
        self._rates = own
        sums: dict[tuple[str, ...], float] = {}
        for digest in self._digests.alive():
            for key, rate in digest.rates:
                sums[tuple(key)] = sums.get(tuple(key), 0.0) + rate
        return sums

    async def trace(self, text: str) -> Mapping[str, object]:
        """Follow a notification through the spool, and the memories and dead letters of all."""
        asked = read_asked(text)
        own = self._exchange.own
        parts = await self._own.trace_parts(text)
        letters = await self._letters(asked, parts)
        replies = await ask_to_recall(self._others, asked, parts)
        told = {own.id: Recalled(parts, letters), **replies.said}
        return {
            **answer_of_all(asked, told, replies, self._names(replies)),
            "gateways": self._gateways(replies, told),
        }

    # -- actions: the spool is everybody's, and so is what is done there

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Mapping[str, object]:
        """Leave a target alone; the others follow at once."""
        done = await self._own.actions.pause(target, seconds=seconds, reason=reason)
        await self._have_followed()
        return done

    async def resume(self, target: str, *, rate_per_second: float | None) -> Mapping[str, object]:
        """Deliver to a target again; the others follow at once."""
        done = await self._own.actions.resume(target, rate_per_second=rate_per_second)
        await self._have_followed()
        return done

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, object]:
        """Make dead letters of what waits for a lost target, unless another gateway delivers to it."""
        replies = await self._others.look("status", Said)
        names = self._names(replies)
        for id_, said in replies.said.items():
            state = _state_of(said, target)
            if state not in (None, UNKNOWN):
                raise UsageError(
                    f"{names[id_]} has a target of this name, and delivers to it",
                    remedy="remove it from the configuration there, too, or put it back here",
                )
        self._others.forget()
        return await self._own.actions.discard_target(target, limit=limit)

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, object]:
        """Send again a part of what is kept."""
        return await self._own.actions.replay_kept(asked)

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Store dead letters again, each where its file is."""
        own = await self._own.actions.replay(ids, accept_edited=accept_edited)
        return await self._elsewhere("replay", own, accept_edited=accept_edited)

    async def rehearse(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Say what a replay would do, each where its file is."""
        own = await self._own.actions.rehearse(ids, accept_edited=accept_edited)
        return await self._elsewhere("rehearse", own, accept_edited=accept_edited)

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        """Remove dead letters for good, each where its file is."""
        own = await self._own.actions.discard(ids)
        return await self._elsewhere("discard", own)

    async def list_letters(self, asked: LettersRequest) -> Mapping[str, object]:
        """List the dead letters of all."""
        return await self._own.actions.list_letters(asked)

    async def read_letter(self, identifier: str) -> Mapping[str, object]:
        """Return one of them, from where its file is."""
        own = await self._own.actions.read_letter(identifier)
        return await letter_of_all(self._others, identifier, own)

    async def _elsewhere(
        self, action: str, own: Mapping[str, ActionResult], **arguments: object
    ) -> Mapping[str, ActionResult]:
        self._others.forget()
        return await results_of_all(self._others, action, own, **arguments)

    async def _have_followed(self) -> None:
        await self._others.ask_all("follow_pauses", object, within_seconds=FOLLOW_SECONDS)
        self._others.forget()

    # -- what the others ask

    async def _recall(self, asked: _Recall) -> Recalled:
        parts = await self._own.recall(asked.ids)
        return Recalled(parts, await self._letters(read_asked(asked.text), parts))

    async def _letters(self, asked: Asked, parts: Sequence[Part]) -> Letters:
        return await letters_of(asked, parts, self._dead_letters, targets=self._targets())

    # -- who there is

    def _names(self, replies: Replies[Any]) -> Mapping[int, str]:
        own = self._exchange.own
        return {own.id: own.name, **{one.id: one.name for one in replies.others}}

    def _gateways(self, replies: Replies[Any], said: Collection[int]) -> list[Mapping[str, object]]:
        """Say who there is: our own first, then the others, the oldest first."""
        own = self._exchange.own
        now_ms = self._now_ms()
        here = [one for one in self._exchange.replicas() if one.id == own.id]
        rows = [shown_gateway(one, now_ms, state="answers", own=True) for one in here]
        return rows + shown_others(replies, said, now_ms)

    def _publish(self, facts: Facts, targets: list[TargetSeen]) -> None:
        now_seconds = trio.current_time()
        if now_seconds - self._published_at < PUBLISH_SECONDS_EACH * len(self._exchange.replicas()):
            return
        self._published_at = now_seconds
        rates = [(list(key), round(rate, 3)) for key, rate in self._rates.items() if rate]
        self._exchange.publish(msgspec.json.encode(Digest(facts=facts, targets=targets, rates=rates)))


_OF_EACH: Final = ("state", "breaker", "last_error", "delivered", "last_delivered_at")
"""Of a target, what is told of each gateway where they differ."""


def shown_gateway(one: Replica, now_ms: int, *, state: str, own: bool) -> Mapping[str, object]:
    """Return it fit for JSON; see `admin.actions.Actions.status`."""
    return {
        "gateway": one.name,
        "own": own,
        "state": state,
        "version": one.version,
        "directory": one.directory,
        "started_at": _moment(one.started_at_ms),
        "last_heard_at": _moment(now_ms - one.silent_ms),
        "silent_seconds": one.silent_ms / 1000,
    }


def shown_others(replies: Replies[Any], said: Collection[int], now_ms: int) -> list[Mapping[str, object]]:
    """Say of the others who has answered."""
    return [
        shown_gateway(
            one,
            now_ms,
            state="answers" if one.id in said else "no_answer" if is_alive(one) else "silent",
            own=False,
        )
        for one in replies.others
    ]


def fitting(
    others: Correspondence,
    question: str,
    known: Mapping[int, Said],
    replies: Replies[Said],
    merge: Callable[[Mapping[int, Said]], object],
) -> dict[int, Said]:
    """Return what is known, and the answers that can be made one with it: others may be of another
    version."""
    names = {one.id: one.name for one in replies.others}
    found = dict(known)
    for id_, one in replies.said.items():
        try:
            merge({**found, id_: one})
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            others.tell_unusable(names.get(id_, ""), question, type(error).__name__)
        else:
            found[id_] = one
    return found


def status_of_all(said: Mapping[int, Said], names: Mapping[int, str]) -> dict[str, Any]:
    """Make one of what several gateways say, with what each says of a target where they differ."""
    views = list(said.values())
    merged = merge_status(views, most_dead(views), shared_spool=True)
    tell_differences(merged["targets"], said, names)
    return merged


def _edge_of_all(said: Mapping[int, Said], names: Mapping[int, str]) -> dict[str, Any]:
    return merge_edges(
        [
            {**one, "refusals": [{**row, "gateway": names[id_]} for row in one["refusals"]]}
            for id_, one in said.items()
        ]
    )


def tell_differences(
    targets: Mapping[str, Any], said: Mapping[int, Mapping[str, Any]], names: Mapping[int, str]
) -> None:
    """Add to each target how it is for each gateway, where that differs."""
    for name, target in targets.items():
        views = {id_: one["targets"][name] for id_, one in said.items() if name in one["targets"]}
        if len({_outward(view) for view in views.values()}) > 1:
            target["gateways"] = [
                {"gateway": names[id_], **{key: view.get(key) for key in _OF_EACH}}
                for id_, view in views.items()
            ]


async def ask_to_recall(others: Correspondence, asked: Asked, parts: Sequence[Part]) -> Replies[Recalled]:
    """Ask for what the others have of what is asked, and of what was found already."""
    ids = {one.id for part in parts for one in part.notifications}
    if asked.notification_id is not None:
        ids.add(asked.notification_id)
    return await others.ask_all(
        "recall", Recalled, within_seconds=SEARCH_SECONDS, ids=sorted(ids), text=asked.text
    )


def answer_of_all(
    asked: Asked, told: Mapping[int, Recalled], replies: Replies[Recalled], names: Mapping[int, str]
) -> dict[str, object]:
    """Make one answer of what all have."""
    named = [name_gateway(names[id_], one.parts, one.letters) for id_, one in told.items()]
    parts = [part for of_one, _ in named for part in of_one]
    if any(is_alive(one) and one.id not in replies.said for one in replies.others):
        parts.append(Part(notifications=[], complete=False))
    return answer(asked, parts, merge_letters([letters for _, letters in named]))


def _outward(view: Mapping[str, Any]) -> tuple[object, object]:
    """Return what makes a difference to people; a breaker that has just begun is as closed as any."""
    breaker = view.get("breaker") or {}
    return view.get("state"), breaker.get("open")


def _state_of(said: Mapping[str, Any], target: str) -> object:
    targets = said.get("targets")
    view = targets.get(target) if isinstance(targets, dict) else None
    return view.get("state") if isinstance(view, dict) else None


def _moment(at_ms: int) -> str | None:
    return rfc3339(at_ms) if 0 <= at_ms <= LATEST_MS else None
