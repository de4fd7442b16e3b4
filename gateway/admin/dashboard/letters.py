"""Dead letters, as the pages see them; whoever reads the files is above (`gateway.browsing`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The filter as it was typed; empty: whatever it is. See `delivery.selection`."""

    target: str = ""
    field: str = ""
    reason: str = ""
    since: str = ""
    until: str = ""
    after: str = ""
    """Where the page before ended (`Page.after`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One dead letter in a list: nothing of its body, nor of what the target has answered."""

    id: str
    target: str
    reason: str
    app: str = ""
    fields: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    received_ms: int | None = None
    died_ms: int | None = None
    attempts: int = 0
    last: str = ""
    """Status or error of the last attempt."""
    body_bytes: int = 0
    problem: str = ""
    """Why the file cannot be read; then the rest is not known."""
    gateway: str = ""
    """Who holds it, where that may be several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of what was asked for, newest hour of acceptance first."""

    rows: tuple[Row, ...]
    after: str
    """For the page that follows; empty: this is the last."""
    looked_at: int
    """Files that were read: a filter may take few of many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt."""

    at_ms: int
    outcome: str
    duration_ms: int
    excerpt: str = field(repr=False)
    """What the target answered; may quote the notification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter."""

    row: Row
    notification_id: str
    url: str
    object: str
    waba: str
    phone_number_id: str
    file: str
    """Its path, on the gateway that holds it."""
    attempts: tuple[Attempt, ...]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Letters(Protocol):
    """Reads dead letters."""

    def reasons(self) -> tuple[str, ...]:
        """Return every word that a reason may be."""
        ...

    async def page(self, wanted: Wanted) -> Page:
        """List some.

        Raises:
            GatewayError: the filter says nothing, or the directory cannot be read.
        """
        ...

    async def find(self, identifier: str) -> Letter | None:
        """Return one, or None where there is none of this id.

        Raises:
            GatewayError: the file is damaged, or the directory cannot be read.
        """
        ...
