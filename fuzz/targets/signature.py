"""The payload signature: a body is vouched for exactly where the one header value is its signature.

Body and header values are divided by zero bytes: body, value, value, ...
"""

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final

from gateway.core.signature import VerifiedBody, sign, verify_signature

SECRETS: Final = (b"first", b"second", b"")


class DefectError(AssertionError):
    """A signature was judged wrongly."""


def one(data: bytes) -> None:
    """Verify, and compare with the definition. `{SIGNED}` in a value stands for the right one."""
    body, *values = data.split(b"\0")
    right = [
        b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()
        for secret in SECRETS
        if secret
    ]
    values = [value.replace(b"{SIGNED}", right[len(body) % 2]) for value in values]
    found = verify_signature(app="main", raw=body, header_values=values, secrets=SECRETS)
    wanted = len(values) == 1 and values[0] in right
    if isinstance(found, VerifiedBody) is not wanted:
        raise DefectError(f"{values} for {body!r}: {found}")
    if isinstance(found, VerifiedBody) and right[found.secret_index] != values[0]:
        raise DefectError("another secret is named")


def seeds() -> Iterator[bytes]:
    """The right one, and its neighbours."""
    yield b"body\0" + sign(b"first", b"body").encode()
    yield b"body\0{SIGNED}"
    yield b"body\0{SIGNED}\0{SIGNED}"
    yield b"body\0" + sign(b"first", b"body").upper().encode()
    yield b"body\0sha1=00"
    yield b"\0{SIGNED}\n"
    yield b"body"
