"""Who goes on after the verdict: the whole table; and what the settings mean for the door."""

from ipaddress import ip_network
from pathlib import Path
from typing import Literal

import pytest

from gateway.core.identity import Identity, LeafSummary, Reason, Refusal
from gateway.settings.load import load_settings
from gateway.tls.policy import DoorPolicy, Proxies, door_policy, goes_on

IDENTITY = Identity(
    clients=frozenset({"meta"}),
    name="x",
    leaf=LeafSummary(subject="", issuer="", serial="", sha256=""),
    anchor_sha256="",
)
CERTIFICATE_REASONS = [
    Reason.UNKNOWN_ISSUER,
    Reason.EXPIRED,
    Reason.NOT_YET_VALID,
    Reason.WRONG_PURPOSE,
    Reason.REVOKED,
    Reason.BAD_CHAIN,
]

TABLE: list[tuple[Literal["ask", "demand"], bool, Reason | None, bool]] = [
    # handshake, some app reports, reason (None: accepted), goes on
    ("ask", False, None, True),
    ("ask", True, None, True),
    ("demand", False, None, True),
    ("ask", False, Reason.NO_CERTIFICATE, True),
    ("ask", True, Reason.NO_CERTIFICATE, True),
    ("demand", False, Reason.NO_CERTIFICATE, False),
    ("ask", False, Reason.WRONG_NAME, True),
    ("ask", True, Reason.WRONG_NAME, True),
    ("demand", False, Reason.WRONG_NAME, False),
    *[("ask", False, reason, False) for reason in CERTIFICATE_REASONS],
    *[("ask", True, reason, True) for reason in CERTIFICATE_REASONS],
    *[("demand", False, reason, False) for reason in CERTIFICATE_REASONS],
    # check refuses demand beside report; should it ever come to it, the stricter one holds.
    *[("demand", True, reason, False) for reason in CERTIFICATE_REASONS],
]


@pytest.mark.parametrize(("handshake", "report", "reason", "expected"), TABLE)
def test_the_table(
    handshake: Literal["ask", "demand"], report: bool, reason: Reason | None, expected: bool
) -> None:
    verdict = IDENTITY if reason is None else Refusal(reason=reason, detail="")
    assert goes_on(DoorPolicy(handshake=handshake, report=report), verdict) is expected


@pytest.mark.parametrize(
    ("max_connections", "without", "handshakes"),
    [(4096, 1024, 1024), (100_000, 25_000, 1024), (8, 2, 2), (1, 1, 1)],
)
def test_a_quarter_may_be_without_an_accepted_certificate(
    max_connections: int, without: int, handshakes: int
) -> None:
    policy = DoorPolicy(handshake="ask", report=False, max_connections=max_connections)
    assert policy.max_without_identity == without
    assert policy.max_handshakes == handshakes


SETTINGS = """\
listen: {address: "127.0.0.1:8443", %s}
tls:
  certificate: a
  private_key: b
  handshake: ask
  clients: {meta: {trust_anchors: [c]}}
apps: {main: {path: /a, app_secrets: [{env: A}], verify_token: {env: A}, client_certificate: %s}}
targets: {support: {url: "http://127.0.0.1:9/"}}
routes: [{to: [support]}]
"""


def policy_of(directory: Path, listen: str, *, app: str = "required") -> DoorPolicy:
    """Return what the door is told by a file."""
    path = directory / "gateway.yaml"
    path.write_text(SETTINGS % (listen, app))
    return door_policy(load_settings(path, environ={"A": "a"}).settings, max_connections=100)


def test_the_policy_follows_from_the_settings(tmp_path: Path) -> None:
    plain = policy_of(tmp_path, "max_connections: 500")
    assert plain == DoorPolicy(handshake="ask", report=False, max_connections=100)
    assert policy_of(tmp_path, "max_connections: 500", app="report").report


def test_limits_of_the_door_are_those_of_the_settings(tmp_path: Path) -> None:
    limits = "{handshakes: 20, handshake: 3s, without_certificate: 50, per_address: 30}"
    policy = policy_of(tmp_path, f"max_connections: 200, limits: {limits}")
    assert (policy.max_handshakes, policy.handshake_seconds, policy.per_address) == (20, 3.0, 30)
    # A quarter of 200 was said, and 100 are borne.
    assert policy.max_without_identity == 25


def test_the_default_limits_have_one_value_each(tmp_path: Path) -> None:
    """The settings' and the policy's own, for who makes one without settings."""
    policy = policy_of(tmp_path, "max_connections: 100")
    assert policy == DoorPolicy(handshake="ask", report=False, max_connections=100)


@pytest.mark.parametrize(("protocol", "versions"), [("v1", ("v1",)), ("v2", ("v2",)), ("any", ("v1", "v2"))])
def test_proxies_are_those_of_the_settings(
    tmp_path: Path, protocol: str, versions: tuple[Literal["v1", "v2"], ...]
) -> None:
    policy = policy_of(tmp_path, f"proxy_protocol: {protocol}, proxy_from: [10.0.8.0/24, 2001:db8::1]")
    assert policy.proxies == Proxies(
        versions=versions, networks=(ip_network("10.0.8.0/24"), ip_network("2001:db8::1/128"))
    )
    within = {address: policy.proxies.include(address) for address in ADDRESSES}
    assert within == ADDRESSES


ADDRESSES = {
    "10.0.8.0": True,
    "10.0.8.255": True,
    "10.0.9.1": False,
    "2001:db8::1": True,
    "2001:db8::2": False,
    "fe80::1%eth0": False,
    "": False,
}
