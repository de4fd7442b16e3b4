"""The PROXY header: where it ends does not depend on how it is cut, and nothing is read two ways.

The first byte says which versions are expected.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from gateway.core.proxy_header import MAX_BLOCK_BYTES, ProxyHeader, ProxyVersion, read_proxy_header

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_VERSIONS: Final[tuple[tuple[ProxyVersion, ...], ...]] = (("v1", "v2"), ("v1",), ("v2",))


class DefectError(AssertionError):
    """A header was read wrongly."""


def one(data: bytes) -> None:
    """Read it as it grows."""
    versions = _VERSIONS[data[0] % 3] if data else _VERSIONS[0]
    data = data[1 : 1 + MAX_BLOCK_BYTES + 16]
    whole = read_proxy_header(data, versions)
    if not isinstance(whole, ProxyHeader):
        return
    _check(whole, data)
    step = max(1, whole.size_bytes // 64)
    for size in (*range(0, whole.size_bytes, step), whole.size_bytes - 1):
        early = read_proxy_header(data[:size], versions)
        if early is not None:
            raise DefectError(f"with {size} bytes of {whole.size_bytes} it is {early}")
    for more in (b"", b"x", data):
        if read_proxy_header(data[: whole.size_bytes] + more, versions) != whole:
            raise DefectError("what follows the header changes it")


def _check(header: ProxyHeader, data: bytes) -> None:
    if not 0 < header.size_bytes <= min(len(data), MAX_BLOCK_BYTES):
        raise DefectError(f"a header of {header.size_bytes} bytes")
    if header.source is None:
        return
    address, port = header.source
    if str(ip_address(address)) != address or not 0 <= port <= 0xFFFF:
        raise DefectError(f"{header.source} is no address")
    if data.startswith(b"PROXY "):
        told = data[: header.size_bytes].decode("ascii").split()
        source = ip_address(told[2])
        mapped = getattr(source, "ipv4_mapped", None) or source
        if (str(mapped), str(port)) != (address, told[4]):
            raise DefectError(f"{told} is read as {header.source}")


def seeds() -> Iterator[bytes]:
    """One of each kind."""
    yield b"\0PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\nhello"
    yield b"\1PROXY TCP6 2001:db8::1 ::ffff:198.51.100.1 4711 443\r\n"
    yield b"\1PROXY UNKNOWN\r\n"
    yield b"\0PROXY UNKNOWN ffff:f 1 2 3\r\n"
    inet = bytes([192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xBB])
    yield b"\2" + _SIGNATURE + b"\x21\x11\x00\x0c" + inet + b"hello"
    yield b"\2" + _SIGNATURE + b"\x21\x11\x00\x13" + inet + b"\x04\x00\x04abcd"
    yield b"\2" + _SIGNATURE + b"\x21\x11\x00\x13" + inet + b"\x03\x00\x04\x00\x00\x00\x00"
    yield b"\2" + _SIGNATURE + b"\x21\x21\x00\x24" + bytes(range(36))
    yield b"\0" + _SIGNATURE + b"\x20\x00\x00\x00"
    yield b"\0" + _SIGNATURE + b"\x21\x00\x00\x03abc"
