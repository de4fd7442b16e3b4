"""The judgements of the admin port never stumble."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.guard import host_is_ours, is_from_own_page, is_json, token_is_right


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


@given(
    sites=st.lists(st.binary(max_size=20), max_size=2),
    origins=st.lists(st.binary(max_size=30), max_size=2),
    hosts=st.lists(st.binary(max_size=20), max_size=2),
)
def test_only_what_says_nothing_or_names_ourselves_is_from_our_own_page(
    sites: list[bytes], origins: list[bytes], hosts: list[bytes]
) -> None:
    if is_from_own_page(fetch_sites=sites, origins=origins, hosts=hosts):
        silent = not sites and origins in ([], [b"null"])
        own = [origin.lower().split(b"://")[-1] for origin in origins] == [host.lower() for host in hosts]
        assert sites == [b"same-origin"] or silent or own


def test_an_origin_is_compared_whole() -> None:
    def own(origin: bytes) -> bool:
        return is_from_own_page(fetch_sites=[], origins=[origin], hosts=[b"localhost:9090"])

    assert own(b"http://localhost:9090")
    assert own(b"https://LOCALHOST:9090")
    for other in (
        b"http://localhost",
        b"localhost:9090",
        b"file://localhost:9090",
        b"http://localhost:9090.evil",
    ):
        assert not own(other)
