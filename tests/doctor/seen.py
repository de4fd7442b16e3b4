"""What a doctor might see: a sound installation, to be made ill one thing at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.doctor.finding import Finding
from gateway.doctor.observed import (
    CONFIG,
    EDGE,
    LEDGER,
    READY,
    STATUS,
    AnchorFile,
    Answer,
    Clock,
    Disk,
    Material,
    Observations,
    Outside,
    Plan,
    Reached,
    Resolved,
    Running,
)
from gateway.tls.certificate import Description
from gateway.tls.look import Look

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOST = "hooks.example.com"
ANCHOR = "ab" * 32


def ago(**parts: float) -> str:
    """Return a time before now, as the admin port writes it."""
    return (NOW - timedelta(**parts)).isoformat().replace("+00:00", "Z")


def certificate(subject: str = f"CN={HOST}", **changes: Any) -> Description:
    made = Description(
        subject=subject,
        issuer="CN=R11,O=Let's Encrypt,C=US",
        serial="3e9",
        sha256="cd" * 32,
        names=(HOST,),
        key="ECDSA P-256",
        not_before=NOW - timedelta(days=20),
        not_after=NOW + timedelta(days=70, hours=1),
        is_ca=False,
        self_issued=False,
        purposes=("serverAuth",),
        development=False,
    )
    return replace(made, **changes)


def anchor(name: str = "Meta root", *, organization: str = "Meta", **changes: Any) -> AnchorFile:
    described = certificate(
        f"CN={name},O={organization}",
        sha256=ANCHOR,
        names=(),
        is_ca=True,
        self_issued=True,
        not_before=NOW - timedelta(days=300),
        not_after=NOW + timedelta(days=3650),
    )
    made = AnchorFile(
        client="meta", path=Path("/c/meta.pem"), description=described, organizations=(organization,)
    )
    return replace(made, **changes)


def look(**changes: Any) -> Look:
    made = Look(
        protocol="TLSv1.3",
        chain=(certificate(), certificate("CN=R11", sha256="ef" * 32, names=(), is_ca=True)),
        chain_faults=(),
        asks_for=("CN=Meta root",),
        status=400,
    )
    return replace(made, **changes)


def running(**contents: Any) -> Running:
    """Return what a gateway answers; each of ready, status, edge and config may be replaced."""
    edge: dict[str, Any] = {
        "anchors": [{"client": "meta", "sha256": ANCHOR, "last_seen_at": ago(minutes=3), "staged": False}],
        "secrets": [{"app": "main", "index": 0, "last_used_at": ago(minutes=3)}],
        "apps": {
            "main": {
                "client_certificate": "required",
                "recent": {"notifications": 1000, "without_accepted": 0},
            }
        },
        "refusals": [],
    }
    told: dict[str, Any] = {
        READY: {name: {"ok": True, "detail": ""} for name in ("listener", "spool", "certificates")},
        STATUS: {"targets": {"support": {"pending": 0, "oldest_seconds": 0.0, "dead_letters": 0}}},
        EDGE: edge,
        CONFIG: {"hash": "f" * 64, "loaded_at": ago(hours=1), "last_reload": None},
    }
    named = {"ready": READY, "status": STATUS, "edge": EDGE, "config": CONFIG, "ledger": LEDGER}
    told |= {named[name]: content for name, content in contents.items()}
    return Running(
        answers={
            path: content if isinstance(content, Answer) else Answer(status=200, content=content)
            for path, content in told.items()
        }
    )


def sound(**changes: Any) -> Observations:
    """Return what is seen where everything is well; keys are fields of Observations, Plan, Material and
    Disk."""
    made = Observations(
        now=NOW,
        plan=Plan(
            config=Path("gateway.yaml"),
            sha256="f" * 64,
            admin="127.0.0.1:9090",
            public_host=HOST,
            loopback_only=False,
            handshake="ask",
            meta_clients=frozenset({"meta"}),
            apps={"main": "required"},
            known_targets=frozenset({"support"}),
        ),
        material=Material(
            certificate_path=Path("/c/fullchain.pem"), chain=(certificate(),), anchors=(anchor(),)
        ),
        running=running(),
        disk=Disk(
            directory=Path("/var/lib/gateway/spool"),
            exists=True,
            writable=True,
            file_system="ext4",
            free_bytes=20 * 1024**3,
            min_free_bytes=256 * 1024**2,
            holder=4711,
            fsync_seconds=(0.002, 0.001, 0.004),
        ),
        clock=Clock(synchronised=True, max_error_seconds=0.01),
        resolved=(Resolved(host=HOST, seconds=0.01, addresses=("203.0.113.7",)),),
        targets=(Reached(name="support", url="http://127.0.0.1:1/", seconds=0.001, address="127.0.0.1:1"),),
        outside=(
            Outside(address="127.0.0.1:443", public=False, look=look()),
            Outside(address="203.0.113.7:443", public=True, look=look()),
        ),
    )
    for part in ("plan", "material", "disk"):
        whole = getattr(made, part)
        own = {key: value for key, value in changes.items() if hasattr(whole, key)}
        made = replace(made, **{part: replace(whole, **own)})
        changes = {key: value for key, value in changes.items() if key not in own}
    return replace(made, **changes)


Judge = Callable[[Observations], Iterator[Finding]]


def told(judge: Judge, seen: Observations) -> dict[str, str]:
    """Return code -> level of what a judge says, in order."""
    return {finding.code: finding.level.value for finding in judge(seen)}


def the(findings: Iterable[Finding], code: str) -> Finding:
    """Return the one finding with a code."""
    (found,) = [finding for finding in findings if finding.code == code]
    return found
