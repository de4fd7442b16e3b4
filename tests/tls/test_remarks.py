"""What is worth a look and keeps nothing from working."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.simulator.pki import common_name, issue, revocation_list
from gateway.tls.material import MaterialProblem
from gateway.tls.remarks import remarks_tls
from tests.tls.files import Files, production

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""Debian's and its kin's."""
NEGATIVE_SERIAL = """\
-----BEGIN CERTIFICATE-----
MIIBajCCARCgAwIBAgIB+TAKBggqhkjOPQQDAjATMREwDwYDVQQDDAhOZWdhdGl2
ZTAgFw0yNjExMjMwMTQyMTFaGA8yMTI2MTAzMDAxNDIxMVowEzERMA8GA1UEAwwI
TmVnYXRpdmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASCfvtEdjEaGRxXCaev
VA/8SwY8ogXhMP97EzQBFvdyHWlKzHIdnNsaV1FaatjlJ4gnnwu3Wk6DF6xOzZg8
9Sg8o1MwUTAdBgNVHQ4EFgQUptcpEc9NTfgX+CZhai+joAR79i4wHwYDVR0jBBgw
FoAUptcpEc9NTfgX+CZhai+joAR79i4wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjO
PQQDAgNIADBFAiB64aOlUHiqekdy453IyzKFZwEgrZ7lmqFwhvJK8SNGggIhAM1s
4ll3FFjw6DshlrckyMGE+XK8NwALjLOz3KPF29gy
-----END CERTIFICATE-----
"""


def remark(files: Files) -> MaterialProblem:
    assert files.examine() == []
    (only,) = remarks_tls(files.tls)
    assert only.remedy
    return only


def test_a_key_that_everybody_may_read_is_remarked(files: Files) -> None:
    files.tls.private_key.chmod(0o644)
    assert "open to every user" in remark(files).message


def test_a_chain_without_intermediate_is_remarked(files: Files) -> None:
    server, _ = production()
    files.serve(server)
    assert "holds no intermediate" in remark(files).message


def test_a_chain_out_of_order_is_remarked(files: Files) -> None:
    root = issue(common_name("Root"), issuer=None, ca=True)
    between = issue(common_name("Between"), issuer=root, ca=True)
    server = issue(common_name("hooks.example.com"), issuer=between, names=("hooks.example.com",))
    files.serve(server, root, between)
    assert "do not stand in order" in remark(files).message


def test_a_certificate_near_its_end_is_remarked(files: Files) -> None:
    files.serve(*production(not_after=NOW + 5 * DAY + timedelta(hours=1)))
    assert "expires in 5 days" in remark(files).message


def test_the_servers_own_ca_as_anchor_is_remarked(files: Files) -> None:
    """It may be meant (a small company with one CA); more often the two chains were confused."""
    server, root = production()
    files.serve(server, root)
    files.anchor(root)
    assert "also the CA of the gateway's own certificate" in remark(files).message


def test_an_expired_anchor_beside_a_good_one_is_a_rotation_and_a_remark(files: Files) -> None:
    """A gateway that refused to start for it would be an outage of its own making."""
    old = issue(common_name("Old"), issuer=None, ca=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    new = issue(common_name("New"), issuer=None, ca=True)
    files.anchor(old, new)
    assert files.examine() == []
    (remark,) = remarks_tls(files.tls)
    assert remark.key_path == ("tls", "clients", "meta", "trust_anchors", 0)
    assert "CN=Old" in remark.message
    assert "has expired" in remark.message


def test_the_issuer_of_the_own_certificate_as_anchor_is_remarked_though_it_is_not_served(
    files: Files,
) -> None:
    server, root = production()
    files.serve(server)
    files.anchor(root)
    assert files.examine() == []
    assert any(
        "also the CA of the gateway's own certificate" in one.message for one in remarks_tls(files.tls)
    )


def test_a_bundle_of_many_anchors_is_one_remark(files: Files) -> None:
    """The system's CAs where Meta's belongs: nothing breaks, and all their clients pass the first check."""
    old = issue(common_name("Old"), issuer=None, ca=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    files.anchor(old, *(issue(common_name(f"Root {number}"), issuer=None, ca=True) for number in range(10)))
    told = remark(files)
    assert told.key_path == ("tls", "clients", "meta", "trust_anchors")
    assert "11 trust anchors" in told.message
    assert "anybody" in told.message


@pytest.mark.skipif(not BUNDLE.exists(), reason="no bundle of the system's CAs here")
def test_the_systems_bundle_warns_in_our_words_alone(files: Files) -> None:
    """cryptography warns of negative serial numbers, which some old roots have; warnings fail a test."""
    (files.directory / "meta.pem").write_bytes(BUNDLE.read_bytes())
    assert "anybody" in remark(files).message


def test_a_negative_serial_number_is_no_business_of_the_operator(files: Files) -> None:
    (files.directory / "meta.pem").write_text(NEGATIVE_SERIAL)
    files.examine()
    remarks_tls(files.tls)


def test_a_file_without_key_needs_no_other_mode(files: Files) -> None:
    files.tls.private_key.write_bytes(files.tls.certificate.read_bytes())
    files.tls.private_key.chmod(0o644)
    assert remarks_tls(files.tls) == []


def test_without_keys_no_key_is_looked_at(files: Files) -> None:
    files.tls.private_key.chmod(0o644)
    assert remarks_tls(files.tls, with_key=False) == []


def test_a_staged_anchor_that_is_live_or_over_is_remarked(files: Files) -> None:
    root = issue(common_name("Live"), issuer=None, ca=True)
    files.anchor(root)
    path = files.directory / "staged.pem"
    chosen = files.with_client(staged_anchors=(path,))
    path.write_bytes(root.pem)
    assert "stands in trust_anchors too" in remark(chosen).message
    old = issue(common_name("Old"), issuer=None, ca=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    path.write_bytes(old.pem)
    assert "has expired" in remark(chosen).message
    path.write_bytes(issue(common_name("Next"), issuer=None, ca=True).pem)
    assert remarks_tls(chosen.tls) == []


@pytest.mark.parametrize(
    ("strict", "words"), [(False, "goes on counting"), (True, "clients of its CA are refused")]
)
def test_an_expired_revocation_list_is_remarked_and_no_problem(
    files: Files, strict: bool, words: str
) -> None:
    root = issue(common_name("Live"), issuer=None, ca=True)
    files.anchor(root)
    path = files.directory / "meta.crl"
    chosen = files.with_client(revocation_lists=(path,), revocation_strict=strict)
    crl = revocation_list(root, this_update=NOW - 9 * DAY, next_update=NOW - DAY)
    path.write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    told = remark(chosen)
    assert told.key_path == ("tls", "clients", "meta", "revocation_lists", 0)
    assert "expired on" in told.message
    assert words in told.message
    path.write_bytes(revocation_list(root).public_bytes(serialization.Encoding.PEM))
    assert remarks_tls(chosen.tls) == []


def test_a_revocation_list_of_a_ca_that_is_no_anchor_is_remarked(files: Files) -> None:
    path = files.directory / "meta.crl"
    stranger = issue(common_name("Intermediate"), issuer=None, ca=True)
    path.write_bytes(revocation_list(stranger).public_bytes(serialization.Encoding.PEM))
    assert "none of the anchors" in remark(files.with_client(revocation_lists=(path,))).message
