"""Sockets that were passed on: taken where they are ours, and refused with the remedy where they are not.

Descriptors begin at 3 in the protocol, so each test is a process of its own, which passes real ones.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from gateway.errors import UsageError
from gateway.tls.activation import take_activated

_CHILD = """
import os, sys
from gateway.errors import UsageError
from gateway.tls.activation import take_activated
os.environ["LISTEN_PID"] = os.environ.get("LISTEN_PID") or str(os.getpid())
try:
    bound = take_activated(os.environ)
except UsageError as error:
    print(error)
else:
    print([port for _, port in bound.addresses])
    assert not any(one.getblocking() or os.get_inheritable(one.fileno()) for one in bound.sockets)
assert not [name for name in os.environ if name.startswith("LISTEN_")]
"""


def take(sockets: Sequence[socket.socket], environ: Mapping[str, str]) -> str:
    """Have a process take what it was passed; return what it says."""
    # The shell puts each where the protocol wants it: `exec 3<&N 4<&M`.
    moves = "".join(f" {3 + place}<&{10 + place}" for place, _ in enumerate(sockets))
    high = [os.dup2(one.fileno(), 100 + place) for place, one in enumerate(sockets)]
    first = "".join(f" {10 + place}<&{number}" for place, number in enumerate(high))
    try:
        done = subprocess.run(
            ["bash", "-c", f'exec{first}; exec{moves}; exec "$0" "$@"', sys.executable, "-c", _CHILD],
            env={**os.environ, **environ},
            pass_fds=high,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for number in high:
            os.close(number)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def listening(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    return socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)


def ports(*sockets: socket.socket) -> str:
    return str([one.getsockname()[1] for one in sockets])


def test_all_that_listen_are_taken() -> None:
    with listening() as one, listening(socket.AF_INET6) as other:
        assert take([one, other], {"LISTEN_FDS": "2"}) == ports(one, other)


def test_where_some_are_named_public_it_is_these() -> None:
    with listening() as one, listening() as other:
        assert take([one, other], {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "admin:public"}) == ports(other)
        assert take([one, other], {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a.socket:a.socket"}) == ports(
            one, other
        )


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "none was passed"),
        ({"LISTEN_FDS": "0"}, "none was passed"),
        ({"LISTEN_FDS": "-1"}, "none was passed"),
        ({"LISTEN_FDS": "99999999999"}, "none was passed"),
        ({"LISTEN_FDS": "x"}, "none was passed"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, "they are for process 1"),
        ({"LISTEN_FDS": "2"}, "descriptor 4, passed by systemd, is no TCP socket that listens"),
    ],
)
def test_what_was_not_passed_to_us_is_told_with_the_remedy(environ: dict[str, str], told: str) -> None:
    with listening() as one:
        said = take([one], environ)
    assert told in said
    assert "socket unit" in said


def test_a_datagram_socket_a_connected_one_and_a_file_are_refused() -> None:
    left, right = socket.socketpair()
    with left, right, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        for wrong in (datagram, left):
            assert "is no TCP socket that listens" in take([wrong], {"LISTEN_FDS": "1"})


def test_without_any_of_it_the_error_is_the_operators() -> None:
    with pytest.raises(UsageError, match="none was passed"):
        take_activated({})
