"""Who is let in without an accepted certificate, and how many: what the door is told, and what follows from
it."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

from gateway.core.identity import Identity, Reason, Refusal
from gateway.core.proxy_header import ProxyVersion
from gateway.settings.address import IPNetwork
from gateway.settings.model import Settings

HANDSHAKE_SECONDS: Final = 10.0
"""Many round trips to the far side of the world; a slower client is none of Meta's."""

HANDSHAKES_IN_FLIGHT: Final = 1024
"""A handshake holds some 40 KiB; the oldest gives way to a new one, so that sleepers cannot shut the door."""

SHARE_WITHOUT_IDENTITY: Final = 4
"""One in so many connections may be without an accepted certificate (contract, section 2)."""


_PROXY_VERSIONS: Final[dict[str, tuple[ProxyVersion, ...]]] = {
    "v1": ("v1",),
    "v2": ("v2",),
    "any": ("v1", "v2"),
}
"""What `listen.proxy_protocol` says -> the versions of the PROXY protocol that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Load balancers that say for whom they connect: they alone may connect, and they must say it."""

    versions: tuple[ProxyVersion, ...]
    networks: tuple[IPNetwork, ...]

    def include(self, address: str) -> bool:
        """Say whether an address is one of theirs."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorPolicy:
    """What the door is told."""

    handshake: Literal["ask", "demand"]
    report: bool
    """Some app has `client_certificate: report`: a bad certificate goes on without identity."""
    max_connections: int = 4096
    handshake_seconds: float = HANDSHAKE_SECONDS
    handshakes_in_flight: int = HANDSHAKES_IN_FLIGHT
    without_identity: int | None = None
    """Connections without an accepted certificate; None: one in SHARE_WITHOUT_IDENTITY."""
    per_address: int | None = None
    """Connections from one address; None: no limit, since a load balancer is one address."""
    proxies: Proxies | None = None
    """None: clients connect by themselves."""

    @property
    def max_without_identity(self) -> int:
        """Connections without an accepted certificate, after their handshake."""
        if self.without_identity is not None:
            return self.without_identity
        return max(1, self.max_connections // SHARE_WITHOUT_IDENTITY)

    @property
    def max_handshakes(self) -> int:
        """Handshakes under way: these connections have no accepted certificate yet."""
        return min(self.handshakes_in_flight, self.max_without_identity)


def door_policy(settings: Settings, *, max_connections: int) -> DoorPolicy:
    """Say what the settings mean for the door.

    Args:
        settings: All of them.
        max_connections: How many the limit on descriptors bears of `listen.max_connections`.
    """
    listen = settings.listen
    versions, limits = _PROXY_VERSIONS.get(listen.proxy_protocol), listen.limits
    strangers = limits.without_certificate
    if strangers is not None:
        # In proportion, where the limit on descriptors bears fewer connections than the settings say.
        strangers = max(1, strangers * max_connections // listen.max_connections)
    return DoorPolicy(
        handshake=settings.tls.handshake,
        report=any(app.client_certificate == "report" for app in settings.apps.values()),
        max_connections=max_connections,
        handshake_seconds=limits.handshake_seconds,
        handshakes_in_flight=limits.handshakes,
        without_identity=strangers,
        per_address=limits.per_address,
        proxies=Proxies(versions=versions, networks=listen.proxy_from) if versions else None,
    )


def goes_on(policy: DoorPolicy, verdict: Identity | Refusal) -> bool:
    """Decide whether a connection is served after its verdict (contract, section 3, "Certificates")."""
    match verdict:
        case Identity():
            return True
        case Refusal() if policy.handshake == "demand":
            return False
        case Refusal(reason=Reason.NO_CERTIFICATE | Reason.WRONG_NAME):
            return True
        case Refusal():
            return policy.report
