"""Addresses to listen on (`HOST:PORT`, `[::]:8443`, `systemd`), and networks (`10.0.8.0/24`)."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from gateway.settings.amounts import DIGITS
from gateway.settings.reading import fault, read_text, shown

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%A-Za-z]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
_LOOPBACK_NAME: Final = "localhost"
ACTIVATED: Final = "systemd"
"""Stands for the sockets that systemd has opened and passes on (sd_listen_fds(3))."""

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`HOST:PORT`, `[::]:8443`; port 0 asks the kernel for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Can this machine alone reach it?"""
        if self.host == _LOOPBACK_NAME:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_wildcard(self) -> bool:
        """Does it stand for every address of the machine?"""
        return self.host in {"::", "0.0.0.0"}  # noqa: S104 - compared, not bound

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address; a fault where it is none."""
        parts = _ADDRESS.fullmatch(text)
        remedy = 'write HOST:PORT, such as 127.0.0.1:9090 or "[::]:8443"'
        if parts is None:
            if text.startswith(":") and DIGITS.fullmatch(text[1:]):
                remedy = f'write "[::]{text}" for every address of this machine, or 127.0.0.1{text}'
            elif text.count(":") > 1 and not text.startswith("["):
                remedy = 'put an IPv6 address in brackets and quotes, such as "[::1]:9090"'
            raise fault(f"{shown(text)} is not an address", remedy)
        host, port = parts["v6"] or parts["host"], int(parts["port"])
        try:
            if parts["v6"] or host.replace(".", "").isdigit():
                ipaddress.ip_address(host)
        except ValueError as error:
            raise fault(f"{shown(host)} is not an IP address", remedy) from error
        if port > 65535:
            raise fault(f"{port} is not a port", "write a port from 0 to 65535")
        return cls(host=host, port=port)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object) -> Address:
            return value if isinstance(value, Address) else cls.parse(read_text(value))

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.to_string_ser_schema()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress(Address):
    """An address, or `systemd`: then it is whatever the socket unit says, taken for every address, and the
    port is not known before the start."""

    activated: bool = False

    def __str__(self) -> str:
        return ACTIVATED if self.activated else Address.__str__(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address; a fault where it is none."""
        if text == ACTIVATED:
            return cls(host="::", port=0, activated=True)
        plain = Address.parse(text)
        return cls(host=plain.host, port=plain.port)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object) -> ListenAddress:
            return value if isinstance(value, ListenAddress) else cls.parse(read_text(value))

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.to_string_ser_schema()
        )


def read_network(value: object) -> IPNetwork:
    """Read a network, or one address as a network of its own."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    text = read_text(value)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        remedy = "write ADDRESS/BITS, such as 10.0.8.0/24 or 2001:db8:8::/48"
        raise fault(f"{shown(text)} is not a network", remedy) from None
    address = ipaddress.ip_address(text.partition("/")[0])
    if address != network.network_address:
        raise fault(f"{shown(text)} is an address within a network", f"write {network}, or {address} alone")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise fault(f"{shown(text)} is IPv4 in the form of IPv6", "write the IPv4 network")
    return network
