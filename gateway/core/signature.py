"""The payload signature: raw bytes become a `VerifiedBody`, and nothing else makes one (law 3).

Meta signs with HMAC-SHA256 under the app secret over the raw body bytes, and sends
`X-Hub-Signature-256: sha256=<64 lowercase hexadecimal digits>` (Meta, "Webhooks, getting started").
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, final

_HEADER_VALUE: Final = re.compile(rb"sha256=([0-9a-f]{64})")
_KEYED_KEPT: Final = 64
"""Secrets of which the keyed start of the hash is kept: those of all apps, and of all in rotation."""
_BLOCK_BYTES: Final = 64
"""Of SHA-256 (RFC 2104 section 2: a longer key is hashed first)."""
_MAKER: Final = object()
"""Whoever holds this may make a `VerifiedBody`; it never leaves this module."""


class SignatureFault(StrEnum):
    """Why a signature was not accepted; every one of them is answered 401."""

    ABSENT = "absent"
    DOUBLE = "double"
    MALFORMED = "malformed"
    MISMATCH = "mismatch"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBody:
    """Raw bytes that an app's secret has signed. Made by `verify_signature` and by `unseal` alone."""

    app: str
    raw: bytes = field(repr=False)
    secret_index: int
    """Which of the app's secrets had signed; -1 where a dead letter's seal vouched for the bytes."""
    maker: InitVar[object] = None

    def __post_init__(self, maker: object) -> None:
        """Turn away everybody else: bytes that nothing has vouched for cannot be stored (law 3)."""
        if maker is not _MAKER:
            raise TypeError("a VerifiedBody is made by verify_signature and by unseal alone")


def sign(secret: bytes, body: bytes) -> str:
    """Return the whole header value, `sha256=` and 64 hexadecimal digits.

    Raises:
        ValueError: the secret is empty; anybody could make that signature.
    """
    if not secret:
        raise ValueError("an empty secret signs nothing")
    return "sha256=" + _digest(secret, body).hex()


def verify_signature(
    *, app: str, raw: bytes, header_values: Sequence[bytes], secrets: Sequence[bytes]
) -> VerifiedBody | SignatureFault:
    """Check the values of all `X-Hub-Signature-256` headers of one request against an app's secrets.

    1. Exactly one header value. 2. Exactly `sha256=` and 64 lowercase hexadecimal digits. 3. Made with one of
    the secrets over the raw bytes: compared in constant time, and with every secret, so that the time tells
    nothing about which one fits. An empty secret fits nothing.
    """
    if len(header_values) != 1:
        return SignatureFault.DOUBLE if header_values else SignatureFault.ABSENT
    match = _HEADER_VALUE.fullmatch(header_values[0])
    if match is None:
        return SignatureFault.MALFORMED
    presented = bytes.fromhex(match[1].decode("ascii"))
    fitting = [
        index
        for index, secret in enumerate(secrets)
        if hmac.compare_digest(_digest(secret, raw), presented) and secret
    ]
    if not fitting:
        return SignatureFault.MISMATCH
    return VerifiedBody(app=app, raw=raw, secret_index=fitting[0], maker=_MAKER)


def vouched_by_seal(*, app: str, raw: bytes) -> VerifiedBody:
    """Make a `VerifiedBody` of a dead letter's bytes. For `core.seal` alone, which has judged the seal
    before."""
    return VerifiedBody(app=app, raw=raw, secret_index=-1, maker=_MAKER)


def _digest(secret: bytes, raw: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104), from the two keyed starts of the hash.

    Neither `hmac.digest`, which lets go of the interpreter's lock even for a short body, and to get it back
    from the spool's thread takes longer than the hashing; nor a copy of `hmac.HMAC`, whose part in Python
    costs three times the hashing. A test holds it to `hmac`.
    """
    inner, outer = _keyed(secret)
    inner, outer = inner.copy(), outer.copy()
    inner.update(raw)
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=_KEYED_KEPT)
def _keyed(secret: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    key = hashlib.sha256(secret).digest() if len(secret) > _BLOCK_BYTES else secret
    key = key.ljust(_BLOCK_BYTES, b"\0")
    return hashlib.sha256(key.translate(hmac.trans_36)), hashlib.sha256(key.translate(hmac.trans_5C))
