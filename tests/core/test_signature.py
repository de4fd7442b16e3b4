"""Signatures: only what an app's secret has signed becomes a `VerifiedBody`."""

import base64
import copy
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.signature import SignatureFault, VerifiedBody, sign, verify_signature

VECTORS = json.loads(
    (Path(__file__).parents[1] / "data/payloads/signature_vectors.json").read_text(encoding="utf-8")
)


def verify(raw: bytes, *header_values: bytes, secrets: tuple[bytes, ...]) -> VerifiedBody | SignatureFault:
    return verify_signature(app="main", raw=raw, header_values=header_values, secrets=secrets)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_meta_s_vectors_verify(vector: dict[str, str]) -> None:
    """Each vector is signed as Meta does it, over the raw bytes."""
    secret, body = vector["secret"].encode(), base64.b64decode(vector["body_b64"])
    header = vector["x_hub_signature_256"]
    assert sign(secret, body) == header
    verified = verify(body, header.encode(), secrets=(secret,))
    assert isinstance(verified, VerifiedBody)
    assert (verified.app, verified.raw, verified.secret_index) == ("main", body, 0)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_body_that_was_serialised_again_does_not_verify(vector: dict[str, str]) -> None:
    body = base64.b64decode(vector["body_b64"])
    again = body + b" "
    header = vector["x_hub_signature_256"].encode()
    assert verify(again, header, secrets=(vector["secret"].encode(),)) is SignatureFault.MISMATCH


@given(body=st.binary(), flip=st.integers(min_value=0), secret=st.binary(min_size=1))
def test_one_flipped_bit_is_a_mismatch(body: bytes, flip: int, secret: bytes) -> None:
    header = sign(secret, body)
    bit = flip % 256
    digest = int(header.removeprefix("sha256="), 16) ^ (1 << bit)
    assert verify(body, f"sha256={digest:064x}".encode(), secrets=(secret,)) is SignatureFault.MISMATCH


def test_any_of_the_secrets_may_have_signed_and_the_index_says_which() -> None:
    header = sign(b"old", b"body").encode()
    verified = verify(b"body", header, secrets=(b"new", b"old"))
    assert isinstance(verified, VerifiedBody)
    assert verified.secret_index == 1


def test_every_secret_is_compared_even_after_one_has_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No early exit: the time taken must not tell which secret is in use."""
    import hmac

    compared: list[bytes] = []
    real = hmac.compare_digest

    def counting(left: bytes, right: bytes) -> bool:
        compared.append(left)
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    verify(b"body", sign(b"one", b"body").encode(), secrets=(b"one", b"two", b"three"))
    assert len(compared) == 3


@given(secret=st.binary(min_size=1, max_size=200), body=st.binary(max_size=300))
@example(secret=b"k" * 64, body=b"")
@example(secret=b"k" * 65, body=b"the key is longer than a block")
def test_the_signature_is_that_of_the_standard_library(secret: bytes, body: bytes) -> None:
    import hmac

    assert sign(secret, body) == "sha256=" + hmac.digest(secret, body, "sha256").hex()


def test_an_empty_secret_verifies_nothing() -> None:
    """An HMAC under the empty key can be made by anybody."""
    import hmac

    forged = b"sha256=" + hmac.digest(b"", b"body", "sha256").hex().encode()
    assert verify(b"body", forged, secrets=(b"",)) is SignatureFault.MISMATCH
    assert verify(b"body", forged, secrets=(b"real", b"")) is SignatureFault.MISMATCH
    with pytest.raises(ValueError, match="empty"):
        sign(b"", b"body")


def test_no_secret_at_all_verifies_nothing() -> None:
    assert verify(b"body", sign(b"s", b"body").encode(), secrets=()) is SignatureFault.MISMATCH


def test_an_absent_header_and_a_double_one_are_told_apart() -> None:
    good = sign(b"s", b"body").encode()
    assert verify(b"body", secrets=(b"s",)) is SignatureFault.ABSENT
    assert verify(b"body", good, good, secrets=(b"s",)) is SignatureFault.DOUBLE
    assert verify(b"body", good, b"", secrets=(b"s",)) is SignatureFault.DOUBLE


GOOD = sign(b"s", b"body").encode()


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"sha256=",
        GOOD.upper(),
        b"sha256=" + GOOD.removeprefix(b"sha256=").upper(),
        b"SHA256=" + GOOD.removeprefix(b"sha256="),
        b"sha1=" + GOOD.removeprefix(b"sha256="),
        GOOD.removeprefix(b"sha256="),
        GOOD + b"0",
        GOOD[:-1],
        GOOD + b"\n",
        b" " + GOOD,
        GOOD + b" ",
        GOOD + b"," + GOOD,
        GOOD[:-1] + b"\xd9",
        GOOD[:-2] + "\N{FULLWIDTH DIGIT ONE}".encode(),
        GOOD[:-1] + b"\x00",
    ],
)
def test_anything_but_the_exact_form_is_malformed(header: bytes) -> None:
    assert verify(b"body", header, secrets=(b"s",)) is SignatureFault.MALFORMED


@given(header=st.binary(max_size=80))
def test_no_header_value_makes_it_raise_or_verify(header: bytes) -> None:
    assert isinstance(verify(b"body", header, secrets=(b"s",)), SignatureFault) or header == GOOD


def test_nothing_else_makes_a_verified_body() -> None:
    """Law 3: unverified bytes cannot be stored, because nothing makes the type that `append` takes."""
    with pytest.raises(TypeError, match="verify_signature"):
        VerifiedBody(app="main", raw=b"forged", secret_index=0)
    with pytest.raises(TypeError, match="verify_signature"):
        VerifiedBody(app="main", raw=b"forged", secret_index=0, maker=object())


def test_a_verified_body_cannot_be_changed_into_another() -> None:
    verified = verify(b"body", GOOD, secrets=(b"s",))
    assert isinstance(verified, VerifiedBody)
    with pytest.raises(TypeError, match="verify_signature"):
        dataclasses.replace(verified, raw=b"forged")
    with pytest.raises(dataclasses.FrozenInstanceError):
        verified.raw = b"forged"  # type: ignore[misc]  # it is what the test shows
    assert copy.copy(verified) == verified


def test_its_repr_shows_no_content() -> None:
    """Law 8: message text stands in no repr."""
    verified = verify(b"body", GOOD, secrets=(b"s",))
    assert "body" not in repr(verified).replace("VerifiedBody", "")
    assert "main" in repr(verified)
