"""What one configuration makes: everything of the running gateway that a reload replaces.

A generation is built as a whole, away from the running gateway, and only then put in its place by plain
assignments (law 7): what can fail, fails here. It is made of settings and of files, and holds no socket, no
task and no state: those are the assembly's, and live on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography import x509

from gateway.admin.health import CertificateTerm
from gateway.core.routing import RoutingTable
from gateway.delivery.replay import Known
from gateway.delivery.target import DispatchTarget, dispatch_target
from gateway.ingress.app import IngressLimits, ingress_limits
from gateway.ingress.checks import IngressApp
from gateway.process.descriptors import allot
from gateway.settings.files import Sight, look, paths_in, paths_of
from gateway.settings.load import Loaded
from gateway.settings.model import Settings
from gateway.settings.routes import routing_table
from gateway.telemetry.log import get_logger
from gateway.tls.certificate import describe, read_certificates
from gateway.tls.context import ServerContext, make_context
from gateway.tls.policy import DoorPolicy, door_policy
from gateway.tls.trust import Trust
from gateway.web.limits import HttpLimits, http_limits

HTTPS_PORT: Final = 443
"""Left out of URLs."""

log = get_logger("service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One configuration, ready to serve. Not for logs: it holds secrets."""

    loaded: Loaded = field(repr=False)
    routing: RoutingTable = field(repr=False)
    known: Known = field(repr=False)
    """Where a dead letter may be replayed to."""
    apps: Mapping[str, IngressApp]
    app_secrets: Mapping[str, bytes] = field(repr=False)
    """App -> its first secret, which signs what targets get."""
    targets: Mapping[str, DispatchTarget] = field(repr=False)
    ingress_limits: IngressLimits
    http_limits: HttpLimits
    context: ServerContext
    """Of new connections; those that are open keep the one they began with."""
    policy: DoorPolicy
    terms: tuple[CertificateTerm, ...]
    """The server certificate and the anchors, staged ones too: when each is valid."""
    names: tuple[str, ...]
    """Host names that the server certificate carries, wildcards left out."""
    sight: Sight = field(repr=False)
    """The files that it was made of, as they were; what is seen to differ later has changed."""

    @property
    def settings(self) -> Settings:
        """The validated settings."""
        return self.loaded.settings

    def is_trusting_as(self, former: "Generation") -> bool:
        """Whether the same certificates are accepted, for the same clients."""
        clients = self.settings.tls.clients
        return clients == former.settings.tls.clients and _same_files(clients, self.sight, former.sight)


def build_generation(loaded: Loaded, *, former: Generation | None = None) -> Generation:
    """Make everything that a configuration stands for. It reads files, and blocks for some milliseconds.

    What has not changed since the former generation is the same object: the dispatcher leaves such targets
    alone.

    Raises:
        GatewayError: a file that the configuration names cannot be used.
    """
    settings = loaded.settings
    # Before they are read: what changes in between is seen to differ at the next look.
    sight = {**look(paths_of(settings)), **loaded.opened}
    routing = routing_table(settings)
    context = make_context(settings.tls)
    return Generation(
        loaded=loaded,
        routing=routing,
        known=Known(apps=frozenset(settings.apps), targets=frozenset(settings.targets), table=routing),
        apps=ingress_apps(settings),
        app_secrets={name: app.app_secrets[0].reveal() for name, app in settings.apps.items()},
        targets={name: _dispatch_target(name, settings, sight, former) for name in settings.targets},
        ingress_limits=ingress_limits(settings.listen),
        http_limits=http_limits(settings.listen),
        context=context,
        policy=door_policy(settings, max_connections=_allot_descriptors(settings)),
        terms=certificate_terms(settings, context.trust),
        names=tuple(
            name for name in describe(read_certificates(settings.tls.certificate)[0]).names if "*" not in name
        ),
        sight=sight,
    )


def fingerprint(generation: Generation) -> str:
    """Say what it was made of, in hexadecimal: processes that hold the same serve the same."""
    made_of = hashlib.sha256(generation.loaded.source.sha256.encode())
    for path, digest in sorted(generation.sight.items()):
        made_of.update(f"\0{path}\0{digest}".encode())
    return made_of.hexdigest()


def _dispatch_target(
    name: str, settings: Settings, sight: Sight, former: Generation | None
) -> DispatchTarget:
    target = settings.targets[name]
    if (
        former is not None
        and target == former.settings.targets.get(name)
        and _same_files(target.tls, sight, former.sight)
    ):
        return former.targets[name]
    return dispatch_target(target)


def _same_files(value: object, one: Sight, other: Sight) -> bool:
    return all(one.get(path) == other.get(path) for path in paths_in(value))


def ingress_apps(settings: Settings) -> dict[str, IngressApp]:
    """Make the apps of the settings ready for the public port."""
    return {
        name: IngressApp(
            name=name,
            path=app.path.encode("ascii"),
            secrets=tuple(secret.reveal() for secret in app.app_secrets),
            verify_token=app.verify_token.reveal(),
            clients=frozenset(app.clients),
            certificate_required=app.client_certificate == "required",
        )
        for name, app in settings.apps.items()
    }


def certificate_terms(settings: Settings, trust: Mapping[str, Trust]) -> tuple[CertificateTerm, ...]:
    """Say when the server certificate and the anchors are valid; anchors are named as in the metrics."""
    server = read_certificates(settings.tls.certificate)[0]
    staged = [anchor for one in trust.values() for anchor in one.staged]
    live = [anchor for one in trust.values() for anchor in one.anchors]
    # One that is staged for a client and trusted for another is an anchor.
    anchors = {
        **{anchor.sha256[:16]: _term(anchor.sha256[:16], "staged", anchor.certificate) for anchor in staged},
        **{anchor.sha256[:16]: _term(anchor.sha256[:16], "anchor", anchor.certificate) for anchor in live},
    }
    return (_term("server", "server", server), *anchors.values())


def _term(
    name: str, role: Literal["server", "anchor", "staged"], certificate: x509.Certificate
) -> CertificateTerm:
    return CertificateTerm(
        name=name,
        role=role,
        not_before_ms=int(certificate.not_valid_before_utc.timestamp() * 1000),
        not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
        subject=certificate.subject.rfc4514_string(),
    )


def callback_urls(generation: Generation, addresses: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Return app -> the URL to give to Meta.

    `listen.public_url` where it is set; else the first name that the server certificate carries, with the
    port that is listened on: another name would be refused by Meta, since the certificate must fit it.
    """
    settings = generation.settings
    base = settings.listen.public_url
    if base is None:
        host, port = addresses[0]
        name = next(iter(generation.names), host)
        name = f"[{name}]" if ":" in name else name
        base = f"https://{name}" if port == HTTPS_PORT else f"https://{name}:{port}"
    return {name: base.rstrip("/") + app.path for name, app in settings.apps.items()}


def _allot_descriptors(settings: Settings) -> int:
    """Return how many connections the public port may have."""
    wanted = settings.listen.max_connections
    granted = allot(
        max_connections=wanted,
        deliveries_at_once=sum(target.concurrency for target in settings.targets.values()),
    )
    if granted.max_connections < wanted:
        log.warning(
            "descriptors_short",
            limit=granted.limit,
            max_connections=granted.max_connections,
            remedy="raise the hard limit (LimitNOFILE= in a systemd unit), or lower listen.max_connections",
        )
    return granted.max_connections
