"""What the probes have seen: values alone, without any judgement."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from gateway.errors import Problem
from gateway.spool.succession import LeftBehind
from gateway.tls.certificate import Description
from gateway.tls.look import Look

READY: Final = "/readyz"
STATUS: Final = "/api/status"
EDGE: Final = "/api/edge"
CONFIG: Final = "/api/config"
LEDGER: Final = "/api/ledger"
PATHS: Final = (READY, STATUS, EDGE, CONFIG, LEDGER)
"""What a running gateway is asked."""

ClientCertificate = Literal["required", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorFile:
    """One trust anchor in a file that the configuration names."""

    client: str
    """The entry of `tls.clients`."""
    path: Path
    description: Description
    organizations: tuple[str, ...]
    """Of its subject."""
    staged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFile:
    """One revocation list in a file that the configuration names."""

    client: str
    path: Path
    issuer: str
    revoked: int
    """How many certificates it names."""
    next_update: datetime | None
    outdated: str
    """Why it is not current; empty: it is."""
    strict: bool
    """`revocation_strict`: where it is not current, the clients of its CA are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the certificate files hold, as far as they can be read: `check` tells of those that cannot."""

    certificate_path: Path
    chain: tuple[Description, ...]
    """The gateway's own; empty: it cannot be read."""
    anchors: tuple[AnchorFile, ...]
    lists: tuple[ListFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the configuration says, as far as the judges need it."""

    config: Path
    sha256: str
    """Of the file, hexadecimal."""
    admin: str
    """Where the admin port is."""
    public_host: str | None
    """Host of `listen.public_url`."""
    loopback_only: bool
    """`listen.address` is a loopback address."""
    handshake: Literal["ask", "demand"]
    proxied: bool = False
    """`listen.proxy_protocol`: the port listens to load balancers alone."""
    meta_clients: frozenset[str]
    """Entries of `tls.clients` that let Meta's name in."""
    apps: Mapping[str, ClientCertificate]
    known_targets: frozenset[str] = frozenset()
    shadows: frozenset[str] = frozenset()
    """Targets with `on_give_up: drop`."""
    problems: tuple[Problem, ...] = ()
    """What `gateway check --without-secrets` says of the files."""
    left: LeftBehind | None = None
    """What another engine has left in the spool directory, or a database."""

    def command(self, name: str) -> str:
        """Write a command that can be pasted: with the configuration that was looked at."""
        return f"gateway --config {shlex.quote(str(self.config))} {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one address of the admin port answered."""

    status: int
    """0: it did not."""
    content: Mapping[str, object] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What the running gateway says of itself."""

    answers: Mapping[str, Answer]
    """By path."""

    def content(self, path: str) -> Mapping[str, object] | None:
        """Return the JSON object of an address; None where there was no good answer."""
        answer = self.answers.get(path)
        return answer.content if answer is not None and answer.status in {200, 503} else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a name was resolved to."""

    host: str
    seconds: float
    addresses: tuple[str, ...] = ()
    fault: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """An attempt to connect to one target."""

    name: str
    url: str
    seconds: float = 0.0
    address: str = ""
    """The one that answered."""
    protocol: str = ""
    """Of TLS; empty: plain HTTP."""
    fault: str = ""
    """Why it could not be reached; empty: it could."""
    remedy: str = ""
    unreachable: tuple[str, ...] = ()
    """Addresses of the same name that did not answer, with the reason."""


Fault = Literal["refused", "unreachable", "timeout", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A look at the public port over one address."""

    address: str
    """`203.0.113.5:443`."""
    public: bool
    """An address of `public_url`; else the port of `listen.address` on this machine."""
    ours: bool = True
    """The address is one of this machine's."""
    look: Look | None = None
    fault: Fault | None = None
    """Why there is no connection."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Where the spool lives."""

    directory: Path
    exists: bool
    writable: bool
    file_system: str
    """As the kernel names it: `ext4`; empty: not known."""
    free_bytes: int
    min_free_bytes: int
    holder: int | None = None
    """The process that holds the spool."""
    owner: str = ""
    """Whose it is, where that is not the user who asks."""
    fsync_seconds: tuple[float, ...] = ()
    """Of one small write and `fdatasync` each; empty: not measured."""
    fault: str = ""
    """Why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What the kernel says of its clock (adjtimex)."""

    synchronised: bool | None
    """None: it cannot be asked."""
    max_error_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Everything that was seen."""

    now: datetime
    plan: Plan
    material: Material
    running: Running | None
    """None: no gateway answers at the admin port."""
    other: str = ""
    """Which other gateway does, as a sentence."""
    disk: Disk
    clock: Clock
    offline: bool = False
    resolved: tuple[Resolved, ...] = ()
    targets: tuple[Reached, ...] = ()
    outside: tuple[Outside, ...] = ()
