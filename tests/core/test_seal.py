"""The seal of a dead letter: what was edited shows, and is replayed only on the operator's word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.seal import seal, unseal
from gateway.core.signature import VerifiedBody, sign

KEY = b"k" * 32


@given(app=st.text(), raw=st.binary())
def test_what_was_sealed_is_unsealed(app: str, raw: bytes) -> None:
    verified = unseal([KEY], app=app, raw=raw, integrity=seal(KEY, app=app, raw=raw), accept_edited=False)
    assert isinstance(verified, VerifiedBody)
    assert (verified.app, verified.raw, verified.secret_index) == (app, raw, -1)


@pytest.mark.parametrize(
    ("app", "raw", "key"),
    [
        ("main", b"edited", KEY),
        ("other", b"body", KEY),
        ("mainb", b"ody", KEY),
        ("mai", b"nbody", KEY),
        ("main", b"body", b"another key"),
    ],
)
def test_what_was_edited_is_refused_unless_accepted(app: str, raw: bytes, key: bytes) -> None:
    integrity = seal(KEY, app="main", raw=b"body")
    assert unseal([key], app=app, raw=raw, integrity=integrity, accept_edited=False) is None
    accepted = unseal([key], app=app, raw=raw, integrity=integrity, accept_edited=True)
    assert accepted is not None
    assert accepted.raw == raw


@given(integrity=st.text())
def test_no_made_up_seal_fits(integrity: str) -> None:
    assert unseal([KEY], app="main", raw=b"body", integrity=integrity, accept_edited=False) is None


def test_a_lone_surrogate_from_an_edited_file_is_refused_and_not_raised() -> None:
    assert unseal([KEY], app="main", raw=b"body", integrity="\ud800", accept_edited=False) is None
    assert unseal([KEY], app="\ud800", raw=b"body", integrity="", accept_edited=False) is None


def test_a_seal_is_no_signature() -> None:
    """The same key over the same bytes: nobody can pass the one off as the other."""
    assert seal(KEY, app="main", raw=b"body") != sign(KEY, b"body")


def test_an_empty_key_seals_nothing_and_opens_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        seal(b"", app="main", raw=b"body")
    assert unseal([b""], app="main", raw=b"body", integrity="", accept_edited=False) is None
