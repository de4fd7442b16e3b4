"""What rows hold that is no plain value."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.spool.stored_forms import selection_of, selection_text


@given(st.none() | st.lists(st.integers(min_value=0, max_value=2**31)).map(tuple))
def test_a_selection_comes_out_as_it_went_in(selection: tuple[int, ...] | None) -> None:
    assert selection_of(selection_text(selection)) == selection
