"""The judgement of a head: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import Peer
from gateway.ingress.checks import Challenge, Head, IngressApp, ReadBody, Refuse, examine
from tests.ingress.rig import META, PLENTY, unproved_peer

APP = IngressApp(
    name="main",
    path=b"/webhooks/main",
    secrets=(b"secret",),
    verify_token=b"token",
    clients=frozenset({"meta"}),
    certificate_required=True,
)


def head(*headers: tuple[bytes, bytes], method: str = "POST", peer: Peer | None = META) -> Head:
    return Head(method=method, path=APP.path, query=b"", headers=headers, peer=peer, address="192.0.2.1")


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (b"0", None), (b"100", None), (b"101", 413), (b"9" * 4999, 413),
        (b"", None), (b"-1", None), (b"+5", None), (b"1e9", None), (b"\xb2", None), (b" 101", None),
    ],
)  # fmt: skip
def test_a_content_length_counts_only_as_a_number(length: bytes, status: int | None) -> None:
    verdict = examine(APP, head((b"content-length", length)), room=PLENTY, max_body_bytes=100)
    assert (verdict.status if isinstance(verdict, Refuse) else None) == status


def test_of_several_content_lengths_the_largest_counts() -> None:
    verdict = examine(
        APP, head((b"content-length", b"5"), (b"content-length", b"500")), room=PLENTY, max_body_bytes=100
    )
    assert isinstance(verdict, Refuse)
    assert verdict.status == 413


@given(
    method=st.text(max_size=10),
    headers=st.lists(
        st.tuples(
            st.sampled_from([b"content-length", b"content-encoding", b"x-hub-signature-256", b"expect"]),
            st.binary(max_size=30),
        ),
        max_size=4,
    ),
    peer=st.sampled_from([None, META, unproved_peer()]),
    query=st.binary(max_size=60),
)
def test_any_head_gets_a_verdict_and_none_without_certificate_gets_its_body_read(
    method: str, headers: list[tuple[bytes, bytes]], peer: Peer | None, query: bytes
) -> None:
    asked = Head(method=method, path=APP.path, query=query, headers=headers, peer=peer, address="")
    match examine(APP, asked, room=PLENTY, max_body_bytes=100):
        case ReadBody():
            assert method == "POST"
            assert peer is META
        case Challenge():
            assert method == "GET"
        case Refuse(status=status, word=word):
            assert 400 <= status <= 503
            assert word.isidentifier()
