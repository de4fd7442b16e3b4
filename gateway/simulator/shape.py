"""Whether a development PKI has the shape of Meta's: read back from the files, as anybody would."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.simulator.pki import META_CLIENT_NAME, PkiFiles

GENERALIZED_TIME_FROM: Final = datetime(2050, 1, 1, tzinfo=UTC)
"""From here on dates are GeneralizedTime (RFC 5280 section 4.1.2.5), which some software trips over."""


def shape_of(files: PkiFiles) -> Iterator[tuple[str, str, str, bool]]:
    """Tell what was looked at, what it is, what it must be, and whether it is."""
    leaf, *intermediates = x509.load_pem_x509_certificates(files.client_certificate.read_bytes())
    (root,) = x509.load_pem_x509_certificates(files.meta_ca.read_bytes())
    chain = [leaf, *intermediates, root]
    linked = all(
        below.issuer == above.subject for below, above in zip(chain, [*chain[1:], root], strict=True)
    )
    names = [_common_name(one) for one in reversed(chain)]
    yield (
        "Meta's stand-in",
        " -> ".join(names),
        "root -> intermediate -> leaf",
        linked and len(chain) == 3 and names[-1] == META_CLIENT_NAME,
    )
    curves = sorted({_key(one) for one in chain})
    yield "its keys", ", ".join(curves), "secp256r1 (P-256)", curves == ["secp256r1"]
    end = root.not_valid_after_utc
    yield "its root is valid until", f"{end:%Y-%m-%d}", "2050 or later", end >= GENERALIZED_TIME_FROM
    last = list(leaf.subject)[-1].oid
    # As certs show prints it: RFC 4514, which begins with the last attribute.
    subject = leaf.subject.rfc4514_string()
    yield "its subject, CN not last", subject, "CN not last", last != NameOID.COMMON_NAME


def _common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__
