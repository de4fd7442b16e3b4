"""Who has shown the admin token, and for how long that holds. Pure; time and randomness come in.

What the browser keeps is a random word, of which only the digest is kept here: neither tells the token. A
session ends after `LIFE_SECONDS`, `IDLE_SECONDS` after its last request, by logging out, with the process,
and when a reload changes the token. Each has a word of its own that its forms must carry (CSRF).
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.telemetry.line_budget import LineBudget

LIFE_SECONDS: Final = 8 * 3600.0
"""A shift."""
IDLE_SECONDS: Final = 3600.0
"""Whoever has left the desk for an hour logs in again."""
MAX_SESSIONS: Final = 32
"""The one that was used least recently gives way: nobody can fill the memory, who needs the token to try."""
TRIES_AT_ONCE: Final = 5
TRIES_PER_SECOND: Final = 0.5
"""Of wrong tokens that are answered as such. The right one always opens: otherwise whoever may reach the port
could keep the operator out by being wrong."""


@dataclass(slots=True)
class Session:
    """One browser that has shown the token."""

    csrf: str
    token_digest: bytes = field(repr=False)
    began_seconds: float
    used_seconds: float
    notice: "Notice | None" = None
    """What the next page is to tell, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What became of an action."""

    title: str
    rows: tuple[tuple[str, str, str], ...] = ()
    """Id, word, detail."""
    good: bool = True


class Sessions:
    """Those of one process."""

    def __init__(self, *, token: Callable[[], bytes], random_word: Callable[[], str]) -> None:
        """`token` is asked every time: a reload may change it."""
        self._token = token
        self._random_word = random_word
        self._kept: dict[bytes, Session] = {}
        self._tries = LineBudget(lines_per_second=TRIES_PER_SECOND, burst_lines=TRIES_AT_ONCE)

    def may_be_wrong(self, now_seconds: float) -> bool:
        """Whether a wrong token is one try more, and not one too many; uses the try up."""
        return self._tries.take(now_seconds) is not None

    def open(self, presented: str, now_seconds: float) -> str | None:
        """Return the word for the browser to keep, or None where that is not the token."""
        token = self._token()
        if not token or not hmac.compare_digest(presented.encode("utf-8", "replace"), token):
            return None
        self._drop_ended(now_seconds)
        while len(self._kept) >= MAX_SESSIONS:
            del self._kept[min(self._kept, key=lambda one: self._kept[one].used_seconds)]
        word = self._random_word()
        self._kept[_digest(word)] = Session(
            csrf=self._random_word(),
            token_digest=_digest(token),
            began_seconds=now_seconds,
            used_seconds=now_seconds,
        )
        return word

    def find(self, word: str, now_seconds: float) -> Session | None:
        """Return the session of a browser, or None where there is none, or no longer."""
        self._drop_ended(now_seconds)
        session = self._kept.get(_digest(word))
        if session is not None:
            session.used_seconds = now_seconds
        return session

    def close(self, word: str) -> None:
        """End a session: what the browser keeps is worth nothing from now on."""
        self._kept.pop(_digest(word), None)

    def _drop_ended(self, now_seconds: float) -> None:
        token_digest = _digest(self._token())
        for key, session in list(self._kept.items()):
            if (
                now_seconds - session.began_seconds >= LIFE_SECONDS
                or now_seconds - session.used_seconds >= IDLE_SECONDS
                or session.token_digest != token_digest
            ):
                del self._kept[key]


def csrf_is_right(session: Session, presented: str) -> bool:
    """Judge the word that a form carries, in constant time."""
    return hmac.compare_digest(presented.encode("utf-8", "replace"), session.csrf.encode())


def _digest(word: str | bytes) -> bytes:
    return hashlib.sha256(word.encode("utf-8", "replace") if isinstance(word, str) else word).digest()
