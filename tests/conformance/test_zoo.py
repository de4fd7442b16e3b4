"""The zoo at a real gateway's door, through the standard library's TLS; others come in `make conformance`."""

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from conformance.clients import PythonSsl, TlsVersion
from conformance.door import open_door
from conformance.specimen import DoorKind, Fate, Ground, Specimen, fate
from conformance.visits import Visit, visit
from conformance.zoo import ADMITTED, NOTHING, ZOO
from gateway.core.identity import Reason

ONE_OF_EACH = tuple({specimen.verdict: specimen for specimen in ZOO}.values())


async def visits(
    directory: Path, kind: DoorKind, version: TlsVersion, zoo: Sequence[Specimen]
) -> list[Visit]:
    ground = Ground()
    async with (
        open_door(directory / "door", ground, kind) as door,
        aclosing(visit(door, kind, ground, PythonSsl(), version, zoo)) as each,
    ):
        return [one async for one in each]


def wrong(seen: Sequence[Visit]) -> list[str]:
    return [f"{one.specimen.name}: {one}" for one in seen if not one.is_right and not one.is_excused]


async def test_every_specimen_meets_its_fate(tmp_path: Path) -> None:
    seen = await visits(tmp_path, DoorKind.ASK, "1.3", ZOO)
    assert wrong(seen) == []
    assert [one.specimen.name for one in seen if not one.is_right] == ["every extension twice"]


@pytest.mark.parametrize("kind", [DoorKind.DEMAND, DoorKind.REPORT])
async def test_one_of_each_verdict_meets_its_fate_at_the_other_doors(tmp_path: Path, kind: DoorKind) -> None:
    assert wrong(await visits(tmp_path, kind, "1.2", ONE_OF_EACH)) == []


def test_the_zoo_is_large_and_no_two_specimens_share_a_name() -> None:
    assert len(ZOO) >= 25
    assert len({specimen.name for specimen in ZOO}) == len(ZOO)
    # The others are not of certificates: deadlines and limits have tests of their own.
    others = {Reason.TIMEOUT, Reason.LIMIT}
    assert {specimen.verdict for specimen in ZOO} == {None, *Reason} - others


def test_only_the_good_and_the_silent_are_accepted_under_ask_and_only_the_good_get_in() -> None:
    for specimen in ZOO:
        met = fate(specimen.verdict, DoorKind.ASK)
        assert (met.status == 200) == (specimen in ADMITTED)
        assert (met.result == "accepted") == (specimen in (*ADMITTED, *NOTHING))


def test_a_fate_is_told_in_few_words() -> None:
    assert str(Fate(status=None, result="refused", reason="expired")) == "closed (expired)"
    assert str(Fate(status=403, result="refused", reason="wrong_name")) == "403 (wrong_name)"
