"""Which dead letters a command is about: ids as written, or whatever a selection takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.cli.output import err
from gateway.clock import unix_ms
from gateway.errors import UsageError

if TYPE_CHECKING:
    from gateway.cli.dead_letters.source import Source
    from gateway.delivery.selection import Selection


def make_selection(
    target: str | None, field: str | None, since: str | None, until: str | None, reason: str | None
) -> "Selection":
    """Read the filters as they are written on the command line.

    Raises:
        UsageError: one of them says nothing.
    """
    from gateway.delivery.dead_letter_record import Reason
    from gateway.delivery.selection import Selection, parse_moment

    if reason is not None and reason not in set(Reason):
        raise UsageError(f"--reason {reason!r:.40} is none", remedy=f"write one of {', '.join(Reason)}")
    at_ms = unix_ms()
    return Selection(
        target=target,
        field=field,
        reason=None if reason is None else Reason(reason),
        since_ms=None if since is None else parse_moment(since, now_ms=at_ms, option="--since"),
        until_ms=None if until is None else parse_moment(until, now_ms=at_ms, option="--until"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The dead letters that are meant: ids as written, or whatever the selection takes, in no list at all."""

    source: "Source"
    ids: tuple[str, ...] | None
    selection: "Selection"
    began_ms: int
    """What died since is left: a letter that is replayed and dies again at once would come round for ever."""

    def walk(self, tell: Callable[[str], None] = lambda _: None) -> Iterator[str]:
        """Go through the ids; `tell` hears of files that cannot be read, which are left out."""
        if self.ids is not None:
            yield from self.ids
            return
        yield from self.source.ids(self.selection, before_ms=self.began_ms, tell=tell)

    def is_empty(self) -> bool:
        """Whether there are none; then it is told why."""
        if next(self.walk(), None) is not None:
            return False
        for _ in self.walk(err):
            pass
        err("no dead letter matches")
        return True

    def number(self) -> int:
        """Return how many there are; reads them all."""
        return sum(1 for _ in self.walk())

    def at_most(self) -> int | None:
        """Return how many there can be, where that can be told at little cost."""
        return self.source.at_most(self.selection) if self.ids is None else len(self.ids)


def choose(source: "Source", ids: list[str] | None, selection: "Selection", *, everything: bool) -> Chosen:
    """Put together what was asked for.

    Raises:
        UsageError: nothing, or in two ways.
    """
    if bool(ids) + everything + (not selection.states_nothing) != 1:
        raise UsageError("say which", remedy="give ids, or filters, or --all")
    named = tuple(dict.fromkeys(ids)) if ids else None
    return Chosen(source=source, ids=named, selection=selection, began_ms=unix_ms())
