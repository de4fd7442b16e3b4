"""The zoo at every kind of door, through every client: each specimen a row, each way in a column."""

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.clients import ClientUnableError, TlsClient, TlsVersion, is_there
from conformance.door import Door, open_door
from conformance.outcome import Outcome, columns, failed, passed, skipped
from conformance.specimen import DoorKind, Fate, Ground, Specimen, fate
from conformance.zoo import ZOO

VERSIONS: Final[Sequence[TlsVersion]] = ("1.3", "1.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One specimen, presented by one client at one door."""

    specimen: Specimen
    way: str
    """`openssl 1.3`."""
    wanted: Fate
    met: Fate | None
    """None: the client did not present it."""
    unable: str | None
    """Why; the client's own words."""

    @property
    def is_excused(self) -> bool:
        """Whether this client is known not to present this one: by itself, or by leaving the handshake."""
        client = self.way.split()[0]
        left = self.met is not None and self.met.status is None and self.met.reason == "protocol"
        return client in self.specimen.unable and (self.met is None or (left and self.met != self.wanted))

    @property
    def is_right(self) -> bool:
        """Whether it met what it had to meet."""
        return self.met == self.wanted

    def __str__(self) -> str:
        """Say what it met, and what it should have."""
        met = "not presented" if self.is_excused else str(self.met or self.unable)
        return met if self.is_right or self.is_excused else f"{met}, not {self.wanted}"


async def visit(
    door: Door,
    kind: DoorKind,
    ground: Ground,
    client: TlsClient,
    version: TlsVersion,
    zoo: Sequence[Specimen],
) -> AsyncGenerator[Visit, None]:
    """Let one client present each specimen."""
    for specimen in zoo:
        met, unable = None, None
        try:
            met = await door.knock(specimen, ground, client, version)
        except ClientUnableError as error:
            unable = str(error)
        yield Visit(
            specimen=specimen,
            way=f"{client.name} {version}",
            wanted=fate(specimen.verdict, kind),
            met=met,
            unable=unable,
        )


async def visit_all(directory: Path, clients: Sequence[TlsClient]) -> AsyncGenerator[Outcome, None]:
    """Open each kind of door, let all clients present the zoo there, print and yield what became of them."""
    ground = Ground()
    for client in clients:
        if not is_there(client):
            yield skipped("zoo", client.name, f"{client.program} is not installed")
    present = [client for client in clients if is_there(client)]
    if not present:
        return
    for kind in DoorKind:
        async with open_door(directory / kind, ground, kind) as door:
            visits: list[Visit] = []
            for client in present:
                for version in VERSIONS:
                    async with aclosing(visit(door, kind, ground, client, version, ZOO)) as each:
                        visits += [one async for one in each]
        _print(kind, visits)
        for way in dict.fromkeys(one.way for one in visits):
            yield _sum_up(kind, way, [one for one in visits if one.way == way])


def _sum_up(kind: DoorKind, way: str, visits: Sequence[Visit]) -> Outcome:
    wrong = [f"{one.specimen.name}: {one}" for one in visits if not one.is_right and not one.is_excused]
    right = sum(one.is_right for one in visits)
    unpresented = sum(not one.is_right and one.is_excused for one in visits)
    if wrong:
        return failed("zoo", f"{kind}, {way}", "; ".join(wrong))
    return passed(
        "zoo",
        f"{kind}, {way}",
        f"{right} specimens met their fate, {unpresented} the client does not present",
    )


def _print(kind: DoorKind, visits: Sequence[Visit]) -> None:
    ways = list(dict.fromkeys(one.way for one in visits))
    met = {(one.specimen.name, one.way): str(one) for one in visits}
    rows = [["", *ways, "why"]]
    rows += [[one.name, *(met[one.name, way] for way in ways), one.why] for one in ZOO]
    sys.stdout.write(f"\nThe zoo, door: {kind}\n" + "\n".join(columns(rows)) + "\n")
