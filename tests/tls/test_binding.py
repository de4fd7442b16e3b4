"""Listening: dual stack, falling back, and complaints that name the remedy."""

import errno
import socket

import pytest

from gateway.errors import GatewayError
from gateway.settings.values import Address
from gateway.tls.binding import bind


def reach(host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=5):
        pass


def test_port_0_asks_for_a_free_one() -> None:
    bound = bind(Address(host="127.0.0.1", port=0))
    ((host, port),) = bound.addresses
    assert host == "127.0.0.1"
    assert port > 0
    assert bound.notice == ""
    reach(host, port)
    for one in bound.sockets:
        assert one.getblocking() is False
        one.close()


def test_the_wildcard_takes_ipv4_whatever_the_machine_has() -> None:
    bound = bind(Address(host="::", port=0))
    reach("127.0.0.1", bound.addresses[0][1])
    for one in bound.sockets:
        one.close()


def test_without_ipv6_it_falls_back_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_ipv6(family: int, *_: object) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, socket.SOCK_STREAM)

    real = socket.socket
    monkeypatch.setattr("gateway.tls.binding.socket.socket", no_ipv6)
    bound = bind(Address(host="::", port=0))
    assert bound.addresses[0][0] == "0.0.0.0"  # noqa: S104 # what it must be
    assert "0.0.0.0" in bound.notice  # noqa: S104 # what it must be
    for one in bound.sockets:
        one.close()


def test_a_port_that_is_taken_is_named_with_the_way_to_find_who_has_it() -> None:
    bound = bind(Address(host="127.0.0.1", port=0))
    port = bound.addresses[0][1]
    with pytest.raises(GatewayError, match=rf"127\.0\.0\.1:{port} \(Address already in use\).*ss -ltnp"):
        bind(Address(host="127.0.0.1", port=port))
    bound.sockets[0].close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(GatewayError, match="address of this machine"):
        bind(Address(host="192.0.2.1", port=0))


def test_a_name_that_does_not_resolve_is_refused() -> None:
    with pytest.raises(GatewayError, match=r"nowhere\.invalid"):
        bind(Address(host="nowhere.invalid", port=0))


def test_all_addresses_of_a_name_share_one_port() -> None:
    bound = bind(Address(host="localhost", port=0))
    assert len({port for _, port in bound.addresses}) == 1
    for one in bound.sockets:
        one.close()
