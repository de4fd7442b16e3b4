"""The judgements of the admin port never stumble."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.guard import host_is_ours, is_json, token_is_right


@given(values=st.lists(st.binary(max_size=40), max_size=2))
def test_no_header_makes_a_judgement_raise(values: list[bytes]) -> None:
    is_json(values)
    assert not token_is_right(values, token=b"")
    if host_is_ours(values, hosts=frozenset()):
        (value,) = values
        assert value.lower().startswith((b"localhost", b"127.", b"[")), value


def test_a_token_of_one_spelling_alone() -> None:
    assert token_is_right([b"Bearer abc"], token=b"abc")
    assert token_is_right([b"bearer  abc"], token=b"abc")
    assert not token_is_right([b"Bearer abc", b"Bearer abc"], token=b"abc")
    assert not token_is_right([b"Bearer ABC"], token=b"abc")
    assert not token_is_right([b"Bearer"], token=b"")
