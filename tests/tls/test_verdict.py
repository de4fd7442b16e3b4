"""Each step of the verdict is broken in turn, over real handshakes, and the door stays shut."""

import base64
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto

from gateway.core.identity import Identity, Reason, Refusal
from gateway.simulator.pki import (
    CLIENT_AUTH,
    META_CLIENT_NAME,
    SERVER_AUTH,
    DevelopmentPki,
    Issued,
    authority,
    client_leaf,
    common_name,
    issue,
    meta_subject,
    p256_key,
    revocation_list,
    subject_name,
)
from gateway.tls.revocation import RevocationLists
from gateway.tls.verdict import MAX_NAME_CHARACTERS, ChainRecord, VerdictMissingError, decide
from tests.tls.files import as_read
from tests.tls.rig import ANSWER, Maker

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
SHORT_RSA_BITS = 1024
Chain = tuple[Issued, ...]


def meta_chain(pki: DevelopmentPki, leaf: Issued) -> Chain:
    return (leaf, pki.meta_intermediate)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A chain that must not be let in."""

    why: str
    build: Callable[[DevelopmentPki], Chain]
    reason: Reason


def with_subject(subject: x509.Name, names: Sequence[str] = ()) -> Callable[[DevelopmentPki], Chain]:
    return lambda pki: meta_chain(pki, client_leaf(pki.meta_intermediate, subject=subject, names=names))


def stranger(pki: DevelopmentPki) -> Chain:
    """Meta's names throughout, and none of Meta's keys."""
    root = authority("Meta-like outbound root CA")
    intermediate = authority("Meta-like outbound issuing CA", issuer=root, path_length=0)
    return (client_leaf(intermediate), intermediate, root)


def below_a_leaf(pki: DevelopmentPki) -> Chain:
    """Meta's own client certificate, used as if it were an authority."""
    used = client_leaf(pki.meta_root)
    return (client_leaf(used), used)


def below_the_path_length(pki: DevelopmentPki) -> Chain:
    """The issuing CA has path length 0: it may issue leaves, and no authority."""
    below = authority("one too many", issuer=pki.meta_intermediate)
    return (client_leaf(below), below, pki.meta_intermediate)


def too_deep(pki: DevelopmentPki) -> Chain:
    """Leaf, and four authorities between it and the anchor."""
    chain = [pki.meta_root]
    for number in range(4):
        chain.insert(0, authority(f"authority {number}", issuer=chain[0]))
    return (client_leaf(chain[0]), *chain[:-1])


def expired_intermediate(pki: DevelopmentPki) -> Chain:
    between = authority(
        "expired issuing CA", issuer=pki.meta_root, not_before=NOW - 9 * DAY, not_after=NOW - DAY
    )
    return (client_leaf(between), between)


def intermediate_for_servers(pki: DevelopmentPki) -> Chain:
    between = authority("server CA", issuer=pki.meta_root, extended_key_usage=(SERVER_AUTH,))
    return (client_leaf(between), between)


def unknown_critical_extension(pki: DevelopmentPki) -> Chain:
    policy = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    return meta_chain(
        pki,
        issue(
            meta_subject(),
            issuer=pki.meta_intermediate,
            extended_key_usage=(CLIENT_AUTH,),
            critical=(policy,),
        ),
    )


BROKEN = [
    Broken(
        why="expired",
        build=lambda pki: meta_chain(
            pki, client_leaf(pki.meta_intermediate, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
        ),
        reason=Reason.EXPIRED,
    ),
    Broken(
        why="not yet valid",
        build=lambda pki: meta_chain(
            pki, client_leaf(pki.meta_intermediate, not_before=NOW + DAY, not_after=NOW + 9 * DAY)
        ),
        reason=Reason.NOT_YET_VALID,
    ),
    Broken(
        why="for servers only",
        build=lambda pki: meta_chain(
            pki, client_leaf(pki.meta_intermediate, extended_key_usage=(SERVER_AUTH,))
        ),
        reason=Reason.WRONG_PURPOSE,
    ),
    Broken(
        why="any purpose is not this purpose",
        build=lambda pki: meta_chain(
            pki,
            client_leaf(
                pki.meta_intermediate, extended_key_usage=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)
            ),
        ),
        reason=Reason.WRONG_PURPOSE,
    ),
    Broken(why="unknown issuer", build=stranger, reason=Reason.UNKNOWN_ISSUER),
    Broken(
        why="unknown issuer, leaf alone", build=lambda pki: stranger(pki)[:1], reason=Reason.UNKNOWN_ISSUER
    ),
    Broken(why="missing intermediate", build=lambda pki: (pki.meta_client,), reason=Reason.UNKNOWN_ISSUER),
    Broken(why="self-signed", build=lambda _: (client_leaf(None),), reason=Reason.UNKNOWN_ISSUER),
    Broken(
        why="the gateway's own server certificate",
        build=lambda pki: (pki.server,),
        reason=Reason.UNKNOWN_ISSUER,
    ),
    Broken(
        why="signature forged",
        build=lambda pki: meta_chain(pki, client_leaf(pki.meta_intermediate, signing_key=p256_key())),
        reason=Reason.BAD_CHAIN,
    ),
    Broken(why="leaf used as an authority", build=below_a_leaf, reason=Reason.WRONG_PURPOSE),
    Broken(why="path length exceeded", build=below_the_path_length, reason=Reason.BAD_CHAIN),
    Broken(why="chain too deep", build=too_deep, reason=Reason.BAD_CHAIN),
    Broken(why="expired intermediate", build=expired_intermediate, reason=Reason.EXPIRED),
    Broken(why="intermediate for servers", build=intermediate_for_servers, reason=Reason.WRONG_PURPOSE),
    Broken(why="unknown critical extension", build=unknown_critical_extension, reason=Reason.BAD_CHAIN),
    Broken(
        why="RSA key too short",
        build=lambda pki: meta_chain(
            pki,
            client_leaf(pki.meta_intermediate, key=rsa.generate_private_key(65537, SHORT_RSA_BITS)),
        ),
        reason=Reason.BAD_CHAIN,
    ),
]

WRONG_NAMES = {
    "another name": common_name("client.example.com"),
    "name with a suffix": common_name(f"{META_CLIENT_NAME}.evil.example"),
    "name with a prefix": common_name(f"evil-{META_CLIENT_NAME}"),
    "other case": common_name(META_CLIENT_NAME.upper()),
    "wildcard": common_name("*.webhooks.fbclientcerts.com"),
    "trailing dot": common_name(f"{META_CLIENT_NAME}."),
    "NUL in the name": common_name(f"{META_CLIENT_NAME}\0.evil.example"),
    "name inside another attribute": subject_name(
        (NameOID.COMMON_NAME, "evil.example"), (NameOID.ORGANIZATION_NAME, f"x/CN={META_CLIENT_NAME}")
    ),
    "name in O alone": subject_name((NameOID.ORGANIZATION_NAME, META_CLIENT_NAME)),
    "two CNs, the right one first": subject_name(
        (NameOID.COMMON_NAME, META_CLIENT_NAME), (NameOID.COMMON_NAME, "evil.example")
    ),
    "two CNs, the right one last": subject_name(
        (NameOID.COMMON_NAME, "evil.example"), (NameOID.COMMON_NAME, META_CLIENT_NAME)
    ),
    "twice the right CN": subject_name(
        (NameOID.COMMON_NAME, META_CLIENT_NAME), (NameOID.COMMON_NAME, META_CLIENT_NAME)
    ),
    "no name at all": x509.Name([]),
}


def cases(handshake: str) -> list[object]:
    wrong_names = [
        Broken(why=why, build=with_subject(subject), reason=Reason.WRONG_NAME)
        for why, subject in WRONG_NAMES.items()
    ]
    all_of_them = BROKEN + (wrong_names if handshake == "demand" else [])
    return [pytest.param(case, id=case.why) for case in all_of_them]


@pytest.mark.parametrize("case", cases("demand"))
async def test_under_demand_the_door_stays_shut(maker: Maker, pki: DevelopmentPki, case: Broken) -> None:
    async with maker.door(handshake="demand") as door:
        assert await maker.knock(door, case.build(pki)) == b""
        assert door.peers == []
        assert door.count("refused", case.reason.value) == 1
        assert door.listener.open_connections == 0


@pytest.mark.parametrize("case", cases("ask"))
async def test_a_certificate_that_is_bad_is_answered_nothing_under_ask_too(
    maker: Maker, pki: DevelopmentPki, case: Broken
) -> None:
    async with maker.door(handshake="ask") as door:
        assert await maker.knock(door, case.build(pki)) == b""
        assert door.peers == []
        assert door.count("refused", case.reason.value) == 1


@pytest.mark.parametrize("subject", WRONG_NAMES.values(), ids=WRONG_NAMES.keys())
async def test_a_good_chain_with_a_wrong_name_proves_no_identity(
    maker: Maker, pki: DevelopmentPki, subject: x509.Name
) -> None:
    """Handed over, since the contract answers 403; but without identity."""
    async with maker.door() as door:
        leaf = client_leaf(pki.meta_intermediate, subject=subject)
        assert await maker.knock(door, meta_chain(pki, leaf)) == ANSWER
        verdict = door.verdict()
        assert isinstance(verdict, Refusal)
        assert verdict.reason is Reason.WRONG_NAME
        assert verdict.leaf is not None
        assert door.count("refused", "wrong_name") == 1


@pytest.mark.parametrize("case", cases("demand"))
async def test_while_an_app_reports_a_bad_certificate_goes_on_without_identity(
    maker: Maker, pki: DevelopmentPki, case: Broken
) -> None:
    async with maker.door(report=True) as door:
        assert await maker.knock(door, case.build(pki)) == ANSWER
        verdict = door.verdict()
        assert isinstance(verdict, Refusal)
        assert verdict.reason is case.reason
        assert door.count("refused", case.reason.value) == 1


GOOD: dict[str, Callable[[DevelopmentPki], Chain]] = {
    "as Meta's": lambda pki: (pki.meta_client, pki.meta_intermediate),
    "with the root besides": lambda pki: (pki.meta_client, pki.meta_intermediate, pki.meta_root),
    "straight from the root": lambda pki: (client_leaf(pki.meta_root),),
    "without extended key usage": lambda pki: meta_chain(
        pki, client_leaf(pki.meta_intermediate, extended_key_usage=())
    ),
    "two purposes": lambda pki: meta_chain(
        pki, client_leaf(pki.meta_intermediate, extended_key_usage=(SERVER_AUTH, CLIENT_AUTH))
    ),
    "dNSName alone": with_subject(x509.Name([]), names=("other.example", META_CLIENT_NAME)),
    "dNSName beside attributes that are no CN": with_subject(
        subject_name((NameOID.ORGANIZATION_NAME, "Meta")), names=(META_CLIENT_NAME,)
    ),
    "RSA": lambda pki: meta_chain(
        pki, client_leaf(pki.meta_intermediate, key=rsa.generate_private_key(65537, 2048))
    ),
    "Ed25519": lambda pki: meta_chain(
        pki, client_leaf(pki.meta_intermediate, key=ed25519.Ed25519PrivateKey.generate())
    ),
    "three authorities between": lambda pki: tuple(too_deep_by_one_less(pki)),
    "strangers' certificates besides": lambda pki: (
        pki.meta_client, authority("nobody"), pki.meta_intermediate,
    ),
}  # fmt: skip


def too_deep_by_one_less(pki: DevelopmentPki) -> list[Issued]:
    chain = [pki.meta_root]
    for number in range(3):
        chain.insert(0, authority(f"authority {number}", issuer=chain[0]))
    return [client_leaf(chain[0]), *chain[:-1]]


@pytest.mark.parametrize("build", GOOD.values(), ids=GOOD.keys())
@pytest.mark.parametrize("handshake", ["ask", "demand"])
async def test_a_good_certificate_is_an_identity(
    maker: Maker, pki: DevelopmentPki, build: Callable[[DevelopmentPki], Chain], handshake: str
) -> None:
    async with maker.door(handshake="demand" if handshake == "demand" else "ask") as door:
        chain = build(pki)
        assert await maker.knock(door, chain) == ANSWER
        verdict = door.verdict()
        assert isinstance(verdict, Identity)
        assert verdict.clients == {"meta"}
        assert verdict.name == META_CLIENT_NAME
        assert int(verdict.leaf.serial, 16) == chain[0].certificate.serial_number
        assert verdict.anchor_sha256 == maker.sha256(pki.meta_root)
        assert door.count("accepted", "none") == 1


async def test_a_certificate_whose_san_disagrees_with_its_cn_is_known_by_its_cn(
    maker: Maker, pki: DevelopmentPki
) -> None:
    """The dNSName counts only where the subject has no CN (contract, section 3)."""
    leaf = client_leaf(pki.meta_intermediate, subject=common_name("evil.example"), names=(META_CLIENT_NAME,))
    async with maker.door(handshake="demand") as door:
        assert await maker.knock(door, meta_chain(pki, leaf)) == b""
        assert door.count("refused", "wrong_name") == 1


async def test_an_anchor_that_is_an_intermediate_admits_what_it_has_issued(
    maker: Maker, pki: DevelopmentPki
) -> None:
    """What Meta's file holds is not known; without partial chains such an anchor refuses everything."""
    context = maker.context(pki.meta_intermediate)
    async with maker.door(context, handshake="demand") as door:
        assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == ANSWER
        assert await maker.knock(door, (pki.meta_client,)) == ANSWER
        identity = door.peers[0][0].identity
        assert identity is not None
        assert identity.anchor_sha256 == maker.sha256(pki.meta_intermediate)
        assert await maker.knock(door, (client_leaf(pki.meta_root),)) == b"", "the anchor's issuer is none"


async def test_metas_name_under_another_entrys_anchor_is_not_meta(maker: Maker, pki: DevelopmentPki) -> None:
    """All anchors stand in the handshake's store; each entry decides with its own."""
    partner = authority("Partner CA")
    context = maker.context(
        entries={
            "meta": ((pki.meta_root,), (META_CLIENT_NAME,)),
            "partner": ((partner,), ("partner.example",)),
        }
    )
    async with maker.door(context, handshake="demand") as door:
        assert await maker.knock(door, (client_leaf(partner),)) == b"", "Meta's name, the partner's CA"
        stray = client_leaf(pki.meta_intermediate, subject=common_name("partner.example"))
        assert await maker.knock(door, meta_chain(pki, stray)) == b"", "the partner's name, Meta's CA"
        assert door.count("refused", "wrong_name") == 2
        right = client_leaf(partner, subject=common_name("partner.example"))
        assert await maker.knock(door, (right,)) == ANSWER
        identity = door.verdict()
        assert isinstance(identity, Identity)
        assert identity.clients == {"partner"}


async def test_several_entries_may_accept_one_certificate(maker: Maker, pki: DevelopmentPki) -> None:
    context = maker.context(
        entries={
            "meta": ((pki.meta_root,), (META_CLIENT_NAME,)),
            "again": ((pki.meta_intermediate,), ("x.example", META_CLIENT_NAME)),
            "other": ((pki.meta_root,), ("other.example",)),
        }
    )
    async with maker.door(context) as door:
        assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == ANSWER
        identity = door.verdict()
        assert isinstance(identity, Identity)
        assert identity.clients == {"meta", "again"}


async def test_an_anchor_that_has_expired_admits_nobody(maker: Maker) -> None:
    old = authority("Old root", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    async with maker.door(maker.context(old), handshake="ask") as door:
        assert await maker.knock(door, (client_leaf(old),)) == b""
        assert door.count("refused", "expired") == 1


async def test_two_anchors_of_one_name_work_side_by_side(maker: Maker) -> None:
    """A CA that renews its key keeps its name; both generations' certificates must come in."""
    old, new = authority("Meta-like root"), authority("Meta-like root")
    async with maker.door(maker.context(old, new), handshake="demand") as door:
        for root in (old, new):
            assert await maker.knock(door, (client_leaf(root),)) == ANSWER


def test_a_refusal_says_in_openssls_words_what_it_found_and_where(pki: DevelopmentPki) -> None:
    leaf = crypto.X509.from_cryptography(pki.meta_client.certificate)
    verdict = decide(record=ChainRecord(seen=True, errors=[(19, 1)]), leaf=leaf, sent=(), entries=(), now=NOW)
    assert isinstance(verdict, Refusal)
    assert verdict.detail.startswith("X509 error 19 (self-signed certificate in certificate chain) at")
    assert verdict.detail.endswith("at the certificate at depth 1")


def of_version_four(issued: Issued) -> bytes:
    """Return the DER with a version that X.509 does not have; OpenSSL reads it all the same."""
    der = issued.certificate.public_bytes(serialization.Encoding.DER)
    assert der.count(b"\xa0\x03\x02\x01\x02") == 1
    return der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03")


def test_a_certificate_of_no_known_version_is_the_strangers_fault() -> None:
    leaf = crypto.load_certificate(crypto.FILETYPE_ASN1, of_version_four(client_leaf(None)))
    verdict = decide(record=ChainRecord(seen=True), leaf=leaf, sent=(), entries=(), now=NOW)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.BAD_CHAIN
    assert verdict.detail == "the leaf cannot be read (InvalidVersion)"


@pytest.mark.parametrize("error", [KeyError, OverflowError, RuntimeError, AttributeError, RecursionError])
def test_whatever_a_leaf_raises_while_it_is_read_is_the_strangers_fault(
    pki: DevelopmentPki, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_: object) -> None:
        raise error("text of the stranger's")

    monkeypatch.setattr("gateway.tls.verdict._read", fail)
    leaf = crypto.X509.from_cryptography(pki.meta_client.certificate)
    verdict = decide(record=ChainRecord(seen=True), leaf=leaf, sent=(), entries=(), now=NOW)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.BAD_CHAIN
    assert verdict.detail == f"the leaf cannot be read ({error.__name__})"


def leaf_of(pki: DevelopmentPki, *, units: int) -> crypto.X509:
    """One of Meta's, whose subject has so many organizational units beside Meta's name."""
    names = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "unit")] * units
    subject = subject_name((NameOID.COMMON_NAME, META_CLIENT_NAME), *names)
    return crypto.X509.from_cryptography(client_leaf(pki.meta_intermediate, subject=subject).certificate)


@pytest.mark.parametrize(("units", "detail"), [(500, "X509 error 20"), (3000, "LeafTooLargeError")])
def test_a_leaf_that_takes_long_to_read_is_not_read(pki: DevelopmentPki, units: int, detail: str) -> None:
    """A flood of leaves with thousands of attributes each cost 30 ms a handshake, in one thread."""
    record = ChainRecord(seen=True, errors=[(20, 0)])
    verdict = decide(record=record, leaf=leaf_of(pki, units=units), sent=(), entries=(), now=NOW)
    assert isinstance(verdict, Refusal)
    assert detail in verdict.detail


def test_a_serial_of_any_length_is_cut(pki: DevelopmentPki) -> None:
    """Fifty of 140 000 digits were in one answer of /api/edge."""
    key = p256_key()
    tbs = client_leaf(pki.meta_intermediate).certificate.tbs_certificate_bytes
    # The serial stands behind the version, [0] { INTEGER 2 }; the sequence begins with four bytes.
    assert (tbs[0], tbs[1], tbs[4:9], tbs[9]) == (0x30, 0x82, b"\xa0\x03\x02\x01\x02", 0x02)
    body = b"\xa0\x03\x02\x01\x02" + element(0x02, b"\x01" * 10_000) + tbs[11 + tbs[10] :]
    tbs = element(0x30, body)
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    der = element(0x30, tbs + algorithm + element(0x03, b"\0" + signature))
    record = ChainRecord(seen=True, errors=[(20, 0)])
    leaf = crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    verdict = decide(record=record, leaf=leaf, sent=(), entries=(), now=NOW)
    assert isinstance(verdict, Refusal)
    assert verdict.leaf is not None
    assert verdict.leaf.serial == ("01" * MAX_NAME_CHARACTERS)[1 : MAX_NAME_CHARACTERS + 1]


def element(tag: int, content: bytes) -> bytes:
    """DER: tag, length, content."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


READ_ALOUD = """
import sys
from datetime import UTC, datetime
from OpenSSL import crypto
from gateway.tls.verdict import ChainRecord, decide
for text in sys.argv[1:]:
    leaf = crypto.load_certificate(crypto.FILETYPE_ASN1, bytes.fromhex(text))
    record = ChainRecord(seen=True, errors=[(20, 0)])
    print(decide(record=record, leaf=leaf, sent=(), entries=(), now=datetime.now(UTC)).leaf.serial)
"""


def test_what_cryptography_thinks_of_strangers_certificates_is_not_written_to_stderr() -> None:
    """Its warnings know no budget, and one for each length of a name comes out. In a process of its own: here
    warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = [
            x509.NameAttribute(NameOID.COMMON_NAME, "a" * (64 + n), _validate=False) for n in range(1, 4)
        ]
        names.append(x509.NameAttribute(NameOID.COUNTRY_NAME, "long", _validate=False))
        leaves = [client_leaf(None, subject=x509.Name([name])) for name in names]
    ders = [leaf.certificate.public_bytes(serialization.Encoding.DER).hex() for leaf in leaves]
    said = subprocess.run(
        [sys.executable, "-c", READ_ALOUD, *ders], capture_output=True, text=True, check=True
    )
    assert said.stderr == ""
    assert said.stdout.split() == [f"{leaf.certificate.serial_number:x}" for leaf in leaves]


def test_a_certificate_whose_validation_was_not_seen_gets_no_verdict(pki: DevelopmentPki) -> None:
    """An empty list of errors means "no errors" only when somebody has looked."""
    leaf = crypto.X509.from_cryptography(pki.meta_client.certificate)
    with pytest.raises(VerdictMissingError):
        decide(record=ChainRecord(), leaf=leaf, sent=(), entries=(), now=NOW)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.why) for case in BROKEN if case.why != "RSA key too short"],
)
def test_an_entrys_own_store_refuses_even_if_nothing_was_recorded(
    maker: Maker, pki: DevelopmentPki, case: Broken
) -> None:
    """The record of the handshake and the entry's own validation are two locks on one door.

    Strength of keys is the handshake's alone: a store by itself has no security level.
    """
    leaf, *sent = (crypto.X509.from_cryptography(one.certificate) for one in case.build(pki))
    verdict = decide(
        record=ChainRecord(seen=True), leaf=leaf, sent=sent, entries=maker.context().entries, now=NOW
    )
    assert isinstance(verdict, Refusal)
    assert verdict.reason is case.reason


def test_of_what_several_entries_say_the_most_telling_is_told(maker: Maker, pki: DevelopmentPki) -> None:
    """That the chain is not the first entry's says nothing beside that it is revoked for the second."""
    crl = as_read(revocation_list(pki.meta_intermediate, pki.meta_client))
    first, second = maker.context(
        entries={
            "probe": ((authority("another CA"),), ("probe.internal",)),
            "meta": ((pki.meta_root,), (META_CLIENT_NAME,)),
        }
    ).entries
    revoking = replace(second, revocation=RevocationLists((crl,), strict=False))
    leaf, *sent = (
        crypto.X509.from_cryptography(one.certificate) for one in (pki.meta_client, pki.meta_intermediate)
    )
    verdict = decide(record=ChainRecord(seen=True), leaf=leaf, sent=sent, entries=(first, revoking), now=NOW)
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.claims) == (Reason.REVOKED, "meta")


def test_of_each_entry_that_accepts_the_anchor_is_told(maker: Maker, pki: DevelopmentPki) -> None:
    entries = maker.context(
        entries={
            "meta": ((pki.meta_root,), (META_CLIENT_NAME,)),
            "probe": ((pki.meta_intermediate,), (META_CLIENT_NAME,)),
            "other": ((pki.meta_root,), ("other.example",)),
        }
    ).entries
    leaf, *sent = (
        crypto.X509.from_cryptography(one.certificate) for one in (pki.meta_client, pki.meta_intermediate)
    )
    verdict = decide(record=ChainRecord(seen=True), leaf=leaf, sent=sent, entries=entries, now=NOW)
    assert isinstance(verdict, Identity)
    assert verdict.clients == {"meta", "probe"}
    assert verdict.anchor_sha256 == maker.sha256(pki.meta_root)
    assert verdict.other_anchors == (("probe", maker.sha256(pki.meta_intermediate)),)


@pytest.mark.parametrize(
    ("subject", "claims"), [(meta_subject(), "meta"), (common_name("bot.example"), None)]
)
def test_a_refusal_says_whose_name_the_leaf_bears(
    maker: Maker, subject: x509.Name, claims: str | None
) -> None:
    leaf = crypto.X509.from_cryptography(client_leaf(None, subject=subject).certificate)
    verdict = decide(
        record=ChainRecord(seen=True, errors=[(18, 0)]),
        leaf=leaf,
        sent=(),
        entries=maker.context().entries,
        now=NOW,
    )
    assert isinstance(verdict, Refusal)
    assert verdict.claims == claims


async def test_a_callback_that_does_not_record_closes_the_door(
    maker: Maker, pki: DevelopmentPki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.tls.context.record_validation", lambda *_: True)
    for report in (False, True):
        async with maker.door(report=report) as door:
            assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == b""
            assert door.peers == []
            assert door.count("refused", "protocol") == 1


async def test_a_callback_that_raises_closes_the_door(
    maker: Maker, pki: DevelopmentPki, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bool:
        raise AttributeError("a bug")

    monkeypatch.setattr("gateway.tls.context.record_validation", broken)
    async with maker.door(report=True) as door:
        assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == b""
        assert door.peers == []
        # The next one meets a sound listener.
        assert await maker.knock(door) == ANSWER


@pytest.mark.parametrize("error", [AttributeError, ValueError, trio.BrokenResourceError, KeyError])
async def test_a_bug_in_the_verdict_closes_the_door(
    maker: Maker, pki: DevelopmentPki, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """An AttributeError in a handshake is what servers have taken for "this is not TLS"."""

    def broken(*_: object) -> Identity:
        raise error("a bug")

    monkeypatch.setattr("gateway.tls.listener.judge", broken)
    async with maker.door(report=True) as door:
        for _ in range(3):
            assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == b""
        assert door.peers == []
        assert door.count("refused", "protocol") == 3
        assert door.listener.open_connections == 0


def key_with_a_stolen_face(victim: Issued) -> bytes:
    """Make a private key file (RFC 5915) that claims the victim's public key beside a private one of its own.

    The client's OpenSSL compares only the public half before it presents the certificate.
    """
    point = victim.certificate.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    own = p256_key().private_numbers().private_value.to_bytes(32, "big")
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    body = b"\x02\x01\x01\x04\x20" + own + curve + b"\xa1\x44\x03\x42\x00" + point
    der = b"\x30" + bytes([len(body)]) + body
    text = base64.encodebytes(der)
    return b"-----BEGIN EC PRIVATE KEY-----\n" + text + b"-----END EC PRIVATE KEY-----\n"


async def test_a_key_that_is_not_held_opens_nothing(maker: Maker, pki: DevelopmentPki) -> None:
    """Possession is proved by OpenSSL in the handshake, whatever the callback answers."""
    chain = (pki.meta_client, pki.meta_intermediate)
    async with maker.door(report=True) as door:
        assert await maker.knock(door, chain, key_pem=key_with_a_stolen_face(pki.meta_client)) == b""
        assert door.peers == []
        assert door.count("refused", "protocol") == 1
