"""`gateway doctor` beside a real gateway: what a tired person reads at night."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.x509.oid import NameOID

from gateway.simulator.pki import SERVER_AUTH, common_name, issue, make_pki, subject_name
from tests.stories.rig import Config, Rig, message, open_target, unique_id


async def examine(rig: Rig, *arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Run the doctor; return its exit code, and its findings by code."""
    done = await rig.command("doctor", "--json", *arguments, check=False)
    assert b"Traceback" not in done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["code"], []).append(finding)
    return done.returncode, found


async def test_a_gateway_that_is_well_gets_no_complaint_and_nothing_is_sent(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running() as gateway:
            code, found = await examine(rig)
            (outside,) = found["outside"]
            spool = found["spool"][0]["facts"]
        assert target.received == []
    assert code == 0, found
    assert {"ready", "server_certificate", "anchor", "target", "spool", "fsync"} <= found.keys()
    assert "TLSv1.3" in outside["what"]
    assert outside["facts"]["without certificate"] == "may verify the callback; a POST gets 403"
    assert spool["held by"] == f"process {gateway.pid}"
    assert found["anchor"][0]["facts"]["SHA-256"]


async def test_a_dead_target_is_a_problem_by_its_name(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url, "analytics": "http://127.0.0.1:9/"})
        async with rig.running():
            code, found = await examine(rig)
    assert code == 1
    (dead,) = found["target_unreachable"]
    assert dead["what"].startswith("analytics cannot be reached: 127.0.0.1:9: connection refused")
    assert [one["what"].partition(":")[0] for one in found["target"]] == ["support"]


async def test_an_expiring_certificate_is_told_before_it_has_expired(rig: Rig, tmp_path: Path) -> None:
    def serve(config: Config) -> None:
        config["tls"] |= {"certificate": str(tmp_path / "server.pem"), "private_key": str(tmp_path / "key")}

    now = datetime.now(UTC)
    own = issue(
        common_name("localhost"),
        issuer=None,
        names=("localhost",),
        extended_key_usage=(SERVER_AUTH,),
        not_before=now - timedelta(days=80),
        not_after=now + timedelta(days=9, hours=1),
    )
    (tmp_path / "server.pem").write_bytes(own.pem)
    (tmp_path / "key").write_bytes(own.key_pem)
    (tmp_path / "key").chmod(0o600)
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=serve)
        async with rig.running():
            _, found = await examine(rig)
    (certificate,) = found["server_certificate"]
    assert certificate["level"] == "warning"
    assert "9 days left" in certificate["what"]
    # And it is no public CA's: Meta would refuse it.
    assert found["outside_chain"][0]["level"] == "problem"


async def test_anchors_of_digicert_alone_are_told_as_what_locks_meta_out(rig: Rig, tmp_path: Path) -> None:
    name = subject_name(
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.ORGANIZATION_NAME, "DigiCert Inc"),
        (NameOID.COMMON_NAME, "DigiCert High Assurance EV Root CA"),
    )
    (tmp_path / "old.pem").write_bytes(issue(name, issuer=None, ca=True).pem)

    def trust(config: Config) -> None:
        config["tls"]["clients"]["meta"]["trust_anchors"] = [str(tmp_path / "old.pem")]

    rig.write(targets={"support": "http://127.0.0.1:9/"}, change=trust)
    code, found = await examine(rig, "--offline")
    assert code == 1
    (advice,) = found["anchors_digicert_only"]
    assert "2026-03-31" in advice["why"]
    assert found["gateway_not_running"]


async def test_a_certificate_that_was_changed_on_disk_since_is_not_what_is_shown(
    rig: Rig, tmp_path: Path
) -> None:
    own = make_pki(tmp_path / "own")

    def serve(config: Config) -> None:
        config["tls"] |= {
            "certificate": str(own.server_certificate),
            "private_key": str(tmp_path / "elsewhere.key"),
        }

    (tmp_path / "elsewhere.key").write_bytes(own.server_key.read_bytes())
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=serve)
        async with rig.running():
            # The certificate alone: there is nothing to reload as long as its key has not come.
            fresh = make_pki(tmp_path / "fresh")
            own.server_certificate.write_bytes(fresh.server_certificate.read_bytes())
            _, found = await examine(rig)
            assert (await rig.admin_get("/readyz")).status_code == 200
    assert found["outside_another_certificate"][0]["level"] == "warning"


async def test_the_name_of_the_public_url_is_looked_at_over_each_of_its_addresses(rig: Rig) -> None:
    def announce(config: Config) -> None:
        config["listen"]["public_url"] = f"https://localhost:{rig.port}"

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=announce)
        async with rig.running():
            assert (await rig.post(message(unique_id()))).status == 200
            _, found = await examine(rig)
    where = [one["what"].split(": ")[0] for one in found["outside"]]
    assert f"own port 127.0.0.1:{rig.port}" in where
    assert f"public address 127.0.0.1:{rig.port}" in where
    assert "server_name" not in found
    assert "localhost" in found["name"][0]["what"]
