"""The books of a story: every id answered 200 against every id that arrived or lies as a dead letter."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import trio

from gateway.errors import PeerError
from gateway.simulator.target import Target
from tests.stories.rig import PATH, Config, Rig, message, message_id, unique_id

UNROUTED_FIELD = "account_update"
"""What `messages_alone` leaves without a route: a dead letter at once."""
CONNECTIONS = 8
"""From which Meta posts at the same time."""


@dataclass(slots=True)
class Books:
    """What was answered 200, in order; ids are those of `message`."""

    acknowledged: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    """Answers other than 200, by status."""
    _arrived: dict[str, tuple[int, Counter[str]]] = field(default_factory=dict)
    """By target: how many of its POSTs were read, and what they were."""
    _letters: dict[Path, str] = field(default_factory=dict)

    async def post_until_gone(self, rig: Rig, *, one_in: int = 0) -> None:
        """Post over one connection until the gateway is gone; every `one_in`th has no route."""
        try:
            async with rig.meta() as meta:
                number = 0
                while True:
                    number += 1
                    identity = unique_id()
                    unrouted = one_in and number % one_in == 0
                    body = message(identity, field_name=UNROUTED_FIELD if unrouted else "messages")
                    exchange = await meta.post(PATH, body)
                    if exchange.status == 200:
                        self.acknowledged.append(identity)
                    else:
                        self.refused[exchange.status] += 1
        except PeerError:
            return

    async def post(self, rig: Rig, count: int, *, padding: int = 0, field_name: str = "messages") -> None:
        """Post so many over one connection; what is not answered 200 is counted, and not tried again."""
        async with rig.meta() as meta:
            for _ in range(count):
                identity = unique_id()
                exchange = await meta.post(PATH, message(identity, field_name=field_name) + b" " * padding)
                if exchange.status == 200:
                    self.acknowledged.append(identity)
                else:
                    self.refused[exchange.status] += 1

    async def post_unrouted(self, rig: Rig, count: int) -> None:
        """Post so many that `messages_alone` leaves without a route."""
        await self.post(rig, count, field_name=UNROUTED_FIELD)

    def has_more_than(self, known: int) -> bool:
        """Whether something was answered 200 since there were so many."""
        return len(self.acknowledged) > known

    def missing(self, rig: Rig, *targets: Target) -> set[str]:
        """Return what was answered 200 and is neither at all of the targets nor a dead letter."""
        self._read_letters(rig)
        wanted = set(self.acknowledged) - self.dead
        return set().union(*(wanted - self.arrived(target).keys() for target in targets))

    def arrived(self, target: Target) -> Counter[str]:
        """Return how often each message was taken by the target."""
        read, counts = self._arrived.get(target.url, (0, Counter()))
        news = target.received[read:]
        counts.update(message_id(received.body) for received in news if received.status == 200)
        self._arrived[target.url] = (read + len(news), counts)
        return counts

    @property
    def dead(self) -> set[str]:
        """The messages that lay as dead letters at the last look."""
        return set(self._letters.values())

    def _read_letters(self, rig: Rig) -> None:
        """Read the new ones; whatever ends in .json has to be whole."""
        for path in rig.dead_letter_directory.rglob("*.json"):
            if path not in self._letters:
                self._letters[path] = message_id(json.loads(path.read_bytes())["body"].encode())

    async def balance(self, rig: Rig, *targets: Target, seconds: float = 30) -> None:
        """Return when nothing is missing.

        Raises:
            AssertionError: something still is, after `seconds`.
        """
        with trio.move_on_after(seconds):
            while self.missing(rig, *targets):  # noqa: ASYNC110 -- files of another process give no event
                await trio.sleep(0.1)
            return
        missing = self.missing(rig, *targets)
        assert not missing, f"{len(missing)} of {len(self.acknowledged)} are missing: {sorted(missing)[:5]}"


def line_of_account(number: int, books: Books, rig: Rig, target: Target) -> str:
    """Return one round's balance for people."""
    missing = len(books.missing(rig, target))
    counts = books.arrived(target)
    twice = sum(1 for count in counts.values() if count > 1)
    return (
        f"round {number}: {len(books.acknowledged)} answered 200, "
        f"{len(counts)} arrived ({twice} more than once), {len(books.dead)} are dead letters, "
        f"{missing} still owed"
    )


def messages_alone(config: Config) -> None:
    """Give messages to every target, and everything else to nobody."""
    config["routes"][0]["field"] = "messages"
