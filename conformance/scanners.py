"""Scanners of TLS: sslyze and testssl.sh. What they do not like is explained here, or it is a failure."""

import json
import re
import shutil
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

import trio

from conformance.door import Door, open_door
from conformance.outcome import Outcome, judged, skipped
from conformance.specimen import DoorKind, Ground

SECTION: Final = "tls"
SSLYZE: Final = Path(__file__).parent / ".venv" / "bin" / "sslyze"
PATIENCE_SECONDS: Final = 900.0
"""testssl.sh takes more than a minute on an idle machine."""

_THROW_AWAY: Final = "the server certificate is a throw-away one of this run"
EXPLAINED: Final[Mapping[str, str]] = {
    # testssl.sh
    "cert_revocation": _THROW_AWAY,
    "cert_chain_of_trust": _THROW_AWAY,
    "cert_trust": _THROW_AWAY,
    "DNS_CAArecord": "localhost has none",
    "HSTS": "the port is for Meta's servers, and browsers have no business there",
    # sslyze, by Mozilla's "intermediate"
    "certificate_path_validation": _THROW_AWAY,
    "maximum_certificate_lifespan": _THROW_AWAY,
    "tls_curves": "P-521 and X448 are stronger than what Mozilla lists; without P-521, Meta could not use it",
}
"""What a scanner remarks -> why it stays so."""

_SEVERE: Final = ("LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL")

_ACCEPTED: Final = "accepted_cipher_suites"
_NO_SUITES: Final = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
_SSLYZE_FACTS: Final[Mapping[str, tuple[tuple[str, str, object], ...]]] = {
    "no compression": (("tls_compression", "supports_compression", False),),
    "no renegotiation by the client": (
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", False),
        ("session_renegotiation", "supports_secure_renegotiation", True),
    ),
    "no heartbleed": (("heartbleed", "is_vulnerable_to_heartbleed", False),),
    "no CCS injection": (("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", False),),
    "no early data": (("tls_1_3_early_data", "supports_early_data", False),),
    "no resumption": (
        ("session_resumption", "session_id_resumption_result", "NOT_SUPPORTED"),
        ("session_resumption", "tls_ticket_resumption_result", "NOT_SUPPORTED"),
    ),
    "no downgrade": (("tls_fallback_scsv", "supports_fallback_scsv", True),),
    "extended master secret": (("tls_extended_master_secret", "supports_ems_extension", True),),
}
"""What must be so -> where sslyze says it: scan command, field, value."""
_COMPLAINT: Final = re.compile(r"^ +\* (\w+): (.+)$", re.MULTILINE)


async def examine_tls(directory: Path) -> AsyncGenerator[Outcome, None]:
    """Let both look at a door of the default kind."""
    async with open_door(directory / "door", Ground(), DoorKind.ASK) as door:
        for outcome in [*await _sslyze(door, directory), *await _testssl(door, directory)]:
            yield outcome


async def _sslyze(door: Door, directory: Path) -> list[Outcome]:
    if not SSLYZE.exists():
        return [skipped(SECTION, "sslyze", f"{SSLYZE} is not installed")]
    told, scans = await _scan(door, directory, "--mozilla_config=intermediate")
    _, more = await _scan(door, directory, "--mozilla_config=disable", "--early_data", "--resum")
    scans |= more
    outcomes = []
    for protocol in _NO_SUITES:
        taken = scans[f"{protocol}_cipher_suites"][_ACCEPTED]
        outcomes.append(
            judged(SECTION, f"sslyze: no {protocol}", good=not taken, detail=f"{len(taken)} suites taken")
        )
    for protocol in ("tls_1_2", "tls_1_3"):
        names = [one["cipher_suite"]["name"] for one in scans[f"{protocol}_cipher_suites"][_ACCEPTED]]
        good = bool(names) and all("GCM" in name or "CHACHA20" in name for name in names)
        good = good and all(protocol == "tls_1_3" or "ECDHE" in name for name in names)
        outcomes.append(judged(SECTION, f"sslyze: {protocol} suites", good=good, detail=", ".join(names)))
    for name, facts in _SSLYZE_FACTS.items():
        found = {field: scans.get(scan, {}).get(field) for scan, field, _ in facts}
        good = all(found[field] == wanted for _, field, wanted in facts)
        detail = ", ".join(f"{field} {value}" for field, value in found.items())
        outcomes.append(judged(SECTION, f"sslyze: {name}", good=good, detail=detail))
    return outcomes + explain("sslyze", dict(_COMPLAINT.findall(told.split("COMPLIANCE AGAINST", 1)[-1])))


async def _scan(door: Door, directory: Path, *words: str) -> tuple[str, dict[str, Any]]:
    """Run sslyze; return what it says, and the results of the scans that it has made."""
    report = directory / "sslyze.json"
    told = await _run([str(SSLYZE), *words, f"--json_out={report}", f"localhost:{door.port}"])
    scans = json.loads(report.read_bytes())["server_scan_results"][0]["scan_result"]
    return told, {name: scan["result"] for name, scan in scans.items() if scan and scan["result"]}


async def _testssl(door: Door, directory: Path) -> list[Outcome]:
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if program is None:
        return [skipped(SECTION, "testssl.sh", "it is not installed")]
    report = directory / "testssl.json"
    argv = [program, "--quiet", "--color", "0", "--warnings", "batch", "--add-ca", str(door.ca)]
    await _run([*argv, "--ip", "one", "--jsonfile", str(report), f"localhost:{door.port}"])
    findings = json.loads(report.read_bytes())
    fine = [one for one in findings if one["severity"] == "OK"]
    severe = {
        one["id"]: f"{one['severity']}: {one['finding']}" for one in findings if one["severity"] in _SEVERE
    }
    not_seen = [one for one in findings if one["severity"] == "WARN"]
    return [
        judged(SECTION, "testssl.sh: finds things in order", good=bool(fine), detail=f"{len(fine)} of them"),
        *explain("testssl.sh", severe),
        *(skipped(SECTION, f"testssl.sh: {one['id']}", one["finding"]) for one in not_seen),
    ]


def explain(scanner: str, complaints: Mapping[str, str]) -> list[Outcome]:
    """What is explained passes, with the reason; the rest fails."""
    outcomes = [
        judged(
            SECTION,
            f"{scanner}: {name}",
            good=name in EXPLAINED,
            detail=f"{text} ({EXPLAINED.get(name, 'not explained')})",
        )
        for name, text in complaints.items()
    ]
    unexplained = sum(name not in EXPLAINED for name in complaints)
    return [
        *outcomes,
        judged(SECTION, f"{scanner}: nothing else", good=not unexplained, detail=f"{unexplained} complaints"),
    ]


async def _run(argv: list[str]) -> str:
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
    return done.stdout.decode(errors="replace")
