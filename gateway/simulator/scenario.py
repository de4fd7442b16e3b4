"""What happens in the demo, and what must come of it: the script as data.

The expectations are written down here by hand, not computed by the code that they judge.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.core.routing import UNROUTED, Route
from gateway.simulator.payloads import as_meta_writes, find_sample, freshen
from gateway.simulator.reasons import stated
from gateway.simulator.target import ACCEPT, FAIL_FOR_EVER, FAIL_TWICE, REFUSE, Behaviour

APP: Final = "main"
CALLBACK_PATH: Final = "/webhooks/main"

TARGETS: Final[Mapping[str, tuple[Behaviour, str]]] = {
    "support": (ACCEPT, "takes everything"),
    "analytics": (FAIL_TWICE, "answers 503 twice, then recovers"),
    "accounts": (ACCEPT, "takes everything"),
    "templates": (ACCEPT, "takes everything"),
    "billing": (REFUSE, "refuses with 422"),
    "pager": (FAIL_FOR_EVER, "answers 500 for ever"),
    "archive": (ACCEPT, "takes everything, and wants the original bytes"),
}

ORIGINAL_TARGET: Final = "archive"
"""Gets the original bytes of every notification of WhatsApp's; the others get the changes that are theirs."""

ROUTES: Final = (
    Route(field=("messages",), kind=("message",), to=("support",)),
    Route(field=("messages",), kind=("status",), to=("analytics",)),
    Route(field=("account_*", "business_*", "phone_number_*"), to=("accounts",)),
    Route(field=("message_template_*", "template_*"), to=("templates",)),
    Route(field=("account_update",), to=("billing",)),
    Route(field=("security",), to=("pager",)),
    Route(object=("whatsapp_*",), field=("*",), to=(ORIGINAL_TARGET,)),
)

RETRY_SCHEDULE: Final = ("200ms", "400ms")
"""Short, so that the demo ends within seconds."""
GIVE_UP_AFTER: Final = "2s"
"""Longer than two steps of the schedule with their jitter, so that what recovers does so before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What must become of one delivery."""

    target: str
    fields: tuple[str, ...]
    """The fields of the changes that it carries, in order."""
    answers: tuple[int, ...] = (200,)
    """What the target answers, attempt by attempt. With `gave_up` the last one repeats."""
    end: str = "delivered"
    """`delivered`, or the reason of the dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the script: a POST of Meta's, signed and with its certificate. It is answered 200."""

    label: str
    sample: str
    """Its name in `samples/`; empty: `body`."""
    deliveries: tuple[Expected, ...]
    """Empty for what has been sent before: stored once, delivered once."""
    body: bytes = b""
    as_it_stands: bool = False
    """Not freshened: Meta's own sample."""
    http2: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A line of the script with the bytes that are sent."""

    line: Line
    body: bytes


def _to(target: str, *fields: str) -> Expected:
    return Expected(target=target, fields=fields)


def _recovers(*fields: str) -> Expected:
    return Expected(target="analytics", fields=fields, answers=(503, 503, 200))


def _plain(field: str, *deliveries: Expected, label: str = "", sample: str = "") -> Line:
    """One change of one field; the archive gets it besides."""
    return Line(
        label=label or field, sample=sample or field, deliveries=(*deliveries, _to(ORIGINAL_TARGET, field))
    )


CUSTOMER_TEXT: Final = "messages: a customer's text"
_NAME_UPDATE: Final = "phone_number_name_update"

SCRIPT: Final = (
    Line(
        label="Meta's own sample: an array, entry id 0",
        sample="phone_number_name_update.dashboard_test",
        as_it_stands=True,
        deliveries=(_to("accounts", _NAME_UPDATE), _to(ORIGINAL_TARGET, _NAME_UPDATE)),
    ),
    _plain("messages", _to("support", "messages"), label=CUSTOMER_TEXT, sample="messages.text"),
    _plain("messages", _recovers("messages"), label="messages: a status", sample="messages.status_delivered"),
    _plain("account_review_update", _to("accounts", "account_review_update")),
    _plain(
        "account_update",
        _to("accounts", "account_update"),
        Expected(target="billing", fields=("account_update",), answers=(422,), end="refused"),
    ),
    _plain("business_capability_update", _to("accounts", "business_capability_update")),
    _plain("message_template_status_update", _to("templates", "message_template_status_update")),
    _plain("phone_number_quality_update", _to("accounts", "phone_number_quality_update")),
    _plain("security", Expected(target="pager", fields=("security",), answers=(500,), end="gave_up")),
    _plain("field_that_does_not_exist_yet", label="a field that nobody knows yet"),
    Line(
        label="four changes in one POST, over HTTP/2",
        sample="batch.mixed_entries",
        http2=True,
        deliveries=(
            _to("support", "messages"),
            _recovers("messages"),
            _to("accounts", "account_review_update", _NAME_UPDATE),
            _to(ORIGINAL_TARGET, "messages", "messages", "account_review_update", _NAME_UPDATE),
        ),
    ),
    Line(
        label="page/feed: no route takes it",
        sample="page/feed",
        deliveries=(Expected(target=UNROUTED, fields=("feed",), answers=(), end="unrouted"),),
    ),
    Line(
        label="signed, but not JSON",
        sample="",
        body=b"\x00 signed, and yet no JSON \xff",
        deliveries=(Expected(target=UNROUTED, fields=(), answers=(), end="unparseable"),),
    ),
    Line(label="the customer's text once more, the same bytes", sample="messages.text", deliveries=()),
)


METRICS: Final[Mapping[str, float]] = {
    'handshakes_total{reason="unknown_issuer",result="refused"}': 1,
    'requests_total{app="main",status="200"}': 15,  # the verification, and every line of the script
    'requests_total{app="main",status="401"}': 2,
    'requests_total{app="main",status="403"}': 2,  # a wrong verify token, a POST without certificate
    'duplicates_total{app="main"}': 1,
    'notifications_total{app="main",field="other",object="whatsapp_business_account"}': 1,
    'deliveries_total{outcome="delivered",target="support"}': 2,
    'deliveries_total{outcome="delivered",target="analytics"}': 2,
    'deliveries_total{outcome="retried",target="analytics"}': 4,
    'deliveries_total{outcome="refused",target="billing"}': 1,
    'deliveries_total{outcome="gave_up",target="pager"}': 1,
    'deliveries_total{outcome="delivered",target="archive"}': 11,
    'dead_letters{target="billing"}': 1,
    'dead_letters{target="pager"}': 1,
    'dead_letters{target="_unrouted"}': 2,
    'spool_pending{target="analytics"}': 0,
    'spool_pending{target="pager"}': 0,
}
"""What the gateway itself must have counted when all is settled; labels in alphabetical order."""


def notifications(*, now_ms: int, draw: Callable[[], str]) -> tuple[Notification, ...]:
    """Return what Meta sends in the demo, in order; `draw` gives unique text for message ids."""
    made: dict[str, Notification] = {}
    for line in SCRIPT:
        if line.sample and line.deliveries:
            parsed = find_sample(line.sample).read()
            body = as_meta_writes(parsed) if line.as_it_stands else freshen(parsed, now_ms=now_ms, draw=draw)
        else:
            body = line.body or made[CUSTOMER_TEXT].body
        made[line.label] = Notification(line=line, body=body)
    return tuple(made.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What Meta and the gateway share."""

    app_secret: bytes
    verify_token: bytes


_CONFIG: Final = """\
# Written by gateway demo, and gone when it ends.
listen: {{address: "127.0.0.1:{port}"}}
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  handshake: ask
  clients:
    meta:
      trust_anchors: [certs/meta-ca.pem]
apps:
  {app}:
    path: {path}
    app_secrets: [{{file: secrets/app_secret}}]
    verify_token: {{file: secrets/verify_token}}
    client_certificate: required
    clients: [meta]
targets:
{targets}
routes:
{routes}
spool: {{directory: state/spool, min_free: 8MiB}}
dead_letter: {{directory: dead-letter}}
admin: {{address: "127.0.0.1:{admin_port}"}}
log: {{level: info, format: json, notifications: all}}
"""


def config_text(*, port: int, admin_port: int, target_urls: Mapping[str, str]) -> str:
    """Return the demo's configuration, with certificates in `certs/` and secrets in `secrets/` beside it."""
    retry = f"retry: {{schedule: [{', '.join(RETRY_SCHEDULE)}], give_up_after: {GIVE_UP_AFTER}}}"
    targets = []
    for name, url in target_urls.items():
        payload = "original" if name == ORIGINAL_TARGET else "matching"
        targets.append(f"  {name}: {{url: {json.dumps(url)}, payload: {payload}, timeout: 2s, {retry}}}")
    routes = [f"  - {json.dumps({**stated(route), 'to': route.to})}" for route in ROUTES]  # JSON is YAML 1.2
    return _CONFIG.format(
        port=port,
        admin_port=admin_port,
        app=APP,
        path=CALLBACK_PATH,
        targets="\n".join(targets),
        routes="\n".join(routes),
    )


def write_gateway(
    directory: Path, *, port: int, admin_port: int, target_urls: Mapping[str, str], secrets: Secrets
) -> Path:
    """Write configuration and secrets where `certs/` is already; returns the configuration's path."""
    folder = directory / "secrets"
    folder.mkdir(mode=0o700)
    for name, value in (("app_secret", secrets.app_secret), ("verify_token", secrets.verify_token)):
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(value + b"\n")
    config = directory / "gateway.yaml"
    config.write_text(
        config_text(port=port, admin_port=admin_port, target_urls=target_urls), encoding="utf-8"
    )
    return config
