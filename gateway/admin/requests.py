"""The bodies of the admin port's POSTs."""

from typing import Annotated, Final

import msgspec

from gateway.core.change import Kind

DELIVERY_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,199}\Z"
DeliveryId = Annotated[str, msgspec.Meta(pattern=DELIVERY_ID)]


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a replay."""

    ids: list[DeliveryId]
    accept_edited: bool = False


class DiscardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a discard."""

    ids: list[DeliveryId]


class LettersRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a question for dead letters that gateways share. Times are Unix ms, of acceptance."""

    target: str | None = None
    field: str | None = None
    reason: str | None = None
    since_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    until_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 2**53 - 1
    begin: DeliveryId | None = None
    """Those alone whose ids begin so, whatever else is asked: two at the most."""
    after: tuple[Annotated[int, msgspec.Meta(ge=-(2**53), lt=2**53)], str] | None = None
    """From the answer before."""
    newest_first: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500


class LetterRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a question for one dead letter."""

    id: DeliveryId


class PauseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a pause."""

    target: str
    seconds: float | None = None
    reason: str = ""


class ResumeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a resumption."""

    target: str
    rate_per_second: float | None = None


class ReplayKeptRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a replay of what was delivered. Times are Unix milliseconds of acceptance."""

    target: str
    since_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    until_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    app: str | None = None
    field: str | None = None
    kind: Kind | None = None
    include_delivered: bool = False
    dry_run: bool = False
    after: Annotated[tuple[int, ...], msgspec.Meta(min_length=2)] | None = None
    """From the answer before: a place, or with several workers one in the file of each."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class DiscardTargetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of the discard of a target."""

    target: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
