"""The settings: one frozen model a section of the file. Keys are the contract's; attributes carry their units.

Paths are absolute after loading, secrets are read, id lists are expanded.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.settings.values import Address, Duration, IdList, ListOrOne, Secret, SettingsPath, Size


class Model(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    )


class Drain(Model):
    """How the gateway leaves on SIGTERM."""

    delay_seconds: Annotated[Duration, Field(alias="delay")] = 0.0
    timeout_seconds: Annotated[Duration, Field(alias="timeout")] = 10.0


class Listen(Model):
    """The public port: TLS only."""

    address: Address = Address(host="::", port=8443)
    public_url: str | None = None
    workers: Literal[1] = 1
    proxy_protocol: Literal["none"] = "none"
    max_connections: int = 4096
    max_body_bytes: Annotated[Size, Field(alias="max_body")] = 3 * 1024**2
    drain: Drain = Drain()


class Client(Model):
    """Who may present a certificate: anchors and names of one entry."""

    trust_anchors: tuple[SettingsPath, ...]
    names: tuple[str, ...]


class Tls(Model):
    """The gateway's own certificate, and whose certificates it asks for."""

    certificate: SettingsPath
    private_key: SettingsPath
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    handshake: Literal["ask", "demand"] = "ask"
    clients: dict[str, Client]


class App(Model):
    """One Meta app."""

    path: str
    app_secrets: tuple[Secret, ...]
    verify_token: Secret
    client_certificate: Literal["required", "report"] = "required"
    clients: tuple[str, ...]


class TargetTls(Model):
    """TLS towards a target."""

    ca: SettingsPath | None = None
    certificate: SettingsPath | None = None
    private_key: SettingsPath | None = None


class Retry(Model):
    """When a delivery is tried again."""

    schedule_seconds: Annotated[tuple[Duration, ...], Field(alias="schedule")] = (
        1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 10800.0, 21600.0,
    )  # fmt: skip
    give_up_after_seconds: Annotated[Duration, Field(alias="give_up_after")] = 7 * 86400.0
    refuse_statuses: tuple[int, ...] = (400, 410, 413, 415, 422)


class Target(Model):
    """One internal HTTP target."""

    url: str
    payload: Literal["matching", "original"] = "matching"
    timeout_seconds: Annotated[Duration, Field(alias="timeout")] = 10.0
    concurrency: int = 8
    headers: dict[str, Secret | str] = {}
    signing_secret: Secret | None = None
    tls: TargetTls | None = None
    retry: Retry = Retry()
    on_give_up: Literal["dead_letter", "drop"] = "dead_letter"


class Route(Model):
    """Which changes go to which targets."""

    app: ListOrOne | None = None
    object: ListOrOne | None = None
    field: ListOrOne | None = None
    kind: ListOrOne | None = None
    waba: IdList | None = None
    phone_number_id: IdList | None = None
    display_phone_number: IdList | None = None
    to: ListOrOne


class Spool(Model):
    """Where notifications wait."""

    engine: Literal["sqlite"] = "sqlite"
    directory: Path
    duplicates_window_seconds: Annotated[Duration, Field(alias="duplicates_window")] = 7 * 86400.0
    duplicates_max: int = 20_000_000
    min_free_bytes: Annotated[Size, Field(alias="min_free")] = 256 * 1024**2


class DeadLetter(Model):
    """Where what could not be delivered is kept."""

    directory: Path
    keep_seconds: Annotated[Duration, Field(alias="keep")] = 30 * 86400.0
    max_size_bytes: Annotated[Size, Field(alias="max_size")] = 50 * 1024**3


class Admin(Model):
    """The admin port: plain HTTP, loopback by default."""

    address: Address = Address(host="127.0.0.1", port=9090)
    token: Secret | None = None
    hosts: tuple[str, ...] = ()


class MetricsListener(Model):
    """A second listener with /metrics, /healthz, /readyz and nothing else."""

    address: Address


class Log(Model):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    notifications: Literal["problems", "sample", "all"] = "problems"


class Settings(Model):
    """The whole file."""

    listen: Listen = Listen()
    tls: Tls
    apps: dict[str, App]
    targets: dict[str, Target]
    routes: tuple[Route, ...]
    unrouted: Literal["dead_letter", "drop"] = "dead_letter"
    spool: Spool
    dead_letter: DeadLetter
    admin: Admin = Admin()
    metrics: MetricsListener | None = None
    log: Log = Log()
