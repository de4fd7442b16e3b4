"""How the chains of the zoo are made, where one call of the building blocks does not make them."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from conformance.specimen import Ground, Presented
from conformance.surgery import (
    operate,
    signed_with_sha1,
    with_doubled_extensions,
    without_version_and_extensions,
)
from gateway.simulator.pki import (
    CLIENT_AUTH,
    META_CLIENT_NAME,
    Issued,
    authority,
    authority_subject,
    client_leaf,
    issue,
    meta_subject,
)

TOO_MANY_CERTIFICATES: Final = 300
"""Some 160 KB; OpenSSL takes 100 KB of certificates from a client."""


def days(begin: int, end: int) -> dict[str, Any]:
    """Make it valid from so many days after now to so many days after now."""
    now = datetime.now(UTC)
    return {"not_before": now + timedelta(days=begin), "not_after": now + timedelta(days=end)}


def key_of(issued: Issued) -> ec.EllipticCurvePrivateKey:
    """Return the key of an authority, which is one on an elliptic curve."""
    if not isinstance(issued.key, ec.EllipticCurvePrivateKey):
        raise TypeError("this authority has another kind of key")
    return issued.key


def between(ground: Ground, **knobs: Any) -> Presented:
    """Put an issuing CA of this kind below Meta's root."""
    issuing = authority("An issuing CA", issuer=ground.pki.meta_root, **knobs)
    return (client_leaf(issuing), issuing)


def deep(ground: Ground, authorities: int) -> Presented:
    """Put so many authorities between root and leaf."""
    chain = [ground.pki.meta_root]
    for number in range(authorities):
        chain.insert(0, authority(f"Authority {number}", issuer=chain[0]))
    return (client_leaf(chain[0]), *chain[:-1])


def below_what_is_no_authority(ground: Ground, *, ca: bool | None) -> Presented:
    """Issue with something that is not allowed to: no keyCertSign, and these basic constraints."""
    issuing = issue(
        authority_subject("An issuing CA"), issuer=ground.pki.meta_root, ca=ca, key_cert_sign=False
    )
    return (client_leaf(issuing), issuing)


def below_a_leaf(ground: Ground) -> Presented:
    """Issue with Meta's own client certificate."""
    used = client_leaf(ground.pki.meta_intermediate)
    return (client_leaf(used), used, ground.pki.meta_intermediate)


def below_the_path_length(ground: Ground) -> Presented:
    """Issue with a CA below one that may have none below it."""
    below = authority("One too many", issuer=ground.pki.meta_intermediate)
    return (client_leaf(below), below, ground.pki.meta_intermediate)


def below_a_weakly_signed_authority(ground: Ground) -> Presented:
    """Issue soundly, with a CA that was not issued so."""
    issuing = authority("A CA signed with SHA-1", issuer=ground.pki.meta_root)
    return (client_leaf(issuing), signed_with_sha1(issuing, signing_key=key_of(ground.pki.meta_root)))


def below_an_authority_of_version_1(ground: Ground) -> Presented:
    """Issue with a CA as of 1988."""
    issuing = authority("A CA of 1988", issuer=ground.pki.meta_root)
    old = operate(issuing, without_version_and_extensions, signing_key=key_of(ground.pki.meta_root))
    return (client_leaf(issuing), old)


def stranger(_: Ground) -> Presented:
    """Bear Meta's names throughout, and hold none of Meta's keys."""
    root = authority("Meta-like outbound root CA")
    issuing = authority("Meta-like outbound issuing CA", issuer=root, path_length=0)
    return (client_leaf(issuing), issuing, root)


def cross_signed(_: Ground, *, sign_by: Issued) -> Presented:
    """Come from a new root, whose key another root has signed for those who know only that one."""
    new_root = authority("Meta-like root of tomorrow")
    crossed = authority("Meta-like root of tomorrow", issuer=sign_by, key=new_root.key)
    issuing = authority("Meta-like issuing CA of tomorrow", issuer=new_root)
    return (client_leaf(issuing), issuing, crossed)


def constrained(
    ground: Ground, *, permitted: str | None = None, excluded: str | None = None, names: Sequence[str] = ()
) -> Presented:
    """Issue with a CA whose names are bounded."""
    constraints = x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(permitted)] if permitted else None,
        excluded_subtrees=[x509.DNSName(excluded)] if excluded else None,
    )
    issuing = issue(
        authority_subject("A constrained CA"), issuer=ground.pki.meta_root, ca=True, critical=(constraints,)
    )
    return (client_leaf(issuing, names=names), issuing)


def authority_for_clients(ground: Ground, *, key_cert_sign: bool) -> Issued:
    """Make a CA in Meta's name that is for clients; its key signs certificates, or other things, not both."""
    return issue(
        meta_subject(),
        issuer=ground.pki.meta_root,
        ca=True,
        key_cert_sign=key_cert_sign,
        extended_key_usage=(CLIENT_AUTH,),
    )


def version_1(ground: Ground) -> Presented:
    """Issue as of 1988."""
    leaf = client_leaf(ground.pki.meta_intermediate)
    signing_key = key_of(ground.pki.meta_intermediate)
    return ground.chain(operate(leaf, without_version_and_extensions, signing_key=signing_key))


def doubled(ground: Ground) -> Presented:
    """Say every extension twice."""
    leaf = client_leaf(ground.pki.meta_intermediate)
    signing_key = key_of(ground.pki.meta_intermediate)
    return ground.chain(operate(leaf, with_doubled_extensions, signing_key=signing_key))


def for_encipherment_alone(ground: Ground) -> Presented:
    """Issue for a key that must not sign a handshake."""
    leaf = client_leaf(ground.pki.meta_intermediate)
    old = leaf.certificate.extensions.get_extension_for_class(x509.KeyUsage).value.public_bytes()
    # One bit of the BIT STRING: digitalSignature is the first, keyEncipherment the third.
    new = bytes.fromhex("03020520")

    def edit(elements: list[bytes]) -> list[bytes]:
        *others, extensions = elements
        if extensions.count(old) != 1:
            raise ValueError("the key usage is not where it was looked for")
        return [*others, extensions.replace(old, new)]

    return ground.chain(operate(leaf, edit, signing_key=key_of(ground.pki.meta_intermediate)))


def unknown_critical(ground: Ground) -> Presented:
    """Carry a critical extension that nobody knows."""
    return ground.chain(_with_critical(ground, meta_subject(), _private_extension()))


def other_alternatives(ground: Ground) -> Presented:
    """Bear the name everywhere but in a dNSName."""
    alternatives = x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier(f"https://{META_CLIENT_NAME}"),
            x509.RFC822Name(f"meta@{META_CLIENT_NAME}"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.DirectoryName(meta_subject()),
        ]
    )
    return ground.chain(_with_critical(ground, x509.Name([]), alternatives))


def two_names_in_one_rdn(ground: Ground) -> Presented:
    """Bear two common names side by side, not one after the other."""
    both = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in (META_CLIENT_NAME, "evil.example")]
    return ground.leaf(x509.Name([x509.RelativeDistinguishedName(both)]))


def in_bmp_string(name: str) -> x509.Name:
    """Write a common name with two octets a character."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _ASN1Type.BMPString)])


def with_too_many_besides(ground: Ground) -> Presented:
    """Send more than a path can need."""
    return (ground.pki.meta_client, *[ground.pki.meta_intermediate] * TOO_MANY_CERTIFICATES)


def _private_extension() -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def _with_critical(ground: Ground, subject: x509.Name, extension: x509.ExtensionType) -> Issued:
    return issue(
        subject,
        issuer=ground.pki.meta_intermediate,
        extended_key_usage=(CLIENT_AUTH,),
        critical=(extension,),
    )
