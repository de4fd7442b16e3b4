"""The payload signature: raw bytes become a `VerifiedBody`, and nothing else makes one (law 3).

Meta signs with HMAC-SHA256 under the app secret over the raw body bytes, and sends
`X-Hub-Signature-256: sha256=<64 lowercase hexadecimal digits>` (Meta, "Webhooks, getting started").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final


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
    raw: bytes
    secret_index: int
    """Which of the app's secrets had signed; -1 where a dead letter's seal vouched for the bytes."""


def sign(secret: bytes, body: bytes) -> str:
    """Return the whole header value, `sha256=` and 64 hexadecimal digits."""
    raise NotImplementedError


def verify_signature(
    *, app: str, raw: bytes, header_values: Sequence[bytes], secrets: Sequence[bytes]
) -> VerifiedBody | SignatureFault:
    """Check the values of all `X-Hub-Signature-256` headers of one request against an app's secrets."""
    raise NotImplementedError
