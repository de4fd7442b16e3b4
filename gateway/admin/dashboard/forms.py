"""What comes with a request, and where an answer leads: forms, cookie names, local paths, payloads."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.admin.body import BodyRefusedError, read_body
from gateway.admin.dashboard import wording
from gateway.admin.dashboard.pages import SECURITY_HEADERS, visible_text
from gateway.admin.requests import DELIVERY_ID
from gateway.errors import UsageError

PAYLOAD_SHOWN_BYTES: Final = 64 * 1024
"""On a page; the file has the rest."""
MAX_IDS: Final = 100
"""Of one action: two pages of the list."""
MAX_FIELDS: Final = 400
"""Of one form: the ids, what was typed, and some."""
_LOCAL_PATH: Final = re.compile(r"/(?:[A-Za-z0-9_.~%?=&+*:-][A-Za-z0-9_.~%?=&+*:/-]*)?")
"""Where a login may lead to: on this port, and to no other host (`//host` is none)."""
_JSON_PART: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|\[\]|\{\}|[][{},:]|[^][{},:"]+')
"""Of JSON without blanks; what is empty stays in one piece."""

Form = Mapping[str, Sequence[str]]


def redirect(path: str) -> Response:
    """Lead a browser elsewhere, by GET."""
    return Response(status_code=303, headers={**SECURITY_HEADERS, "location": path})


def cookie_name(request: Request) -> str:
    """Return what the cookie of a session is called."""
    # Cookies know no ports: two gateways on one host would log each other out.
    server = request.scope.get("server")
    return f"gateway_session_{server[1] if server else 0}"


def here(request: Request) -> str:
    """Return the path of a request, fit to come back to."""
    query = request.url.query
    return local_path(request.url.path + (f"?{query}" if query else ""))


def local_path(path: str) -> str:
    """Return a path of this port, or the overview where that is none."""
    return path if _LOCAL_PATH.fullmatch(path) else "/"


def header_values(request: Request, name: bytes) -> list[bytes]:
    """Return all values of a header."""
    return [value for key, value in request.scope["headers"] if key == name]


async def read_form(request: Request) -> Form:
    """Read a form.

    Raises:
        BodyRefusedError: it is too large, cut short, or no form.
    """
    body = await read_body(request)
    try:
        return parse_qs(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace"
        )
    except ValueError as error:
        raise BodyRefusedError(400, "body", "send a form of reasonable size, URL-encoded") from error


def first(form: Form, name: str) -> str:
    """Return the value of a field; empty where there is none."""
    return form[name][0] if form.get(name) else ""


def chosen_ids(form: Form) -> list[str]:
    """Return the ids that a form names, each once; what is no id is left out.

    Raises:
        UsageError: there are more than `MAX_IDS`.
    """
    ids = dict.fromkeys(form.get("id", ()))
    if len(ids) > MAX_IDS:
        raise UsageError(f"{len(ids)} dead letters are more than {MAX_IDS}", remedy="choose fewer at a time")
    return [identifier for identifier in ids if re.match(DELIVERY_ID, identifier)]


def readable(body: bytes) -> str:
    """Return a payload for people: JSON indented, what is no JSON as it is, and both bounded."""
    try:
        compact = msgspec.json.format(body, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        shown, more = body[:PAYLOAD_SHOWN_BYTES], len(body) - PAYLOAD_SHOWN_BYTES
    else:
        shown, more = _indented(compact)
    text = visible_text(shown.decode("utf-8", "replace"))
    return f"{text}\n\u2026 {wording.plural(more, 'more byte')}" if more > 0 else text


def _indented(compact: bytes) -> tuple[bytes, int]:
    """Indent as much of sound JSON as is shown, and count the bytes that are left.

    Not the whole: what is nested a thousand deep would have a thousand blanks before each of its values.
    """
    shown, depth = bytearray(), 0
    for part in _JSON_PART.finditer(compact):
        text = part[0]
        if text in (b"[", b"{"):
            depth += 1
        elif text in (b"]", b"}"):
            depth -= 1
            shown += b"\n" + b"  " * depth
        shown += b": " if text == b":" else text
        if text in (b"[", b"{", b","):
            shown += b"\n" + b"  " * depth
        if len(shown) >= PAYLOAD_SHOWN_BYTES:
            cut = len(shown) - PAYLOAD_SHOWN_BYTES
            more = len(compact) - part.end() + min(cut, len(text))
            return bytes(shown[:PAYLOAD_SHOWN_BYTES]), more
    return bytes(shown), 0
