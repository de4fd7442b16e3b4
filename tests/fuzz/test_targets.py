"""The fuzz targets hold for their seeds, for whatever has ever broken one, and for seeds spoiled a little."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import NAMES, load_all

FOUND = Path(__file__).parent.parent.parent / "fuzz" / "found"
TARGETS = load_all()
SEEDS = {name: tuple(target.seeds()) for name, target in TARGETS.items()}
EDITS = st.lists(
    st.tuples(st.integers(0, 5000), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=3
)


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_is_borne(name: str) -> None:
    assert SEEDS[name]
    for seed in SEEDS[name]:
        TARGETS[name].one(seed)


@pytest.mark.parametrize("path", sorted(FOUND.rglob("*")) or [None], ids=str)
def test_what_was_once_found_stays_mended(path: Path | None) -> None:
    if path is not None and path.is_file():
        TARGETS[path.parent.name].one(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(data=st.data())
def test_a_seed_with_a_few_bytes_changed_is_borne(name: str, data: st.DataObject) -> None:
    spoiled = data.draw(st.sampled_from(SEEDS[name]))
    for at, put, drop in data.draw(EDITS):
        at %= len(spoiled) + 1
        spoiled = spoiled[:at] + put + spoiled[at + drop :]
    TARGETS[name].one(spoiled)
