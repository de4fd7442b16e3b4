"""How many connections each address has, where that is limited."""

from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import Final

_SUBNET_BITS: Final = 64
"""What one IPv6 customer has at the least (RFC 6177): whoever has one address of it has all."""


class PerAddress:
    """Counts connections by address; pure."""

    def __init__(self) -> None:
        self._connections: Counter[str] = Counter()

    def enter(self, address: str, limit: int) -> str | None:
        """Count one more; None where that would be too many. What is returned goes to `leave`, once."""
        key = _key(address)
        if self._connections[key] >= limit:
            return None
        self._connections[key] += 1
        return key

    def leave(self, key: str) -> None:
        """Count one less."""
        self._connections[key] -= 1
        if not self._connections[key]:
            del self._connections[key]

    def __len__(self) -> int:
        """How many addresses are known: those with a connection."""
        return len(self._connections)


def _key(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return f"{int(parsed) >> _SUBNET_BITS:x}::/{_SUBNET_BITS}"
    return address
