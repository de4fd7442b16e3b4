"""Who may talk to the admin port: the judgements, pure.

The port is plain HTTP on loopback, and so within reach of every web page that the operator's browser shows.
Three things keep such a page out: its requests carry a foreign `Host` once its name has been rebound to
127.0.0.1 (DNS rebinding), it cannot know the token, and it cannot send `application/json` across origins.
"""

import hmac
import ipaddress
import re
from collections.abc import Sequence
from typing import Final

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
"""RFC 9110 section 7.2: uri-host, and maybe a port."""


def host_is_ours(values: Sequence[bytes], *, hosts: frozenset[str]) -> bool:
    """Judge the `Host` headers of a request: exactly one, loopback or configured, with any port.

    `hosts` are names or addresses, with or without a port; where one has a port, the port must be equal.
    """
    if len(values) != 1:
        return False
    value = values[0].decode("latin-1").lower()
    match = _HOST.fullmatch(value)
    if match is None:
        return False
    name = match["name"]
    wanted = {host.lower() for host in hosts}
    return name == "localhost" or _is_loopback(name.strip("[]")) or name in wanted or value in wanted


def token_is_right(values: Sequence[bytes], *, token: bytes) -> bool:
    """Judge the `Authorization` headers of a request: `Bearer TOKEN`, in constant time (RFC 6750)."""
    if len(values) != 1 or not token:
        return False
    scheme, _, presented = values[0].partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(presented.strip(b" "), token)


def is_json(values: Sequence[bytes]) -> bool:
    """Judge the `Content-Type` headers of a request: `application/json`, whatever its parameters."""
    return len(values) == 1 and values[0].split(b";")[0].strip().lower() == b"application/json"


def is_drawn_in(
    *, fetch_sites: Sequence[bytes], fetch_modes: Sequence[bytes], destinations: Sequence[bytes]
) -> bool:
    """Judge whether another site's page has a browser fetch this besides (an image, a script, a frame), by
    `Sec-Fetch-Site`, `-Mode` and `-Dest`; a link that somebody follows is none such.

    It could read nothing of the answer; but each costs us something, and a stream takes a place.
    """
    if list(fetch_sites) not in ([b"cross-site"], [b"same-site"]):
        return False
    return list(fetch_modes) != [b"navigate"] or list(destinations) != [b"document"]


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_from_own_page(
    *, fetch_sites: Sequence[bytes], origins: Sequence[bytes], hosts: Sequence[bytes]
) -> bool:
    """Judge whether a form was sent by a page of our own, by `Sec-Fetch-Site`, `Origin` and `Host`.

    Browsers say `Sec-Fetch-Site` where the address is loopback or behind TLS; then it decides. `Origin` is
    `null` on forms of pages with `Referrer-Policy: no-referrer`, as ours are (Fetch, "append a request Origin
    header"), so that says nothing, and neither does its absence: the word in the form decides then.
    """
    if fetch_sites:
        return list(fetch_sites) == [b"same-origin"]
    if not origins or list(origins) == [b"null"]:
        return True
    if len(origins) != 1 or len(hosts) != 1:
        return False
    scheme, separator, host = origins[0].lower().partition(b"://")
    return bool(separator) and scheme in (b"http", b"https") and host == hosts[0].lower()
