"""Meta's verification GET (Meta, "Webhooks, getting started": verification requests)."""

from dataclasses import dataclass


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
    """Decide on the raw query string; the token is compared in constant time."""
    raise NotImplementedError
