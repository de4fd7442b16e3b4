"""The integrity seal of a dead letter: HMAC-SHA256 over app and body, under a key of the gateway's own.

An edited dead letter is replayed only when the operator says so (contract, section 5).
"""

from gateway.core.signature import VerifiedBody


def seal(key: bytes, *, app: str, raw: bytes) -> str:
    """Return `sha256=` and 64 hexadecimal digits."""
    raise NotImplementedError


def unseal(key: bytes, *, app: str, raw: bytes, integrity: str, accept_edited: bool) -> VerifiedBody | None:
    """Make a `VerifiedBody` of a dead letter's bytes; None where the seal does not fit and edits are not accepted."""
    raise NotImplementedError
