"""Readers of texts: names, headers, paths of URLs, URLs."""

import re
from typing import Final
from urllib.parse import urlsplit

from gateway.settings.reading import fault, read_text, shown

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""Names of apps, targets and client entries."""
_NAME = re.compile(NAME_PATTERN)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RESERVED_HEADERS = re.compile(
    r"host|content-(type|length|encoding)|transfer-encoding|connection|proxy-connection|keep-alive|te|trailer|upgrade"
    r"|expect|idempotency-key|gateway-.*|x-hub-signature.*|webhook-.*",
    re.IGNORECASE,
)
"""What the gateway or HTTP itself says (contract, section 4; RFC 9110 section 7.6.1)."""
_ID = re.compile(r"[0-9*?]+")
_APP_PATH = re.compile(r"/[!-~]*")
_GRAPH_VERSION = re.compile(r"v[0-9]{1,3}\.[0-9]{1,2}")
MAX_OVERRIDE_CHARACTERS: Final = 200
"""Of an alternate callback URL, as Meta takes it."""


def read_name(value: object) -> str:
    """Read the name of an app, a target or a client entry."""
    text = read_text(value)
    if not _NAME.fullmatch(text):
        raise fault(
            f"{shown(text)} cannot be a name",
            "use letters, digits, - and _, beginning with a letter or digit, at most 64",
        )
    return text


def read_header_name(value: object) -> str:
    """Read the name of a header that a target may be sent besides the gateway's own."""
    text = read_text(value)
    if not _HEADER_NAME.fullmatch(text):
        raise fault(f"{shown(text)} is not the name of a header", "use letters, digits and -")
    if _RESERVED_HEADERS.fullmatch(text):
        raise fault(f"the header {text} is the gateway's own", "remove it, or choose another name")
    return text


def read_id(value: object) -> str:
    """Read an id or a pattern of ids. Those that Meta writes (WhatsApp accounts, their numbers and the ids of
    these) are digits alone."""
    text = read_text(value)
    if not _ID.fullmatch(text):
        digits = re.sub(r"[^0-9*?]", "", text)
        remedy = f"write {digits}" if re.search("[0-9]", digits) else "use digits, * and ? alone"
        raise fault(f"{shown(text)} matches no id: ids are digits alone", remedy)
    return text


def read_app_path(value: object) -> str:
    """Read the path of an app: compared with the raw bytes of a request, so nothing in it is decoded."""
    text = read_text(value)
    if not text.startswith("/"):
        raise fault(f"{shown(text)} does not begin with /", f"write {shown('/' + text)}")
    if not _APP_PATH.fullmatch(text) or "?" in text or "#" in text:
        raise fault(
            f"{shown(text)} is not a path",
            "use printable ASCII without spaces, ? and #; percent-encode the rest",
        )
    return text


def _read_url(value: object, schemes: tuple[str, ...]) -> str:
    """Read an absolute URL of one of the schemes, without credentials or fragment."""
    text = read_text(value)
    example = f"write {schemes[0]}://HOST/PATH"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise fault("is not a URL", example) from None
    if not text.isascii() or " " in text:
        raise fault("holds spaces or letters beyond ASCII", "percent-encode them (a host name: punycode)")
    if "@" in (parts.netloc or text):
        # Not shown: there is a password in it. (`me:password@host` without // has no netloc.)
        raise fault("holds credentials", "send them as a header: headers: {Authorization: {file: PATH}}")
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        where = text.partition("?")[0]
        raise fault(f"{shown(where)} is not a URL of {' or '.join(schemes)} with a host", example)
    if parts.fragment or text.endswith("#"):
        raise fault("has a fragment (#), which is never sent", "remove it")
    return text


def read_target_url(value: object) -> str:
    """Read where a target listens."""
    return _read_url(value, ("http", "https"))


def read_public_url(value: object) -> str:
    """Read how the outside reaches the public port: `https://HOST` or `https://HOST:PORT`."""
    text = _read_url(value, ("https",))
    parts = urlsplit(text)
    if parts.path not in {"", "/"} or parts.query or "?" in text:
        raise fault(
            "holds a path or a query",
            f"write https://{parts.netloc}; each app's path stands in apps.NAME.path",
        )
    return f"https://{parts.netloc}"


def read_graph_url(value: object) -> str:
    """Read where the Graph API is: https, since a token goes there; a path for a proxy of one's own."""
    text = _read_url(value, ("https",))
    if "?" in text:
        raise fault("holds a query", f"write {text.partition('?')[0]}")
    return text.rstrip("/")


def read_graph_version(value: object) -> str:
    """Read a version of the Graph API, as it stands in its URLs."""
    text = read_text(value)
    if not _GRAPH_VERSION.fullmatch(text):
        raise fault(f"{shown(text)} is no version of the Graph API", "write it like v25.0")
    return text


def read_override_url(value: object) -> str:
    """Read an alternate callback URL (Meta, "Override the callback URL": at most 200 characters)."""
    text = _read_url(value, ("https",))
    if len(text) > MAX_OVERRIDE_CHARACTERS:
        raise fault(
            f"has {len(text)} characters, and Meta takes at most {MAX_OVERRIDE_CHARACTERS}",
            "write a shorter one",
        )
    return text
