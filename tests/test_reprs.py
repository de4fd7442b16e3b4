"""Law 8: no repr shows a secret, a body, a query or headers, wherever it may end up."""

import ssl

import pytest

from gateway.core.breaker import BreakerPolicy
from gateway.core.outcome import Answer
from gateway.core.retry import RetryPolicy
from gateway.core.signature import sign, verify_signature
from gateway.delivery.message import OutgoingRequest
from gateway.delivery.sender import Endpoint
from gateway.delivery.target import DispatchTarget
from gateway.graph.client import Api
from gateway.ingress.checks import Head, IngressApp
from gateway.settings.values import Secret
from gateway.spool.contract import Lease
from gateway.spool.history import AttemptRecord
from gateway.web.head import Head as WebHead
from gateway.web.head import HeadReader
from gateway.web.limits import HttpLimits

CANARY = "canary-7f3a"
BYTES = CANARY.encode()


def read_head() -> object:
    head = HeadReader(HttpLimits()).read(b"GET /?t=%b HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (BYTES, BYTES))
    assert isinstance(head, WebHead)
    return head


HOLDERS = [
    Api(base_url="https://a", version="v25.0", token=Secret(BYTES, source="env NAME")),
    Secret(BYTES, source="env NAME"),
    verify_signature(app="a", raw=BYTES, header_values=[sign(b"s", BYTES).encode()], secrets=[b"s"]),
    IngressApp(
        name="main",
        path=b"/",
        secrets=(BYTES,),
        verify_token=BYTES,
        clients=frozenset({"meta"}),
        certificate_required=True,
    ),
    Head(method="GET", path=b"/", query=BYTES, headers=[(b"x", BYTES)], peer=None, address="192.0.2.1"),
    OutgoingRequest(headers=((b"Authorization", BYTES),), body=BYTES),
    DispatchTarget(
        endpoint=Endpoint(url="http://a", timeout_seconds=1, tls=ssl.create_default_context()),
        concurrency=1,
        headers={"Authorization": BYTES},
        webhook_key=BYTES,
        policy=RetryPolicy(schedule_seconds=(1,), give_up_after_seconds=1),
        refuse_statuses=frozenset(),
        drops=False,
        breaker=BreakerPolicy(failures=1, probe_every_seconds=1),
        max_pending_bytes=1,
    ),
    Answer(status=200, retry_after=None, excerpt=CANARY),
    AttemptRecord(number=1, at_ms=1, status=200, error="", duration_ms=1, response_excerpt=CANARY),
    Lease(
        token=1,
        delivery_id="d",
        notification_id="n",
        app="main",
        target="support",
        raw=BYTES,
        selection=None,
        received_at_ms=1,
        clock_started_ms=1,
        attempt=1,
        leased_at_ms=1,
        earlier=(),
    ),
    read_head(),
]


@pytest.mark.parametrize(
    "holder", HOLDERS, ids=lambda holder: f"{type(holder).__module__}.{type(holder).__name__}"
)
def test_what_holds_a_secret_or_a_body_does_not_show_it(holder: object) -> None:
    assert CANARY not in repr(holder) + str(holder) + f"{holder}" + repr([holder])
