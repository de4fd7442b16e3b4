"""Meta's verification GET (Meta, "Webhooks, getting started": verification requests)."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

_NAMES: Final = (b"hub.mode", b"hub.verify_token", b"hub.challenge")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeAccepted:
    """Answer 200, `text/plain`, with exactly these bytes."""

    challenge: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeRefused:
    """Answer with this status: 403 for a wrong token, 400 for missing, repeated or malformed parameters."""

    status: int
    detail: str


def answer_challenge(query: bytes, *, verify_token: bytes) -> ChallengeAccepted | ChallengeRefused:
    """Decide on the raw query string (without `?`); the token is compared in constant time.

    Parameters of others are passed over: Meta keeps the callback URL's own query string. An empty verify
    token admits nobody.
    """
    values = _hub_parameters(query)
    if isinstance(values, ChallengeRefused):
        return values
    if values[b"hub.mode"] != b"subscribe":
        return _malformed("hub.mode is not subscribe")
    if not values[b"hub.challenge"]:
        return _malformed("hub.challenge is empty")
    if not (hmac.compare_digest(values[b"hub.verify_token"], verify_token) and verify_token):
        return ChallengeRefused(status=403, detail="hub.verify_token is not the one of this app")
    return ChallengeAccepted(challenge=values[b"hub.challenge"])


def _hub_parameters(query: bytes) -> Mapping[bytes, bytes] | ChallengeRefused:
    """Pick Meta's three parameters out of an `application/x-www-form-urlencoded` query, each exactly once."""
    found: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        raw_name, _, raw_value = pair.partition(b"=")
        name = _decode(raw_name)
        if name not in _NAMES:
            continue
        if name in found:
            return _malformed(f"{name.decode()} is repeated")
        if _BROKEN_ESCAPE.search(raw_value):
            return _malformed(f"{name.decode()} is not percent-encoded")
        found[name] = _decode(raw_value)
    missing = [name.decode() for name in _NAMES if name not in found]
    return _malformed(f"missing: {', '.join(missing)}") if missing else found


def _decode(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


def _malformed(detail: str) -> ChallengeRefused:
    return ChallengeRefused(status=400, detail=detail)
