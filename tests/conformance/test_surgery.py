"""DER taken apart and put together again."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from conformance.breeds import key_of
from conformance.surgery import (
    inside,
    operate,
    parts,
    signed_with_sha1,
    with_doubled_extensions,
    without_version_and_extensions,
    wrap,
)
from gateway.simulator.pki import authority, client_leaf


@given(st.lists(st.tuples(st.integers(1, 0x1E), st.binary(max_size=300)), max_size=6))
def test_what_was_wrapped_is_found_inside(elements: list[tuple[int, bytes]]) -> None:
    whole = [wrap(tag, content) for tag, content in elements]
    assert parts(b"".join(whole)) == whole
    assert [inside(one) for one in whole] == [content for _, content in elements]


def test_an_operation_that_changes_nothing_gives_the_same_certificate_under_a_sound_signature() -> None:
    ca = authority("CA")
    leaf = client_leaf(ca)
    again = x509.load_der_x509_certificate(operate(leaf, lambda same: same, signing_key=key_of(ca)).der)
    assert again.tbs_certificate_bytes == leaf.certificate.tbs_certificate_bytes
    again.verify_directly_issued_by(ca.certificate)


def test_sha_1_is_named_inside_and_outside_and_signs() -> None:
    ca = authority("CA")
    made = x509.load_der_x509_certificate(signed_with_sha1(client_leaf(ca), signing_key=key_of(ca)).der)
    assert isinstance(made.signature_hash_algorithm, hashes.SHA1)
    digest = ec.ECDSA(hashes.SHA1())  # noqa: S303 # broken on purpose
    key_of(ca).public_key().verify(made.signature, made.tbs_certificate_bytes, digest)


def test_version_1_has_no_extensions_and_doubled_ones_are_refused_by_a_sound_library() -> None:
    ca = authority("CA")
    old = operate(client_leaf(ca), without_version_and_extensions, signing_key=key_of(ca))
    certificate = x509.load_der_x509_certificate(old.der)
    assert certificate.version is x509.Version.v1
    assert list(certificate.extensions) == []
    assert old.pem == certificate.public_bytes(serialization.Encoding.PEM)
    twice = operate(client_leaf(ca), with_doubled_extensions, signing_key=key_of(ca))
    with pytest.raises(x509.DuplicateExtension):
        _ = x509.load_der_x509_certificate(twice.der).extensions
