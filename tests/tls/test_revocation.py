"""What a list says of a chain, and what its dates and its signature have to do with it."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.simulator.pki import DevelopmentPki, Issued, authority, client_leaf, p256_key, revocation_list
from gateway.tls.revocation import (
    LIST_BADLY_SIGNED,
    LIST_EXPIRED,
    LIST_NOT_YET_VALID,
    REMEMBERED_ISSUERS,
    REVOKED,
    RevocationLists,
    outdated,
)
from tests.tls.files import as_read

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def fault_of(
    pki: DevelopmentPki,
    *lists: x509.CertificateRevocationList,
    strict: bool = False,
    chain: tuple[Issued, ...] | None = None,
    now: datetime = NOW,
) -> tuple[int, int] | None:
    """Judge Meta's chain; return code and depth."""
    presented = chain or (pki.meta_client, pki.meta_intermediate, pki.meta_root)
    judged = RevocationLists(map(as_read, lists), strict=strict)
    fault = judged.find_fault([one.certificate for one in presented], now=now)
    return None if fault is None else (fault.code, fault.depth)


def test_a_leaf_in_its_issuers_list_is_revoked(pki: DevelopmentPki) -> None:
    assert fault_of(pki, revocation_list(pki.meta_intermediate, pki.meta_client)) == (REVOKED, 0)


def test_an_intermediate_in_the_roots_list_is_revoked(pki: DevelopmentPki) -> None:
    assert fault_of(pki, revocation_list(pki.meta_root, pki.meta_intermediate)) == (REVOKED, 1)


def test_of_the_anchor_nothing_is_asked(pki: DevelopmentPki) -> None:
    """RFC 5280 section 6.1: trust in the anchor comes from the configuration."""
    assert fault_of(pki, revocation_list(pki.meta_root, pki.meta_root)) is None


@pytest.mark.parametrize("strict", [False, True])
def test_what_no_list_holds_is_not_revoked(pki: DevelopmentPki, strict: bool) -> None:
    other = client_leaf(pki.meta_intermediate)
    assert fault_of(pki, revocation_list(pki.meta_intermediate, other), strict=strict) is None


@pytest.mark.parametrize("strict", [False, True])
def test_an_issuer_without_a_list_is_not_checked(pki: DevelopmentPki, strict: bool) -> None:
    stranger = authority("somebody else")
    assert fault_of(pki, revocation_list(stranger, pki.meta_client), strict=strict) is None
    assert fault_of(pki, strict=strict) is None


def test_the_serial_counts_for_its_own_issuer_alone(pki: DevelopmentPki) -> None:
    """The root's list with the leaf's serial speaks of another certificate."""
    assert fault_of(pki, revocation_list(pki.meta_root, pki.meta_client)) is None


def test_an_expired_list_goes_on_counting_and_refuses_nobody_else(pki: DevelopmentPki) -> None:
    old = partial(revocation_list, this_update=NOW - 9 * DAY, next_update=NOW - DAY)
    assert fault_of(pki, old(pki.meta_intermediate)) is None
    assert fault_of(pki, old(pki.meta_intermediate, pki.meta_client)) == (REVOKED, 0)


def test_a_list_that_expires_while_the_gateway_runs_is_judged_by_the_time_of_the_chain(
    pki: DevelopmentPki,
) -> None:
    current = revocation_list(pki.meta_intermediate)
    assert fault_of(pki, current, strict=True) is None
    assert fault_of(pki, current, strict=True, now=NOW + 8 * DAY) == (LIST_EXPIRED, 0)
    assert fault_of(pki, current, strict=False, now=NOW + 8 * DAY) is None


def test_strict_refuses_by_an_outdated_list(pki: DevelopmentPki) -> None:
    expired = revocation_list(pki.meta_root, this_update=NOW - 9 * DAY, next_update=NOW - DAY)
    assert fault_of(pki, expired, strict=True) == (LIST_EXPIRED, 1)
    early = revocation_list(pki.meta_intermediate, this_update=NOW + DAY)
    assert fault_of(pki, early, strict=True) == (LIST_NOT_YET_VALID, 0)
    assert fault_of(pki, early) is None


def test_revoked_says_so_under_strict_too(pki: DevelopmentPki) -> None:
    expired = revocation_list(
        pki.meta_intermediate, pki.meta_client, this_update=NOW - 9 * DAY, next_update=NOW - DAY
    )
    assert fault_of(pki, expired, strict=True) == (REVOKED, 0)


@pytest.mark.parametrize("identified", [True, False])
def test_a_list_that_its_issuer_has_not_signed_refuses_the_chain(
    pki: DevelopmentPki, identified: bool
) -> None:
    """Found out only when an intermediate that the configuration does not hold shows itself."""
    forged = revocation_list(pki.meta_intermediate, signing_key=p256_key(), identified=identified)
    assert fault_of(pki, forged) == (LIST_BADLY_SIGNED, 0)


def test_a_list_without_key_identifier_is_its_issuers_by_its_signature(pki: DevelopmentPki) -> None:
    crl = revocation_list(pki.meta_intermediate, pki.meta_client, identified=False)
    assert fault_of(pki, crl) == (REVOKED, 0)


def test_two_cas_of_one_name_have_each_its_own_list(pki: DevelopmentPki) -> None:
    """A CA that has changed its key: both lists are at hand, and each speaks for its own certificates."""
    name = "Meta-like outbound issuing CA"
    newer = authority(name, issuer=pki.meta_root, path_length=0)
    leaf = client_leaf(newer)
    lists = (revocation_list(pki.meta_intermediate), revocation_list(newer, leaf))
    assert fault_of(pki, *lists) is None
    assert fault_of(pki, *lists, chain=(leaf, newer, pki.meta_root)) == (REVOKED, 0)
    assert fault_of(pki, lists[0], chain=(leaf, newer, pki.meta_root)) is None


def test_a_ca_that_may_not_sign_lists_signs_none(pki: DevelopmentPki) -> None:
    plain = authority("issues only")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.certificate.subject)
        .issuer_name(plain.certificate.subject)
        .public_key(plain.key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(usage, critical=True)
    )
    limited = Issued(certificate=builder.sign(plain.key, hashes.SHA256()), key=plain.key)
    leaf = client_leaf(limited)
    crl = revocation_list(limited, leaf)
    assert fault_of(pki, crl, chain=(leaf, limited)) == (LIST_BADLY_SIGNED, 0)


def test_signatures_are_verified_once_an_issuer_and_their_memory_has_a_bound(pki: DevelopmentPki) -> None:
    one = as_read(revocation_list(pki.meta_root))
    for _ in range(REMEMBERED_ISSUERS + 3):
        assert not one.is_signed_by(authority("another").certificate)
        assert one.is_signed_by(pki.meta_root.certificate)
        assert len(one.signers) <= REMEMBERED_ISSUERS


def test_the_state_of_a_list_is_told_for_people(pki: DevelopmentPki) -> None:
    one = as_read(revocation_list(pki.meta_root, this_update=NOW, next_update=NOW + DAY))
    assert outdated(one, NOW + DAY / 2) == ""
    assert outdated(one, NOW - DAY).startswith("is not valid before 20")
    assert outdated(one, NOW + 2 * DAY).startswith("expired on 20")
