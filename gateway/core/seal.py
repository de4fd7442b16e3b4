"""The integrity seal of a dead letter: HMAC-SHA256 over app and body, under a key of the gateway's own.

An edited dead letter is replayed only when the operator says so (contract, section 5).
"""

import hmac
from collections.abc import Sequence
from typing import Final

from gateway.core.signature import VerifiedBody, vouched_by_seal

_DOMAIN: Final = b"meta-webhook-gateway dead letter 1"
"""Goes into every seal, so that none of them is a signature of anything else."""


def seal(key: bytes, *, app: str, raw: bytes) -> str:
    """Return `sha256=` and 64 hexadecimal digits.

    Raises:
        ValueError: the key is empty; anybody could make that seal.
    """
    if not key:
        raise ValueError("an empty key seals nothing")
    # A dead letter that was edited may name an app that is no Unicode text; it just does not fit then.
    name = app.encode(errors="surrogatepass")
    # The length stands before the name: no byte can move from the name into the body.
    parts = (_DOMAIN, len(name).to_bytes(8, "big"), name, raw)
    return "sha256=" + hmac.digest(key, b"".join(parts), "sha256").hex()


def unseal(
    keys: Sequence[bytes], *, app: str, raw: bytes, integrity: str, accept_edited: bool
) -> VerifiedBody | None:
    """Make a `VerifiedBody` of a dead letter's bytes; None where the seal fits by none of the keys, and edits
    are not accepted. An empty key seals nothing."""
    sealed = integrity.encode(errors="surrogatepass")
    intact = any(hmac.compare_digest(seal(key, app=app, raw=raw).encode(), sealed) for key in keys if key)
    return vouched_by_seal(app=app, raw=raw) if intact or accept_edited else None
