"""The PROXY header: what is read, what is refused, and that nothing behind it is touched."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.proxy_header import (
    MAX_BLOCK_BYTES,
    MAX_LINE_BYTES,
    ProxyHeader,
    ProxyHeaderFault,
    ProxyVersion,
    crc32c,
    read_proxy_header,
)

ANY: tuple[ProxyVersion, ...] = ("v1", "v2")
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def line(text: str) -> bytes:
    return text.encode() + b"\r\n"


def block(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(payload).to_bytes(2, "big") + payload


def vector(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def with_checksum(command: int, family: int, addresses: bytes, *vectors: bytes) -> bytes:
    """Put the checksum first among the vectors, over all of the header."""
    rest = b"".join(vectors)
    crc = crc32c(block(command, family, addresses + vector(3, bytes(4)) + rest))
    return block(command, family, addresses + vector(3, crc.to_bytes(4, "big")) + rest)


def addresses_of(source: IPv4Address | IPv6Address, port: int) -> bytes:
    return source.packed + bytes(len(source.packed)) + port.to_bytes(2, "big") + b"\x01\xbb"


PORTS = st.integers(0, 65_535)
VECTORS = st.lists(
    st.tuples(st.sampled_from([0x01, 0x02, 0x04, 0x05, 0x20, 0x30, 0xEA]), st.binary(max_size=40)), max_size=5
).map(lambda pairs: b"".join(vector(*pair) for pair in pairs))


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, tuple[str, int]]:
    """A header of either version, and what it says."""
    port = draw(PORTS)
    four = draw(st.booleans())
    address = draw(st.ip_addresses(v=4) if four else st.ip_addresses(v=6))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    said = (str(mapped or address), port)
    if draw(st.booleans()):
        other = draw(st.ip_addresses(v=address.version))
        return line(f"PROXY TCP{address.version} {address} {other} {port} {draw(PORTS)}"), said
    family, vectors = (0x11 if four else 0x21), draw(VECTORS)
    make = draw(
        st.sampled_from([with_checksum, lambda *parts: block(parts[0], parts[1], b"".join(parts[2:]))])
    )
    return make(0x21, family, addresses_of(address, port), vectors), said


@given(header=headers(), behind=st.binary(max_size=30))
def test_a_header_says_who_the_client_is_and_where_it_ends_however_it_is_cut(
    header: tuple[bytes, tuple[str, int]], behind: bytes
) -> None:
    data, said = header
    for cut in range(len(data)):
        assert read_proxy_header(data[:cut], ANY) is None
    assert read_proxy_header(data + behind, ANY) == ProxyHeader(source=said, size_bytes=len(data))


@given(header=headers(), at=st.integers(0, 300), byte=st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused_and_never_reaches_beyond_its_bound(
    header: tuple[bytes, tuple[str, int]], at: int, byte: int
) -> None:
    data = bytearray(header[0])
    data[at % len(data)] = byte
    match read_proxy_header(bytes(data) + bytes(MAX_BLOCK_BYTES), ANY):
        case ProxyHeader(size_bytes=size):
            assert size <= (MAX_LINE_BYTES if data.startswith(b"PROXY") else MAX_BLOCK_BYTES)
        case other:
            assert isinstance(other, ProxyHeaderFault), "so much is enough to decide"


@given(data=st.binary(min_size=1, max_size=200))
def test_garbage_is_refused_at_its_first_wrong_byte(data: bytes) -> None:
    if data[:1] not in (b"P", b"\r"):
        assert isinstance(read_proxy_header(data, ANY), ProxyHeaderFault)
    elif data not in (b"P", b"\r") and data[:2] not in (b"PR", b"\r\n"):
        assert isinstance(read_proxy_header(data[:2], ANY), ProxyHeaderFault)


@given(header=headers().map(lambda pair: pair[0]).filter(lambda data: data.startswith(SIGNATURE)),
       bit=st.integers(0, 10_000))  # fmt: skip
def test_a_flipped_bit_under_a_checksum_is_refused(header: bytes, bit: int) -> None:
    payload = header[16:]
    size = 12 if header[13] == 0x11 else 36
    whole = with_checksum(0x21, header[13], payload[:size], vector(4, b"padding"))
    number = 8 * 16 + bit % (8 * (len(whole) - 16))
    damaged = bytearray(whole)
    damaged[number // 8] ^= 1 << number % 8
    if damaged[16 + size] == 3:  # else it is no checksum any more
        assert isinstance(read_proxy_header(bytes(damaged), ANY), ProxyHeaderFault)


def test_the_checksum_is_castagnolis() -> None:
    """RFC 3720, appendix B.4, and the check value of every catalogue."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


@pytest.mark.parametrize(
    "data",
    [
        line("PROXY UNKNOWN"),
        line("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535"),
        line("PROXY UNKNOWN \x00\r\x01\n"),
        block(0x20, 0x00, b""),
        block(0x20, 0x11, addresses_of(IPv4Address("192.0.2.1"), 5)),
        block(0x20, 0xFF, b"anything"),
        block(0x21, 0x00, b"\x03\x00"),
        block(0x21, 0x12, addresses_of(IPv4Address("192.0.2.1"), 5)),
        block(0x21, 0x31, bytes(216)),
    ],
    ids=[
        "v1 unknown", "v1 unknown, longest", "v1 unknown with anything", "health check", "local with family",
        "local with garbage", "unspecified", "datagram", "unix",
    ],
)  # fmt: skip
def test_where_no_client_is_told_the_proxys_own_address_stands(data: bytes) -> None:
    assert read_proxy_header(data + b"\x16\x03", ANY) == ProxyHeader(source=None, size_bytes=len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 "),
        line("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 01 2"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 1 99999"),
        line("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2"),
        line("PROXY TCP4 192.0.2.01 192.0.2.2 1 2"),
        line("PROXY TCP4 192.0.2 192.0.2.2 1 2"),
        line("PROXY TCP4 192.0.2.256 192.0.2.2 1 2"),
        line("PROXY TCP4 2001:db8::1 2001:db8::2 1 2"),
        line("PROXY TCP6 192.0.2.1 192.0.2.2 1 2"),
        line("PROXY TCP6 2001:db8::1%eth0 2001:db8::2 1 2"),
        line("PROXY TCP6 2001:db8:::1 2001:db8::2 1 2"),
        line("PROXY UDP4 192.0.2.1 192.0.2.2 1 2"),
        line("PROXY UNKNOWNS"),
        line("proxy TCP4 192.0.2.1 192.0.2.2 1 2"),
        line("PROXY"),
        line("PROXY UNKNOWN " + "x" * 92),
        b"PROXY UNKNOWN " + b"x" * 93,
        block(0x22, 0x11, addresses_of(IPv4Address("192.0.2.1"), 5)),
        block(0x11, 0x11, addresses_of(IPv4Address("192.0.2.1"), 5)),
        block(0x21, 0x10, addresses_of(IPv4Address("192.0.2.1"), 5)),
        block(0x21, 0x41, bytes(300)),
        block(0x21, 0x11, bytes(11)),
        block(0x21, 0x21, bytes(35)),
        block(0x21, 0x11, bytes(12) + b"\x04"),
        block(0x21, 0x11, bytes(12) + b"\x04\x00"),
        block(0x21, 0x11, bytes(12) + b"\x04\x00\x01"),
        block(0x21, 0x11, bytes(12) + vector(4, b"") + b"\x05\xff\xff"),
        block(0x21, 0x11, bytes(12) + vector(3, bytes(4))),
        block(0x21, 0x11, bytes(12) + vector(3, bytes(3))),
        block(0x20, 0x00, bytes(MAX_BLOCK_BYTES))[:16],
        SIGNATURE[:-1] + b"\r",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\r\n\r\n\r",
    ],
)  # fmt: skip
def test_what_is_no_header_is_refused(data: bytes) -> None:
    assert isinstance(read_proxy_header(data, ANY), ProxyHeaderFault)


def test_two_checksums_are_one_too_many() -> None:
    good = with_checksum(0x21, 0x11, bytes(12))
    assert isinstance(read_proxy_header(good, ANY), ProxyHeader)
    twice = with_checksum(0x21, 0x11, bytes(12), good[-7:])
    assert isinstance(read_proxy_header(twice, ANY), ProxyHeaderFault)


def test_the_longest_line_and_the_longest_block_are_read() -> None:
    longest = line("PROXY UNKNOWN " + "x" * 91)
    assert len(longest) == MAX_LINE_BYTES
    assert read_proxy_header(longest, ANY) == ProxyHeader(source=None, size_bytes=MAX_LINE_BYTES)
    whole = block(0x20, 0x00, bytes(MAX_BLOCK_BYTES - 16))
    assert read_proxy_header(whole[:-1], ANY) is None
    assert read_proxy_header(whole, ANY) == ProxyHeader(source=None, size_bytes=MAX_BLOCK_BYTES)


@pytest.mark.parametrize(("version", "other"), [("v1", "v2"), ("v2", "v1")])
def test_only_the_version_that_is_meant_is_taken(version: ProxyVersion, other: ProxyVersion) -> None:
    of = {"v1": line("PROXY UNKNOWN"), "v2": block(0x20, 0x00, b"")}
    assert isinstance(read_proxy_header(of[version], (version,)), ProxyHeader)
    wrong = read_proxy_header(of[other], (version,))
    assert isinstance(wrong, ProxyHeaderFault)
    assert "another version" in wrong.detail


def test_tls_without_a_header_is_told_in_a_word_that_helps() -> None:
    wrong = read_proxy_header(b"\x16\x03\x01\x02\x00\x01", ANY)
    assert isinstance(wrong, ProxyHeaderFault)
    assert "no PROXY header" in wrong.detail
