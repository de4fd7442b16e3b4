"""Certificates that no sound library issues: their DER is taken apart, changed, and signed anew.

A certificate is SEQUENCE {tbsCertificate, signatureAlgorithm, signatureValue} (RFC 5280 section 4.1).
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.simulator.pki import Issued, PrivateKey

SEQUENCE: Final = 0x30
BIT_STRING: Final = 0x03
VERSION: Final = 0xA0
EXTENSIONS: Final = 0xA3
_LONG: Final = 0x80
"""Set in the first octet of a length that has others (X.690 section 8.1.3.5)."""

ECDSA_WITH_SHA1: Final = bytes.fromhex("06072a8648ce3d0401")
ECDSA_WITH_SHA256: Final = bytes.fromhex("06082a8648ce3d040302")

Edit = Callable[[list[bytes]], list[bytes]]


@dataclass(frozen=True, slots=True)
class Raw:
    """A certificate of which nothing is known but its bytes, with its key."""

    der: bytes
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        """As `Issued.pem`."""
        return certificate_pem(self.der)

    @property
    def key_pem(self) -> bytes:
        """As `Issued.key_pem`."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def certificate_pem(der: bytes) -> bytes:
    """Wrap DER as PEM, whatever it says (RFC 7468)."""
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"


def wrap(tag: int, content: bytes) -> bytes:
    """Write one element (X.690 section 8.1)."""
    size = len(content)
    if size < _LONG:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG | len(octets)]) + octets + content


def parts(content: bytes) -> list[bytes]:
    """Split the content of a SEQUENCE or SET into its elements, each with its header."""
    found = []
    while content:
        header, size = 2, content[1]
        if size & _LONG:
            count = size & ~_LONG
            header, size = 2 + count, int.from_bytes(content[2 : 2 + count], "big")
        found.append(content[: header + size])
        content = content[header + size :]
    return found


def inside(element: bytes) -> bytes:
    """Return the content of one element."""
    size = element[1]
    return element[2 + (size & ~_LONG) :] if size & _LONG else element[2:]


def operate(issued: Issued, edit: Edit, *, signing_key: ec.EllipticCurvePrivateKey) -> Raw:
    """Change the parts of a tbsCertificate, and sign it anew with ECDSA and SHA-256."""
    tbs = wrap(SEQUENCE, b"".join(edit(parts(inside(issued.certificate.tbs_certificate_bytes)))))
    return _sealed(tbs, wrap(SEQUENCE, ECDSA_WITH_SHA256), signing_key, hashes.SHA256(), issued.key)


def signed_with_sha1(issued: Issued, *, signing_key: ec.EllipticCurvePrivateKey) -> Raw:
    """Sign a certificate anew with ECDSA and SHA-1."""
    old, new = wrap(SEQUENCE, ECDSA_WITH_SHA256), wrap(SEQUENCE, ECDSA_WITH_SHA1)
    elements = [
        new if element == old else element
        for element in parts(inside(issued.certificate.tbs_certificate_bytes))
    ]
    tbs = wrap(SEQUENCE, b"".join(elements))
    return _sealed(tbs, new, signing_key, hashes.SHA1(), issued.key)  # noqa: S303 # broken on purpose


def with_another_algorithm_outside(issued: Issued) -> Raw:
    """Name an algorithm outside that differs from the signed one inside (RFC 5280 section 4.1.1.2)."""
    tbs, _, signature = parts(inside(issued.certificate.public_bytes(serialization.Encoding.DER)))
    outside = wrap(SEQUENCE, ECDSA_WITH_SHA1)
    return Raw(wrap(SEQUENCE, tbs + outside + signature), issued.key)


def without_version_and_extensions(elements: list[bytes]) -> list[bytes]:
    """Make it X.509 version 1, as of 1988."""
    return [element for element in elements if element[0] not in (VERSION, EXTENSIONS)]


def with_doubled_extensions(elements: list[bytes]) -> list[bytes]:
    """Say every extension twice (RFC 5280 section 4.2: not more than one instance)."""
    *others, last = elements
    listed = inside(inside(last))
    return [*others, wrap(EXTENSIONS, wrap(SEQUENCE, listed + listed))]


def _sealed(
    tbs: bytes,
    algorithm: bytes,
    signing_key: ec.EllipticCurvePrivateKey,
    digest: hashes.HashAlgorithm,
    key: PrivateKey,
) -> Raw:
    signature = signing_key.sign(tbs, ec.ECDSA(digest))
    return Raw(wrap(SEQUENCE, tbs + algorithm + wrap(BIT_STRING, b"\0" + signature)), key)
