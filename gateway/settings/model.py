"""The settings: one frozen model a section of the file. Keys are the contract's; attributes carry units.

Paths are absolute after loading, secrets are read, id lists are expanded. The docstring under a field is its
entry in the reference. Python code builds a model by attribute names; the file knows the keys alone.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from gateway.core.change import Kind
from gateway.core.globs import compile_globs
from gateway.settings.graph import Graph
from gateway.settings.limits import Limits
from gateway.settings.reading import Reading, fault, shown
from gateway.settings.section import Model
from gateway.settings.values import (
    Address,
    AppPath,
    Count,
    Duration,
    ExactId,
    HeaderName,
    HeaderValue,
    IdList,
    ListenAddress,
    ListOrOne,
    MergedChanges,
    Name,
    Network,
    Otherwise,
    PositiveDuration,
    PublicUrl,
    Secret,
    SettingsPath,
    SigningSecret,
    Size,
    Status,
    Switch,
    TargetUrl,
    Text,
    Workers,
)

META_CLIENT: Final = "meta"
"""The client entry that apps ask for unless they say otherwise."""
META_NAME: Final = "client.webhooks.fbclientcerts.com"
"""The CN of Meta's client certificate (Meta, "Webhooks, mTLS"; unchanged by the move to Meta's own CA)."""

Several = Field(min_length=1)
ANY = Otherwise("any")


class Drain(Model):
    """How the gateway leaves on SIGTERM."""

    delay_seconds: Annotated[Duration, Field(alias="delay")] = 0.0
    """How long `/readyz` says 503 before the gateway stops accepting, so that a load balancer notices."""
    timeout_seconds: Annotated[Duration, Field(alias="timeout")] = 10.0
    """How long attempts in flight may take to end; what has not ended is tried again after the restart."""


class Listen(Model):
    """The public port: TLS only."""

    address: ListenAddress = ListenAddress(host="::", port=8443)
    """Where Meta connects to, `HOST:PORT`; where there is no IPv6, `[::]` falls back to 0.0.0.0 and says
    so. `systemd`: on the sockets of the socket unit that has started it; connections wait in them while the
    gateway restarts."""
    public_url: PublicUrl | None = None
    """How the outside reaches this port, such as `https://hooks.example.com`; makes the callback URLs in
    every message exact."""
    workers: Workers = 1
    """Processes that accept; `auto`: one for each core. A supervisor starts them, and starts one anew that
    dies. What this file limits (`max_connections`, `concurrency` and so on) it limits in each of them. On
    SQLite each has a spool file of its own, with `max_pending` and `duplicates_max` for itself, and a
    notification that Meta sends again is recognised where it comes to the same process. On PostgreSQL they
    share the spool and all of this."""
    proxy_protocol: Literal["none", "v1", "v2", "any"] = "none"
    """Whether a load balancer in front says by the PROXY protocol who the client is; then every connection
    must begin so. The address stands in logs and in the ledger of refusals, and decides nothing about
    trust."""
    proxy_from: tuple[Network, ...] = ()
    """Networks of the load balancers, such as `10.0.8.0/24`; required with `proxy_protocol`, and whoever
    comes from elsewhere is closed upon."""
    max_connections: Count = 4096
    """Open connections; those without an accepted certificate may take a quarter of it, one request each."""
    max_body_bytes: Annotated[Size, Field(alias="max_body", gt=0)] = 3 * 1024**2
    """Largest body that is accepted; Meta sends up to 3 MB, and retries what was refused for days."""
    limits: Limits = Limits()
    """What a client may cost."""
    drain: Drain = Drain()
    """How the gateway leaves on SIGTERM."""

    @model_validator(mode="after")
    def _room_for_meta(self) -> Self:
        """Keep strangers from taking every connection."""
        strangers = self.limits.without_certificate
        if strangers is not None and strangers >= self.max_connections:
            raise fault(
                f"{strangers} of {self.max_connections} connections for strangers would leave none for Meta",
                f"write less than max_connections, such as {max(1, self.max_connections // 4)}",
                at=("limits", "without_certificate"),
            )
        return self


class Client(Model):
    """Who may present a certificate: anchors and names of one entry."""

    trust_anchors: Annotated[tuple[SettingsPath, ...], Several]
    """PEM files, or directories of them, with the CA certificates that the client's chain may end in;
    self-signed or not. For Meta: the file that its page on webhooks hands out, never the CA of your own
    server certificate."""
    names: Annotated[
        tuple[Text, ...],
        Several,
        Otherwise(f"`[{META_NAME}]` for the entry `{META_CLIENT}`; others must state it"),
    ]
    """Names of which the certificate must carry one exactly: as its only CN, or as a dNSName where it has no
    CN."""
    staged_anchors: tuple[SettingsPath, ...] = ()
    """Anchors on trial, as `trust_anchors`: they admit nobody. Of each refused certificate the log and
    `gateway doctor` say whether they would have admitted it; that is how a sender's next CA is tried before
    it is trusted."""
    revocation_lists: tuple[SettingsPath, ...] = ()
    """Revocation lists (CRLs), files or directories, PEM or DER. A certificate in a list of its issuer is
    refused; an issuer without a list is not checked. A list that cannot be read or is badly signed is an
    error; one that has expired goes on counting, and the log says so every day."""
    revocation_strict: Switch = False
    """`true`: once a list has expired, the certificates of its issuer are refused until there is a new
    one."""


class Tls(Model):
    """The gateway's own certificate, and whose certificates it asks for."""

    certificate: SettingsPath
    """PEM file with the gateway's own certificate, then its intermediates (full chain); Meta demands one of
    a public CA."""
    private_key: SettingsPath
    """PEM file with the private key of `certificate`, not encrypted."""
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    """Oldest version of TLS that is spoken."""
    handshake: Literal["ask", "demand"] = "ask"
    """`ask`: a client without certificate may connect, to make the verification GET; `demand`: it is turned
    away in the handshake, so no app can be verified anew."""
    clients: Annotated[dict[Name, Client], Several]
    """Who may present a certificate: one entry a sender, each with anchors of its own."""

    @model_validator(mode="before")
    @classmethod
    def _name_meta(cls, data: Any) -> Any:
        """Give the entry `meta` Meta's name where it states none."""
        match data:
            case {"clients": {"meta": dict() as meta} as clients} if "names" not in meta:
                return data | {"clients": clients | {META_CLIENT: meta | {"names": (META_NAME,)}}}
        return data


class App(Model):
    """One Meta app."""

    path: AppPath
    """Path of the app's callback URL, compared byte by byte; each app has its own."""
    app_secrets: Annotated[tuple[Secret, ...], Several]
    """The app secret of Meta's dashboard (App settings, Basic). Any of several may have signed, for
    rotation; the first signs what targets get."""
    verify_token: Secret
    """What you enter in Meta's dashboard beside the callback URL; Meta shows it in the verification GET."""
    client_certificate: Literal["required", "report"] = "required"
    """`required`: only an accepted certificate may POST; `report`: the signature alone decides, and every
    certificate problem is counted and logged (for migration)."""
    clients: Annotated[tuple[Text, ...], Several] = (META_CLIENT,)
    """Entries of `tls.clients` whose certificates this app accepts."""
    app_id: ExactId | None = None
    """The app's id (App settings, Basic): tells `gateway subscriptions` which subscription is ours."""


class TargetTls(Model):
    """TLS towards a target."""

    ca: SettingsPath | None = None
    """PEM file with the CA certificates that the target's chain may end in, instead of the system's."""
    certificate: SettingsPath | None = None
    """PEM file with the client certificate (and intermediates) that the gateway presents to the target."""
    private_key: SettingsPath | None = None
    """PEM file with the private key of `certificate`, not encrypted."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            given, absent = (
                ("certificate", "private_key") if self.certificate else ("private_key", "certificate")
            )
            raise fault(f"has no {absent} to go with it", f"add {absent}, or remove {given}", at=(given,))
        return self


class Retry(Model):
    """When a delivery is tried again."""

    schedule_seconds: Annotated[tuple[PositiveDuration, ...], Field(alias="schedule", min_length=1)] = (
        1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 10800.0, 21600.0,
    )  # fmt: skip
    """Waits between attempts; the last repeats, and each is spread by 20 % either way."""
    give_up_after_seconds: Annotated[PositiveDuration, Field(alias="give_up_after")] = 7 * 86400.0
    """When a delivery becomes a dead letter, counted from acceptance (or replay)."""
    refuse_statuses: tuple[Status, ...] = (400, 410, 413, 415, 422)
    """Statuses that say the target will never take this delivery: a dead letter at once."""

    @model_validator(mode="after")
    def _at_least_one_retry(self) -> Self:
        if self.give_up_after_seconds < self.schedule_seconds[0]:
            raise fault(
                "is shorter than the first wait of the schedule: nothing would ever be retried",
                "write a longer time, or a shorter first wait",
                at=("give_up_after",),
            )
        return self


class Breaker(Model):
    """When a target is left alone for a while; see docs/delivery.md."""

    failures: Count = 5
    """Consecutive failures (per target and process) after which only probes are sent; what waits meanwhile
    uses up no attempt. 20 refusals in a row do the same."""
    probe_every_seconds: Annotated[PositiveDuration, Field(alias="probe_every")] = 15.0
    """Time between two probes."""


class Target(Model):
    """One internal HTTP target."""

    url: TargetUrl
    """Where deliveries are POSTed to; http or https."""
    payload: Literal["matching", "original"] = "matching"
    """`matching`: Meta's envelope with this delivery's changes alone; `original`: Meta's bytes whenever one
    change matched."""
    timeout_seconds: Annotated[PositiveDuration, Field(alias="timeout")] = 10.0
    """How long the whole attempt may take, connecting included."""
    concurrency: Count = 8
    """Attempts under way at the same time."""
    order: Literal["none", "sender"] = "none"
    """`sender`: deliveries that are about the same user and phone number arrive in order of acceptance; a
    later one waits until the earlier is delivered or dead."""
    max_changes: MergedChanges = 1
    """Above 1, deliveries that wait are merged into one POST while their changes add up to no more (and their
    bytes to 3 MiB); not with `payload: original`."""
    headers: dict[HeaderName, HeaderValue] = {}  # noqa: RUF012 (pydantic copies a default)
    """Headers sent besides the gateway's own; a value is plain text or a secret."""
    signing_secret: SigningSecret | None = None
    """Signs each attempt as Standard Webhooks besides: `whsec_` and base64."""
    tls: TargetTls | None = None
    """TLS towards this target; absent: the system's CAs, no client certificate."""
    retry: Retry = Retry()
    """When a delivery is tried again."""
    on_give_up: Literal["dead_letter", "drop"] = "dead_letter"
    """What becomes of what was refused or given up; `drop` is for a shadow target."""
    max_pending_bytes: Annotated[Size, Field(alias="max_pending", gt=0)] = 20 * 1024**3
    """How much may wait for it, in bytes of notifications; beyond it the oldest go the way of `on_give_up`,
    so that one dead target does not fill the disk."""
    breaker: Breaker = Breaker()
    """When it is left alone for a while."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tls is not None and self.url.startswith("http:"):
            raise fault(
                "stands beside a URL without TLS", "write an https:// URL, or remove tls", at=("tls",)
            )
        if self.max_changes > 1 and self.payload == "original":
            raise fault(
                "cannot stand beside `payload: original`: merged notifications are not Meta's bytes",
                "remove it, or use payload: matching",
                at=("max_changes",),
            )
        seen: set[str] = set()
        for name in self.headers:
            if name.lower() in seen:
                raise fault(f"the header {name} stands here twice", "keep one", at=("headers", name))
            seen.add(name.lower())
        return self


def _known_kinds(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        if not any(map(compile_globs([pattern]), Kind)):
            raise fault(f"{shown(pattern)} is no kind of change", f"write one of {', '.join(Kind)}")
    return patterns


class Route(Model):
    """Which changes go to which targets: every key that is stated must match, and every route that matches
    adds its targets. `*` and `?` as in a shell."""

    app: Annotated[ListOrOne | None, ANY] = None
    """Names of apps."""
    object: Annotated[ListOrOne | None, ANY] = None
    """Objects, such as `whatsapp_business_account`, `page`, `instagram`."""
    field: Annotated[ListOrOne | None, ANY] = None
    """Webhook fields, such as `messages`; see `gateway fields`."""
    kind: Annotated[Annotated[ListOrOne, AfterValidator(_known_kinds)] | None, ANY] = None
    """`message`, `status`, `error` or `other`, read from the keys of the value."""
    waba: Annotated[IdList | None, ANY] = None
    """Ids of WhatsApp Business Accounts (`entry.id`)."""
    phone_number_id: Annotated[IdList | None, ANY] = None
    """Ids of business phone numbers."""
    display_phone_number: Annotated[IdList | None, ANY] = None
    """Business phone numbers as Meta shows them, digits alone."""
    to: ListOrOne
    """Names of the targets."""
    priority: Annotated[
        Literal["high", "normal", "low"] | None, Otherwise("by kind: messages `high`, statuses `low`")
    ] = None
    """Which of what waits for a target goes first; see docs/delivery.md."""


class Spool(Model):
    """Where notifications wait, durably, until every target has them."""

    engine: Literal["sqlite", "postgresql"] = "sqlite"
    """`sqlite`: embedded, one directory. `postgresql`: shared by replicas; see docs/scaling.md."""
    directory: Annotated[
        SettingsPath, Otherwise("`$STATE_DIRECTORY/spool`, else `var/spool` beside the file")
    ]
    """Where the spool lives: a local disk, not a network file system. One gateway a directory."""
    dsn: Annotated[Secret | None, Otherwise("none")] = None
    """How to reach PostgreSQL, as libpq has it (`postgresql://user@host/database`, several hosts too)."""
    duplicates_window_seconds: Annotated[PositiveDuration, Field(alias="duplicates_window")] = 7 * 86400.0
    """How long a notification is remembered, so that Meta's retry of it is not delivered again."""
    duplicates_max: Count = 20_000_000
    """How many notifications are remembered at most, whichever is reached first."""
    keep_delivered_seconds: Annotated[Duration, Field(alias="keep_delivered")] = 0.0
    """How long what a target has taken is kept for `gateway replay`; with little room it goes earlier."""
    min_free_bytes: Annotated[Size, Field(alias="min_free")] = 256 * 1024**2
    """Free space below which notifications are answered 503, for Meta to come again."""


class DeadLetter(Model):
    """Where what could not be delivered is kept."""

    directory: Annotated[
        SettingsPath, Otherwise("`$STATE_DIRECTORY/dead-letter`, else `var/dead-letter` beside the file")
    ]
    """One file a delivery, under the target's name and the hour."""
    keep_seconds: Annotated[PositiveDuration, Field(alias="keep")] = 30 * 86400.0
    """How long a dead letter is kept."""
    max_size_bytes: Annotated[Size, Field(alias="max_size", gt=0)] = 50 * 1024**3
    """Size of all dead letters beyond which the oldest go."""


class Admin(Model):
    """The admin port: plain HTTP; health, metrics, and what the commands ask."""

    address: Address = Address(host="127.0.0.1", port=9090)
    """Where it listens, `HOST:PORT`; beyond loopback, `hosts` is required."""
    token: Annotated[
        Secret | None, Otherwise("made at start in `admin.token` (0600) beside the spool directory")
    ] = None
    """What a caller must show for payloads and for every POST."""
    hosts: tuple[Text, ...] = ()
    """Names (without port) that the `Host` header may carry, besides loopback."""


class MetricsListener(Model):
    """A second listener with `/metrics`, `/healthz`, `/readyz` and nothing else."""

    address: Address
    """Where it listens, `HOST:PORT`."""


class Log(Model):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least of what is logged."""
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: console on a terminal, else JSON lines."""
    notifications: Literal["problems", "sample", "all"] = "problems"
    """Which notifications get a line of their own."""


class Settings(Model):
    """The sections, at the top level."""

    listen: Listen = Listen()
    """The public port: TLS only."""
    tls: Tls
    """The gateway's own certificate, and whose certificates it asks for."""
    apps: Annotated[dict[Name, App], Several]
    """One entry a Meta app."""
    targets: Annotated[dict[Name, Target], Several]
    """Where changes go: internal HTTP targets by name."""
    routes: Annotated[tuple[Route, ...], Several]
    """Which changes go to which targets; every route that matches adds its targets."""
    unrouted: Literal["dead_letter", "drop"] = "dead_letter"
    """What becomes of changes that no route takes, and of bodies that are not JSON."""
    spool: Annotated[Spool, Otherwise("all defaults")]
    """Where notifications wait, durably, until every target has them."""
    dead_letter: Annotated[DeadLetter, Otherwise("all defaults")]
    """Where what could not be delivered is kept."""
    admin: Admin = Admin()
    """The admin port: plain HTTP; health, metrics, and what the commands ask."""
    metrics: Annotated[MetricsListener | None, Otherwise("none")] = None
    """A second listener with `/metrics`, `/healthz`, `/readyz` and nothing else."""
    log: Log = Log()
    """What is logged, and how."""
    graph: Graph = Graph()
    """Meta's side of the set-up, for `gateway subscriptions`; see docs/subscriptions.md."""

    @model_validator(mode="before")
    @classmethod
    def _place_state(cls, data: Any, info: ValidationInfo) -> Any:
        """Fill in where the spool and the dead letters live, which depends on the file and the
        environment."""
        if not isinstance(data, dict) or not isinstance(info.context, Reading):
            return data
        state = state_directory(info.context)
        for section, name in (("spool", "spool"), ("dead_letter", "dead-letter")):
            given = data.get(section, {})
            if isinstance(given, dict):
                data = data | {section: {"directory": state / name} | given}
        return data


def state_directory(context: Reading) -> Path:
    """Where state lives unless the file says: systemd's `StateDirectory=` (the first), else `var` beside the
    file."""
    given = context.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return context.base / (given or "var")
