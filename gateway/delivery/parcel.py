"""What goes out in one POST: a delivery alone, or the members of a group."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from gateway.spool.contract import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """The leases of one attempt, oldest acceptance first; all have the same app and the same attempt."""

    members: tuple[Lease, ...]

    @property
    def first(self) -> Lease:
        """The oldest member: what it says of app, target and attempt holds for all."""
        return self.members[0]

    @property
    def merged(self) -> bool:
        """Whether it has several members."""
        return len(self.members) > 1

    @property
    def key(self) -> str:
        """The Idempotency-Key: stable over attempts and restarts, as long as the members are."""
        return self.first.group or self.first.delivery_id


def parcels(leases: Iterable[Lease]) -> tuple[Parcel, ...]:
    """Put together what the spool has leased: the members of a group stand side by side."""
    return tuple(
        Parcel(members=tuple(members))
        for _, members in groupby(leases, key=lambda lease: lease.group or lease.token)
    )


def line_fields(lease: Lease) -> dict[str, object]:
    """Return what every line about a delivery says of it, under the names that all lines use."""
    return {"target": lease.target, "notification": lease.notification_id, "delivery": lease.delivery_id}
