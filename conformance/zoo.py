"""The zoo: client certificates of every kind, each with the verdict that it must meet, and why.

All are made when they are needed. What becomes of a client depends on this verdict and on the door alone (see
`specimen.fate`).
"""

from collections.abc import Callable, Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from conformance import breeds
from conformance.specimen import PARTNER_NAME, Ground, Presented, Specimen
from conformance.surgery import signed_with_sha1, with_another_algorithm_outside
from gateway.core.identity import Reason
from gateway.simulator.pki import (
    CLIENT_AUTH,
    META_CLIENT_NAME,
    SERVER_AUTH,
    client_leaf,
    common_name,
    p256_key,
)

Row = tuple[str, str, Callable[[Ground], Presented]]

CN: Final = NameOID.COMMON_NAME
O: Final = NameOID.ORGANIZATION_NAME  # noqa: E741 # as everybody writes it
META: Final = META_CLIENT_NAME
NOBODY: Final = x509.Name([])
ANY: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
MAIL: Final = ExtendedKeyUsageOID.EMAIL_PROTECTION
AS_BEFORE: Final = "as before"


UNABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "every extension twice": {"python": "ssl does not load it", "gnutls": "does not load it"},
    "two algorithms for one signature": {"gnutls": "does not load it"},
    "160 KB of certificates": {"gnutls": "does not load so many"},
    "key that must not sign": {"gnutls": "leaves the handshake itself, under TLS 1.2"},
    "CA used as leaf": {"gnutls": "leaves the handshake itself, under TLS 1.2"},
}
"""Specimen -> client -> why it does not present it."""


def _of(verdict: Reason | None, *rows: Row) -> tuple[Specimen, ...]:
    return tuple(
        Specimen(name=name, verdict=verdict, why=why, present=make, unable=UNABLE.get(name, {}))
        for name, why, make in rows
    )


ADMITTED: Final = _of(
    None,
    ("as Meta's", "the shape of Meta's own", lambda g: g.leaf()),
    (
        "root sent besides",
        "RFC 8446, 4.4.2.2: it may be left out, and need not be",
        lambda g: (g.pki.meta_client, g.pki.meta_intermediate, g.pki.meta_root),
    ),
    (
        "strangers' certificates sent besides",
        "what is sent helps to find a chain, and proves nothing",
        lambda g: (g.pki.meta_client, g.nobody, g.pki.meta_intermediate),
    ),
    (
        "straight from the root",
        "an issuing CA is usual, not needed",
        lambda g: (client_leaf(g.pki.meta_root),),
    ),
    ("three authorities between", "contract: depth 3", lambda g: breeds.deep(g, 3)),
    (
        "an anchor that is an intermediate",
        "contract: partial chains to any anchor; that its revocation list has expired locks nobody out",
        lambda g: (client_leaf(g.lone_intermediate),),
    ),
    (
        "cross-signed by a trusted root",
        "a new root reaches those who know only the old one",
        lambda g: breeds.cross_signed(g, sign_by=g.pki.meta_root),
    ),
    ("no EKU", "RFC 5280, 4.2.1.12: without it, any purpose", lambda g: g.leaf(extended_key_usage=())),
    (
        "EKU for clients and servers",
        "one of its purposes is this one",
        lambda g: g.leaf(extended_key_usage=(SERVER_AUTH, CLIENT_AUTH)),
    ),
    (
        "SAN only",
        "contract: a dNSName where the subject has no CN",
        lambda g: g.leaf(NOBODY, names=("other.example", META)),
    ),
    (
        "CN in BMPString",
        "RFC 5280, 4.1.2.4: the name is its characters, however they are written",
        lambda g: g.leaf(breeds.in_bmp_string(META)),
    ),
    (
        "RSA-2048",
        "the kind of key is Meta's choice",
        lambda g: g.leaf(key=rsa.generate_private_key(65537, 2048)),
    ),
    ("P-384", AS_BEFORE, lambda g: g.leaf(key=ec.generate_private_key(ec.SECP384R1()))),
    ("P-521", AS_BEFORE, lambda g: g.leaf(key=ec.generate_private_key(ec.SECP521R1()))),
    ("Ed25519", AS_BEFORE, lambda g: g.leaf(key=ed25519.Ed25519PrivateKey.generate())),
    (
        "name constraints kept",
        "RFC 5280, 4.2.1.10",
        lambda g: breeds.constrained(g, permitted="fbclientcerts.com", names=(META,)),
    ),
    (
        "a CA in Meta's name whose key may sign more",
        "issued for clients by Meta's CA; that it may issue, too, takes nothing away",
        lambda g: (breeds.authority_for_clients(g, key_cert_sign=False),),
    ),
    ("version 1", "Meta's CA has signed it, and no extension forbids it", breeds.version_1),
)

BAD_CHAINS: Final = (
    *_of(
        Reason.EXPIRED,
        ("expired", "RFC 5280, 4.1.2.5", lambda g: g.leaf(**breeds.days(-9, -1))),
        (
            "expired issuing CA",
            "RFC 5280, 6.1.3: every certificate of the path",
            lambda g: breeds.between(g, **breeds.days(-9, -1)),
        ),
        ("expired anchor", "anchors have dates, too", lambda g: (client_leaf(g.past),)),
    ),
    *_of(
        Reason.NOT_YET_VALID,
        ("not yet valid", "RFC 5280, 4.1.2.5", lambda g: g.leaf(**breeds.days(1, 9))),
    ),
    *_of(
        Reason.WRONG_PURPOSE,
        ("wrong EKU", "for servers alone", lambda g: g.leaf(extended_key_usage=(SERVER_AUTH,))),
        (
            "EKU anyExtendedKeyUsage",
            "RFC 5280, 4.2.1.12: may be refused where one purpose is asked for",
            lambda g: g.leaf(extended_key_usage=(ANY,)),
        ),
        ("EKU for mail", "another purpose", lambda g: g.leaf(extended_key_usage=(MAIL,))),
        (
            "issuing CA for servers",
            "the EKU of a CA bounds what it issues",
            lambda g: breeds.between(g, extended_key_usage=(SERVER_AUTH,)),
        ),
        (
            "key that must not sign",
            "RFC 8446, 4.4.2.2: digitalSignature, where there is a key usage",
            breeds.for_encipherment_alone,
        ),
        (
            "CA used as leaf",
            "its key usage is to sign certificates",
            lambda g: (breeds.authority_for_clients(g, key_cert_sign=True),),
        ),
        ("leaf used as CA", "RFC 5280, 6.1.4 (k): cA is false", breeds.below_a_leaf),
        (
            "issuing CA without basic constraints",
            "RFC 5280, 6.1.4 (k)",
            lambda g: breeds.below_what_is_no_authority(g, ca=None),
        ),
        (
            "issuing CA without keyCertSign",
            "RFC 5280, 6.1.4 (n)",
            lambda g: breeds.below_what_is_no_authority(g, ca=True),
        ),
        (
            "issuing CA of version 1",
            "RFC 5280, 6.1.4 (k): it cannot say that it is one",
            breeds.below_an_authority_of_version_1,
        ),
    ),
    *_of(
        Reason.BAD_CHAIN,
        ("path length violated", "RFC 5280, 6.1.4 (l)", breeds.below_the_path_length),
        ("chain too deep", "contract: depth 3", lambda g: breeds.deep(g, 4)),
        (
            "name constraints: excluded",
            "RFC 5280, 6.1.3 (c); OpenSSL: a CN counts where there is no dNSName",
            lambda g: breeds.constrained(g, excluded="fbclientcerts.com"),
        ),
        (
            "name constraints: another domain only",
            "RFC 5280, 6.1.3 (b)",
            lambda g: breeds.constrained(g, permitted="example.com", names=(META,)),
        ),
        ("unknown critical extension", "RFC 5280, 4.2: reject it", breeds.unknown_critical),
        ("signature forged", "made with another key", lambda g: g.leaf(signing_key=p256_key())),
        (
            "two algorithms for one signature",
            "RFC 5280, 4.1.1.2: both fields say the same",
            lambda g: g.chain(with_another_algorithm_outside(client_leaf(g.pki.meta_intermediate))),
        ),
        (
            "SHA-1",
            "collisions; OpenSSL's security level 2",
            lambda g: g.chain(
                signed_with_sha1(
                    client_leaf(g.pki.meta_intermediate), signing_key=breeds.key_of(g.pki.meta_intermediate)
                )
            ),
        ),
        ("issuing CA signed with SHA-1", AS_BEFORE, breeds.below_a_weakly_signed_authority),
        (
            "RSA-1024",
            "less than 112 bits; OpenSSL's security level 2",
            lambda g: g.leaf(key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 # weak on purpose
        ),
    ),
    *_of(
        Reason.UNKNOWN_ISSUER,
        ("stranger with Meta's names", "a name is no key", breeds.stranger),
        ("self-signed", "nobody but itself vouches for it", lambda _: (client_leaf(None),)),
        (
            "missing intermediate",
            "RFC 8446, 4.4.2: the client sends its path",
            lambda g: (g.pki.meta_client,),
        ),
        (
            "every extension twice",
            "RFC 5280, 4.2: no more than once; OpenSSL finds no issuer for such a one",
            breeds.doubled,
        ),
        (
            "cross-signed by a root that nobody trusts",
            "a chain counts by where it ends",
            lambda g: breeds.cross_signed(g, sign_by=g.nobody),
        ),
        (
            "sibling of an anchor that is an intermediate",
            "the anchor's issuer is none",
            lambda g: (client_leaf(g.nobody), g.nobody),
        ),
        (
            "the gateway's own server certificate",
            "its CA is no anchor for clients",
            lambda g: (g.pki.server,),
        ),
    ),
    *_of(
        Reason.REVOKED,
        ("revoked", "RFC 5280, 6.1.3 (a)(3)", lambda g: g.chain(g.revoked)),
        (
            "issued by a CA that was revoked",
            "every certificate of the path",
            lambda g: (client_leaf(g.revoked_authority), g.revoked_authority),
        ),
        (
            "revoked by a list that has expired",
            "what was revoked stays so",
            lambda g: (g.revoked_by_an_old_list,),
        ),
    ),
    *_of(
        Reason.PROTOCOL,
        ("160 KB of certificates", "OpenSSL takes 100 KB", breeds.with_too_many_besides),
    ),
)

WRONG_NAMES: Final = _of(
    Reason.WRONG_NAME,
    ("wrong CN", "not one of the entry's names", lambda g: g.leaf(common_name("client.example.com"))),
    ("CN with suffix", "equal, and no prefix", lambda g: g.leaf(common_name(f"{META}.evil.example"))),
    ("CN with prefix", "equal, and no suffix", lambda g: g.leaf(common_name(f"evil-{META}"))),
    ("CN in upper case", "character by character", lambda g: g.leaf(common_name(META.upper()))),
    ("CN with a wildcard", "no wildcards", lambda g: g.leaf(common_name("*.webhooks.fbclientcerts.com"))),
    ("CN with a trailing dot", "character by character", lambda g: g.leaf(common_name(f"{META}."))),
    ("CN with a space", "character by character", lambda g: g.leaf(common_name(f"{META} "))),
    (
        "CN with a letter that looks alike",
        "character by character",
        lambda g: g.leaf(common_name(META.replace("c", "\N{CYRILLIC SMALL LETTER ES}"))),
    ),
    ("NUL in CN", "the name does not end there", lambda g: g.leaf(common_name(f"{META}\0.evil.example"))),
    ("CN in O", "an organization is no host", lambda g: g.named((O, META))),
    (
        "CN in O, written to look like one",
        "the subject is parsed, not searched",
        lambda g: g.named((CN, "evil.example"), (O, f"x/CN={META}")),
    ),
    (
        "two CNs, the right one first",
        "readers differ over which one counts",
        lambda g: g.named((CN, META), (CN, "evil.example")),
    ),
    ("two CNs, the right one last", AS_BEFORE, lambda g: g.named((CN, "evil.example"), (CN, META))),
    ("two CNs in one RDN", AS_BEFORE, breeds.two_names_in_one_rdn),
    ("twice the right CN", AS_BEFORE, lambda g: g.named((CN, META), (CN, META))),
    (
        "CN of another, SAN right",
        "contract: beside a CN, a dNSName proves nothing",
        lambda g: g.leaf(common_name("evil.example"), names=(META,)),
    ),
    (
        "SAN with a wildcard",
        "no wildcards",
        lambda g: g.leaf(NOBODY, names=("*.webhooks.fbclientcerts.com",)),
    ),
    ("SAN of other kinds", "URI, mail, IP and directory name are no dNSName", breeds.other_alternatives),
    ("no name at all", "no CN and no dNSName", lambda g: g.leaf(NOBODY)),
    (
        "another entry's anchor signing Meta's name",
        "each entry has anchors of its own",
        lambda g: (client_leaf(g.partner),),
    ),
    (
        "Meta's anchor signing another entry's name",
        AS_BEFORE,
        lambda g: g.leaf(common_name(PARTNER_NAME)),
    ),
)

NOTHING: Final = _of(
    Reason.NO_CERTIFICATE,
    ("no certificate", "under ask, it may make the verification GET", lambda _: ()),
)

ZOO: Final = (*ADMITTED, *BAD_CHAINS, *WRONG_NAMES, *NOTHING)
