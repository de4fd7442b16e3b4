"""The youngest keys of the duplicates window."""

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.spool.young_keys import PARTS, YoungKeys

keys = st.binary(min_size=32, max_size=32)


def drain(young: YoungKeys) -> list[tuple[int, bytes]]:
    """Put all that is due into its bucket; return it in that order."""
    gone: list[tuple[int, bytes]] = []
    while (generation := young.oldest()) is not None:
        gone += ((generation.bucket, key) for number in range(PARTS) for key in generation.part(number))
        young.merged(generation, PARTS)
    return gone


@given(batches=st.lists(st.tuples(st.integers(1, 3), st.sets(keys, min_size=1, max_size=5)), max_size=30))
def test_every_key_is_known_until_it_is_in_its_bucket(batches: list[tuple[int, set[bytes]]]) -> None:
    young = YoungKeys((), generation_keys=4)
    came: dict[bytes, int] = {}
    for bucket, batch in sorted(batches, key=lambda one: one[0]):
        fresh = [key for key in batch if key not in came]
        young.add(bucket, fresh)
        came |= dict.fromkeys(fresh, bucket)
    everything = list(came)
    assert young.known(everything, {1, 2, 3}) == set(range(len(everything)))
    gone = drain(young)
    left = {everything[at] for at in young.known(everything, {1, 2, 3})}
    assert left.isdisjoint(key for _, key in gone)
    assert left | {key for _, key in gone} == set(everything)
    assert all(came[key] == bucket for bucket, key in gone)


@given(batch=st.lists(keys, min_size=1, max_size=50, unique=True))
def test_a_generation_goes_in_the_order_of_its_keys(batch: list[bytes]) -> None:
    young = YoungKeys((), generation_keys=1)
    young.add(1, batch)
    young.add(1, [b"n" * 32])
    assert [key for _, key in drain(young)] == sorted(batch)


def test_a_key_counts_only_under_a_bucket_that_is_alive() -> None:
    young = YoungKeys((), generation_keys=10)
    young.add(1, [b"a" * 32])
    assert young.known([b"a" * 32], {2}) == set()


def test_rows_go_only_when_all_of_their_generation_is_in_its_bucket() -> None:
    young = YoungKeys((), generation_keys=2)
    for number in range(4):
        young.add(1, [bytes([number]) * 32])
    assert young.rows_to_go == 0
    first = young.oldest()
    assert first is not None
    young.merged(first, PARTS - 1)
    assert young.rows_to_go == 0
    young.merged(first, 1)
    assert young.rows_to_go == 2
    young.rows_gone(2)
    assert young.rows_to_go == 0


def test_one_generation_is_gone_before_the_next_is_full() -> None:
    dice = random.Random(3)
    young = YoungKeys((), generation_keys=5000)
    for _ in range(1000):
        if (generation := young.oldest()) is not None:
            young.merged(generation, young.parts_owed(generation))
        young.add(1, [dice.randbytes(32) for _ in range(dice.randrange(1, 64))])
        assert len(young.of(1)) <= 2


def test_what_the_file_has_is_taken_in_again() -> None:
    a, b, c = (bytes([number]) * 32 for number in range(3))
    young = YoungKeys([(7, 1, a + b), (8, 2, c)], generation_keys=10)
    assert young.known([a, b, c], {1, 2}) == {0, 1, 2}
    assert (young.first_row, young.next_row) == (7, 9)
    assert [key for _, key in drain(young)] == [a, b]
    assert young.rows_to_go == 1


def test_the_first_batch_after_a_start_does_not_do_all_that_was_left() -> None:
    rows = [(row, bucket, bytes([row, bucket]) * 16) for row, bucket in enumerate([1] * 50 + [2] * 50, 1)]
    young = YoungKeys(rows, generation_keys=1000)
    generation = young.oldest()
    assert generation is not None
    assert young.parts_owed(generation) == 0
    young.add(2, [b"x" * 32])
    assert 0 < young.parts_owed(generation) < PARTS // 20
