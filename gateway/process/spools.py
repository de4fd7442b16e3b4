"""The spools behind the workers: a file of each worker's own, or one that all of them share; and so who is
asked to do what there. Of files each worker is asked about its own; in a shared spool one acts for all.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from gateway.admin.actions import ActionResult
from gateway.admin.requests import ReplayKeptRequest
from gateway.delivery.kept_replay import Cursor
from gateway.delivery.replay import homes, ids_again
from gateway.errors import GatewayError, SpoolUnavailableError, UsageError
from gateway.process.fleet import ANSWER_SECONDS, Answer, Fleet, Worker
from gateway.tracing import Part, read_asked

ACTION_SECONDS: Final = 50.0
"""Some hundred durable writes on a slow disk; the commands wait a minute."""

Views = Sequence[Mapping[str, Any]]


class Spools(Protocol):
    """What is done there; errors as `Fleet.ask` and as the worker's own."""

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Views:
        """Leave a target alone, in all workers; return how it is then."""
        ...

    async def resume(self, target: str, *, rate_per_second: float | None) -> Views:
        """Deliver to it again, all workers together at that rate."""
        ...

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, int]:
        """Make dead letters of about `limit` of what waits for a lost target; return `discarded`, `left`."""
        ...

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, Any]:
        """Send again a part of what is kept; see `admin.actions`."""
        ...

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Store dead letters again, none that waits anywhere."""
        ...

    async def trace(self, text: str) -> list[Part]:
        """Say what spools and memories have."""
        ...


def spools_of(fleet: Fleet) -> Spools:
    """Return what is behind these workers."""
    return SharedSpool(fleet) if fleet.shared_spool else FileOfEach(fleet)


class FileOfEach:
    """A file of each worker's own (`spool.engine: sqlite`)."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Views:
        """See `Spools.pause`."""
        done = await self._fleet.change_all("pause", target=target, seconds=seconds, reason=reason)
        return list(done.values())

    async def resume(self, target: str, *, rate_per_second: float | None) -> Views:
        """See `Spools.resume`."""
        done = await self._fleet.change_all("resume", target=target, rate_per_second=rate_per_second)
        return list(done.values())

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, int]:
        """See `Spools.discard_target`: wherever it waits."""
        discarded, left, refusals = 0, 0, list[UsageError]()
        for worker in self._fleet.answering:
            # What is left where nothing may be done any more is told all the same.
            asked = max(1, limit - discarded)
            try:
                done = await _ask(
                    self._fleet, worker, "discard_target", dict[str, int], target=target, limit=asked
                )
            except UsageError as error:  # nothing waits for it there
                refusals.append(error)
            else:
                discarded, left = discarded + done["discarded"], left + done["left"]
        if refusals and len(refusals) == len(self._fleet.answering):
            raise refusals[0]
        return {"discarded": discarded, "left": left}

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, Any]:
        """See `Spools.replay_kept`: one worker after the other; the place says in which."""
        going = [worker.number for worker in self._fleet.workers if worker.state != "ended"]
        try:
            cursor = Cursor.of(asked.after, going, since_ms=asked.since_ms)
            number = cursor.behind
            worker = next(one for one in self._fleet.workers if one.number == number)
        except (ValueError, StopIteration) as error:
            raise UsageError("there is no such place", remedy="begin anew") from error
        there = msgspec.structs.replace(asked, after=cursor.places[number])
        done = await _replay_kept(self._fleet, worker, there)
        cursor = cursor.moved(None if done["after"] is None else (done["after"][0], done["after"][1]))
        return {
            **done,
            "after": cursor.flat(),
            "reached_ms": cursor.reached_ms(since_ms=asked.since_ms, until_ms=asked.until_ms),
        }

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """See `Spools.replay`: each in the worker where a delivery of it waits, else in the first."""
        first = first_serving(self._fleet)
        again = ids_again(ids, self._fleet.generation.settings.targets)
        said = await self._fleet.ask_all("waiting", list[str], ids=list(again))
        waiting = {number: found for number, found in said.items() if not isinstance(found, GatewayError)}
        workers = {worker.number: worker for worker in self._fleet.workers}
        results: dict[str, ActionResult] = {}
        for number, letters in homes(again, waiting, first=first.number).items():
            results |= await _replay(self._fleet, workers[number], letters, accept_edited=accept_edited)
        return results

    async def trace(self, text: str) -> list[Part]:
        """See `Spools.trace`."""
        said = await self._fleet.ask_all("trace_part", Part, within_seconds=ACTION_SECONDS, text=text)
        parts = answers_of(said)
        if len(parts) < len(said):  # what a worker did not say may be what is asked for
            parts.append(Part(notifications=[], complete=False))
        return parts


class SharedSpool:
    """One that all share, perhaps with other gateways (`spool.engine: postgresql`)."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Views:
        """See `Spools.pause`."""
        return await self._change("pause", target=target, seconds=seconds, reason=reason)

    async def resume(self, target: str, *, rate_per_second: float | None) -> Views:
        """See `Spools.resume`."""
        return await self._change("resume", target=target, rate_per_second=rate_per_second)

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, int]:
        """See `Spools.discard_target`."""
        first = first_serving(self._fleet)
        return await _ask(self._fleet, first, "discard_target", dict[str, int], target=target, limit=limit)

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, Any]:
        """See `Spools.replay_kept`."""
        return await _replay_kept(self._fleet, first_serving(self._fleet), asked)

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """See `Spools.replay`."""
        return await _replay(self._fleet, first_serving(self._fleet), ids, accept_edited=accept_edited)

    async def trace(self, text: str) -> list[Part]:
        """See `Spools.trace`: one looks into the spool, and each into its memory."""
        asked = read_asked(text)
        found = await _ask(self._fleet, first_serving(self._fleet), "trace_part", Part, text=text)
        ids = {one.id for one in found.notifications}
        if asked.notification_id is not None:
            ids.add(asked.notification_id)
        said = await self._fleet.ask_all("recall", Part, ids=sorted(ids))
        memories = [one for one in said.values() if not isinstance(one, GatewayError)]
        return [found, *memories]

    async def _change(self, name: str, **arguments: object) -> Views:
        """Have one change the pauses, and the others look at once; who does not sees it within a second or
        two."""
        first = first_serving(self._fleet)
        done = await self._fleet.ask(first, name, dict[str, Any], within_seconds=ANSWER_SECONDS, **arguments)
        await self._fleet.ask_all("follow_pauses", type(None))
        return [done]


def first_serving(fleet: Fleet) -> Worker:
    """Return the worker that does what one does for all.

    Raises:
        SpoolUnavailableError: none serves.
    """
    if not fleet.serving:
        raise SpoolUnavailableError("no worker serves now", remedy="ask again in a moment")
    return fleet.serving[0]


def answers_of(said: Mapping[int, Answer | GatewayError]) -> list[Answer]:
    """Return what those say who do not fail.

    Raises:
        SpoolUnavailableError: there is none; it says what keeps them all from it, where they know.
    """
    answers = [one for one in said.values() if not isinstance(one, GatewayError)]
    if not answers:
        for one in said.values():
            if isinstance(one, SpoolUnavailableError):
                raise one
        raise SpoolUnavailableError("no worker answers now", remedy="ask again in a moment")
    return answers


async def _ask(fleet: Fleet, worker: Worker, name: str, answer: type[Answer], **arguments: object) -> Answer:
    return await fleet.ask(worker, name, answer, within_seconds=ACTION_SECONDS, **arguments)


async def _replay_kept(fleet: Fleet, worker: Worker, asked: ReplayKeptRequest) -> Mapping[str, Any]:
    return await _ask(fleet, worker, "replay_kept", dict[str, Any], asked=msgspec.to_builtins(asked))


async def _replay(
    fleet: Fleet, worker: Worker, ids: Sequence[str], *, accept_edited: bool
) -> Mapping[str, ActionResult]:
    return await _ask(
        fleet, worker, "replay", dict[str, ActionResult], ids=list(ids), accept_edited=accept_edited
    )
