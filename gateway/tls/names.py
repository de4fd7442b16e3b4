"""Whether a server certificate is good for a host name, as a client would have it (RFC 9525)."""

import ipaddress
from collections.abc import Iterable


def covers(names: Iterable[str], host: str) -> bool:
    """Say whether one of a certificate's names (DNS names, IP addresses) fits a host.

    A wildcard stands for the whole leftmost label and for one label alone (RFC 9525, section 6.3); the common
    name of the subject counts for nothing.
    """
    wanted = host.rstrip(".").lower()
    try:
        address = ipaddress.ip_address(wanted.strip("[]"))
    except ValueError:
        return any(_fits(name.rstrip(".").lower(), wanted) for name in names)
    return any(_same_address(name, address) for name in names)


def _fits(name: str, host: str) -> bool:
    if not name.startswith("*."):
        return name == host
    first, dot, rest = host.partition(".")
    return bool(first and dot) and rest == name[2:]


def _same_address(name: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return ipaddress.ip_address(name) == address
    except ValueError:
        return False
