"""Who goes on after the verdict: the whole table."""

from typing import Literal

import pytest

from gateway.core.identity import Identity, LeafSummary, Reason, Refusal
from gateway.tls.policy import DoorPolicy, goes_on

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
