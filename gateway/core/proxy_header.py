"""The PROXY protocol header (HAProxy, "The PROXY protocol, versions 1 & 2"): who the client is that a load
balancer connects for. Pure: the first bytes of a connection in, an address or a fault out.

What is said here is believed of a proxy alone, and of a proxy it is demanded: the specification forbids to
guess whether a header is there (section 5). So it is read strictly; what could be read in two ways is a
fault.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

ProxyVersion = Literal["v1", "v2"]

MAX_LINE_BYTES: Final = 107
"""Version 1: the longest line with its CRLF (section 2.1)."""
MAX_BLOCK_BYTES: Final = 4096
"""Version 2: 65 551 could be announced. Addresses and the identifiers of clouds take some hundred bytes, a
client certificate that a proxy passes on a few thousand; nginx draws the line here too."""

NOT_SENT: Final = "no PROXY header came from the load balancer"
OTHER_VERSION: Final = "a PROXY header of another version than listen.proxy_protocol says"
NOT_FROM_BALANCER: Final = "a connection past the load balancers (listen.proxy_from)"
NOT_EXPECTED: Final = (
    "the client began with a PROXY header; set listen.proxy_protocol and listen.proxy_from, or switch it off"
    " at the load balancer"
)
"""Details of refusals where load balancer and configuration do not fit each other."""

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_WORD: Final = b"PROXY "
SIGN_BYTES: Final = len(_SIGNATURE)
"""By so many first bytes a header of either version is known."""
_FIXED_BYTES: Final = 16
"""Version 2: signature, command, family, length."""
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
"""Version 2 in the higher half, the command in the lower; others must be refused (section 2.2)."""
_ADDRESS_BYTES: Final[Mapping[int, int | None]] = {
    0x00: None, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216,
}  # fmt: skip
"""Family and protocol -> length of the addresses. UNSPEC says nothing, of any length; others must be
refused."""
_TCP: Final[Mapping[int, tuple[type[IPv4Address | IPv6Address], int]]] = {
    0x11: (IPv4Address, 4),
    0x21: (IPv6Address, 16),
}
"""What a TCP port can be connected to over: the source address stands first, and its port behind both
addresses. The other families are taken for UNSPEC, as section 2.2 has it."""
_CRC32C: Final = 0x03
"""The type of the vector with the checksum (section 2.2.3)."""

_NUMBER: Final = rb"(0|[1-9][0-9]{0,4})"
"""No leading zeros: some would read them as octal."""
_LINE: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?|(TCP[46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) %b %b)\r\n" % (_NUMBER, _NUMBER),
    re.DOTALL,
)
_MAX_PORT: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """A whole header."""

    source: tuple[str, int] | None
    """Address and port of the client; an IPv4 address has its own form. None: it is not told, since the
    connection is the proxy's own (LOCAL: a health check) or not of TCP (UNKNOWN)."""
    size_bytes: int
    """What follows is the client's."""


@dataclass(frozen=True, slots=True)
class ProxyHeaderFault:
    """What stands there is no header."""

    detail: str
    """For the log; never anything that the other side has sent."""


def read_proxy_header(
    data: bytes, versions: Collection[ProxyVersion]
) -> ProxyHeader | ProxyHeaderFault | None:
    """Read what is here of a connection, with or without what follows the header. None: it is not all here.

    As soon as no header can come of it any more, that is said.
    """
    if "v2" in versions and _agree(data, _SIGNATURE):
        return _read_block(data)
    if "v1" in versions and _agree(data, _WORD):
        return _read_line(data)
    if _agree(data, _SIGNATURE) or _agree(data, _WORD):
        return ProxyHeaderFault(OTHER_VERSION)
    return ProxyHeaderFault(NOT_SENT)


def begins_as_proxy_header(data: bytes) -> bool:
    """Say whether this is the beginning of a header of either version: `SIGN_BYTES` are enough to tell."""
    return data.startswith((_WORD, _SIGNATURE))


def _agree(data: bytes, beginning: bytes) -> bool:
    """Say whether the data begins so, as far as it is here."""
    return data[: len(beginning)] == beginning[: len(data)]


def _read_line(data: bytes) -> ProxyHeader | ProxyHeaderFault | None:
    """Version 1 (section 2.1)."""
    end = data.find(b"\r\n", 0, MAX_LINE_BYTES) + 2
    if end < 2:
        if len(data) < MAX_LINE_BYTES:
            return None
        return ProxyHeaderFault("the line of the PROXY header is too long")
    line = _LINE.fullmatch(data, 0, end)
    if line is None:
        return ProxyHeaderFault("a malformed PROXY header (version 1)")
    family, source, destination, port, other_port = line.groups()
    if family is None:
        return ProxyHeader(source=None, size_bytes=end)
    kind = IPv4Address if family == b"TCP4" else IPv6Address
    try:
        address = kind(source.decode("ascii"))
        kind(destination.decode("ascii"))
    except ValueError:
        return ProxyHeaderFault("a PROXY header (version 1) with an address that is none")
    if max(int(port), int(other_port)) > _MAX_PORT:
        return ProxyHeaderFault("a PROXY header (version 1) with a port that is none")
    return ProxyHeader(source=(_own_form(address), int(port)), size_bytes=end)


def _read_block(data: bytes) -> ProxyHeader | ProxyHeaderFault | None:
    """Version 2 (section 2.2)."""
    if len(data) < _FIXED_BYTES:
        return None
    command, family = data[12], data[13]
    size = _FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        return ProxyHeaderFault("a PROXY header (version 2) with an unknown command")
    if command == _PROXY and family not in _ADDRESS_BYTES:
        return ProxyHeaderFault("a PROXY header (version 2) with an unknown family")
    if size > MAX_BLOCK_BYTES:
        return ProxyHeaderFault("the PROXY header (version 2) is too long")
    if len(data) < size:
        return None
    if command == _LOCAL:
        # "discard the protocol block including the family which is ignored"
        return ProxyHeader(source=None, size_bytes=size)
    return _read_addresses(data[:size], family)


def _read_addresses(block: bytes, family: int) -> ProxyHeader | ProxyHeaderFault:
    size = _ADDRESS_BYTES[family]
    if size is not None:
        if len(block) < _FIXED_BYTES + size:
            return ProxyHeaderFault("a PROXY header (version 2) too short for its addresses")
        fault = _check_vectors(block, _FIXED_BYTES + size)
        if fault is not None:
            return fault
    if family not in _TCP:
        return ProxyHeader(source=None, size_bytes=len(block))
    kind, width = _TCP[family]
    address = kind(block[_FIXED_BYTES : _FIXED_BYTES + width])
    port_at = _FIXED_BYTES + 2 * width
    port = int.from_bytes(block[port_at : port_at + 2], "big")
    return ProxyHeader(source=(_own_form(address), port), size_bytes=len(block))


def _check_vectors(block: bytes, start: int) -> ProxyHeaderFault | None:
    """Walk over type, length and value of what follows the addresses; only a checksum is looked into."""
    is_checked = False
    while start < len(block):
        value_at = start + 3
        end = value_at + int.from_bytes(block[start + 1 : value_at], "big")
        if value_at > len(block) or end > len(block):
            return ProxyHeaderFault("a PROXY header (version 2) with a vector beyond its end")
        if block[start] == _CRC32C:
            told = block[value_at:end]
            blanked = block[:value_at] + bytes(len(told)) + block[end:]
            if is_checked or len(told) != 4 or crc32c(blanked) != int.from_bytes(told, "big"):
                return ProxyHeaderFault("a PROXY header (version 2) with a wrong checksum")
            is_checked = True
        start = end
    return None


def _own_form(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _crc_row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_ROWS: Final = tuple(map(_crc_row, range(256)))


def crc32c(data: bytes) -> int:
    """Return the checksum of Castagnoli's polynomial (RFC 9260, appendix A; formerly RFC 4960, appendix
    B)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_ROWS[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFF_FFFF
