"""What Meta refuses, as a sentence with its remedy: a table of the Graph API's error codes. Pure.

Sources: Meta, "Graph API, handling errors" and "WhatsApp Cloud API, error codes". A code that is not in the
table is told in Meta's own words.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from gateway.errors import PeerError
from gateway.graph.usage import say_minutes

PERMISSION: Final = "whatsapp_business_management"
"""The permission that these calls need."""

_TOKEN_KIND: Final = (
    "make one for a system user (Business settings, System users, Generate token) with the permission"
    f" {PERMISSION}; it should be one that never expires"
)
_MAX_SHOWN_CHARACTERS: Final = 300
"""Of Meta's own words: they are a sentence."""
_TOKEN_LIKE: Final = re.compile(r"EAA[A-Za-z0-9]{4,}|\b\d{5,}\|[\w-]+|(?:access_token|input_token)=[^&\s]+")
"""What may be a token whoever's it is: a user's, an app's, or one in a URL."""


class Scope(StrEnum):
    """Whom a limit blocks."""

    ACCOUNT = "account"
    EVERYTHING = "everything"
    """The app, or the user of the token: whichever account is asked about next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A rate limit that is reached."""

    scope: Scope
    minutes: float
    """Until access is regained, as Meta tells it; 0: not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is an error."""

    what: str
    remedy: str
    status: int
    """Of HTTP; 0: there was no call, since the limit is known to be reached."""
    code: int | None = None
    """The Graph API's; None where the answer named none."""
    subcode: int | None = None
    trace: str = ""
    """`fbtrace_id`: what Meta's support asks for."""
    limit: Limit | None = None

    @property
    def told(self) -> str:
        """Say it, and for how long where it is a limit."""
        if self.limit is None:
            return self.what
        if not self.limit.minutes:
            return f"{self.what}; Meta does not say for how long"
        return f"{self.what}; access again in {say_minutes(self.limit.minutes)}"


class RefusedError(PeerError):
    """Meta has answered, and refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.told, remedy=refusal.remedy)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    what: str
    """What is wrong; `{words}` stands for Meta's own."""
    remedy: str
    scope: Scope | None = None
    """Of a rate limit."""


_WAIT: Final = "wait, and do not try on: each call lengthens the block (--wait waits and goes on by itself)"
_ACCOUNT_LIMIT: Final = _Row(
    what="the rate limit of this account is reached", remedy=_WAIT, scope=Scope.ACCOUNT
)
_NO_TOKEN: Final = _Row(what="Meta does not take the access token", remedy=_TOKEN_KIND)
_NOT_ALLOWED: Final = _Row(
    what="the token is not allowed to do this ({words})",
    remedy=f"give it the permission {PERMISSION}, and its system user full control of the account; the app"
    " must be able to edit the account",
)
_META: Final = _Row(
    what="Meta has trouble of its own ({words})", remedy="repeat it later: the command looks first"
)

_ROWS: Final[dict[tuple[int, int | None], _Row]] = {
    (1, None): _META,
    (2, None): _META,
    (3, None): _Row(
        what="the app lacks the capability for this ({words})",
        remedy="add the product WhatsApp to the app (App Dashboard)",
    ),
    (4, None): _Row(what="the rate limit of the app is reached", remedy=_WAIT, scope=Scope.EVERYTHING),
    (10, None): _NOT_ALLOWED,
    (17, None): _Row(
        what="the rate limit of the token's user is reached", remedy=_WAIT, scope=Scope.EVERYTHING
    ),
    (32, None): _Row(what="a rate limit is reached", remedy=_WAIT, scope=Scope.ACCOUNT),
    (100, None): _Row(
        what="Meta does not take a parameter ({words})",
        remedy="is it the id of a WhatsApp Business Account (or of a phone number, with --phone), and is an"
        " override URL one that Meta can reach and verify?",
    ),
    (100, 33): _Row(
        what="there is no such account, or the token may not see it",
        remedy="compare the id with Business settings, WhatsApp accounts (it is neither a phone number nor"
        " its id), and give the token's system user access to it",
    ),
    (190, None): _NO_TOKEN,
    (190, 460): _Row(what="the access token is void since a password was changed", remedy=_TOKEN_KIND),
    (190, 463): _Row(what="the access token has expired", remedy=_TOKEN_KIND),
    (190, 467): _Row(what="the access token was revoked or is invalid", remedy=_TOKEN_KIND),
    (613, None): _Row(what="a rate limit is reached", remedy=_WAIT, scope=Scope.ACCOUNT),
    (2200, None): _Row(
        what="Meta could not verify the callback URL ({words})",
        remedy="`gateway doctor` looks at the public port as Meta does; the verify token must be that of the"
        " URL's app",
    ),
    (80007, None): _ACCOUNT_LIMIT,
    (80008, None): _ACCOUNT_LIMIT,
}
"""(code, subcode) -> what to say; a subcode that is not listed falls back to its code."""


def read_refusal(
    status: int,
    body: object,
    *,
    minutes: float = 0.0,
    secrets: Iterable[str] = (),
) -> Refusal:
    """Read an answer that is an error.

    Args:
        status: Of HTTP.
        body: The JSON of the answer; None where it was none.
        minutes: Until access is regained, as its headers have it; 0 where they do not say.
        secrets: What must not be repeated, whatever the answer holds.
    """
    error = _mapping(_mapping(body).get("error"))
    code, subcode = _integer(error.get("code")), _integer(error.get("error_subcode"))
    row = _row(status, code, subcode)
    words = scrub(_words(error), secrets) or f"HTTP status {status}"
    return Refusal(
        what=f"{row.what.format(words=words)} ({_numbers(status, code, subcode)})",
        remedy=row.remedy,
        status=status,
        code=code,
        subcode=subcode,
        trace=scrub(str(error.get("fbtrace_id") or ""), secrets)[:64],
        limit=None if row.scope is None else Limit(scope=row.scope, minutes=minutes),
    )


def known_block(minutes: float) -> Refusal:
    """Make the refusal that a call would get, by what the last answer said: it is not made."""
    return Refusal(
        what=_ACCOUNT_LIMIT.what,
        remedy=_WAIT,
        status=0,
        limit=Limit(scope=Scope.ACCOUNT, minutes=minutes),
    )


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Make a stranger's text fit to print: no secret or what looks like one, on one line, not endless."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    text = _TOKEN_LIKE.sub("[hidden]", text)
    text = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else text[:_MAX_SHOWN_CHARACTERS] + "..."


def _row(status: int, code: int | None, subcode: int | None) -> _Row:
    if code is not None:
        found = _ROWS.get((code, subcode)) or _ROWS.get((code, None))
        if found is not None:
            return found
        if 200 <= code <= 299:  # Meta: API permission
            return _NOT_ALLOWED
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _ACCOUNT_LIMIT
    if status == HTTPStatus.UNAUTHORIZED and code is None:
        return _NO_TOKEN
    if 300 <= status < 400:
        return _Row(
            what="the answer is a redirect, and none is followed: the token would go along",
            remedy="correct graph.base_url",
        )
    if status >= 500 and code is None:
        return _META
    return _Row(what="Meta refused ({words})", remedy="Meta's page on Graph API errors may know the code")


def _numbers(status: int, code: int | None, subcode: int | None) -> str:
    if code is None:
        return f"HTTP {status}"
    return f"code {code}" if subcode is None else f"code {code}, subcode {subcode}"


def _words(error: dict[str, Any]) -> str:
    """Meta's own words: what it has written for users is the plainest."""
    words = (error.get(key) for key in ("error_user_msg", "message"))
    return next((word.strip() for word in words if isinstance(word, str) and word.strip()), "")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _integer(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
