"""Whose program gets the admin token."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from gateway.cli.port_owner import refuse_squatter
from gateway.errors import UsageError

NOBODY = 65_534
# It gives up root by itself: the interpreter may lie where only root can start it.
_LISTEN = """
import os, socket, sys
os.setuid(int(sys.argv[3]))
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
one = socket.socket(family)
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
one.bind((sys.argv[1], int(sys.argv[2])))
one.listen()
print(one.getsockname()[1], flush=True)
sys.stdin.read()
"""

Listen = Callable[..., int]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Return what has a program of some user listen; it returns the port."""
    with ExitStack() as running:

        def start(host: str, *, user: int, port: int = 0) -> int:
            program = running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _LISTEN, host, str(port), str(user)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            assert program.stdout is not None
            return int(program.stdout.readline())

        yield start


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs of another user")
@pytest.mark.parametrize(
    ("bound", "asked"),
    [("127.0.0.1", "localhost"), (str(IPv4Address(0)), "127.0.0.1"), ("::", "::1")],
)
def test_a_strangers_program_is_not_shown_the_token(
    listen: Listen, tmp_path: Path, bound: str, asked: str
) -> None:
    port = listen(bound, user=NOBODY)
    with pytest.raises(UsageError, match=f"a program of user {NOBODY}"):
        refuse_squatter(asked, port, directory=tmp_path)
    os.chown(tmp_path, NOBODY, -1)
    refuse_squatter(asked, port, directory=tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs of another user")
def test_a_stranger_beside_the_gateway_keeps_nobody_from_it(listen: Listen, tmp_path: Path) -> None:
    port = listen("127.0.0.1", user=os.geteuid())
    listen("::1", user=NOBODY, port=port)
    refuse_squatter("127.0.0.1", port, directory=tmp_path)


def test_our_own_and_what_cannot_be_told_are_let_pass(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        refuse_squatter("127.0.0.1", one.getsockname()[1], directory=tmp_path)
        refuse_squatter("gateway.internal", one.getsockname()[1], directory=tmp_path)
        refuse_squatter("127.0.0.1", one.getsockname()[1], directory=tmp_path / "missing")
    refuse_squatter("192.0.2.1", 9, directory=tmp_path)
