"""`gateway doctor` beside a real gateway: what a tired person reads at night."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from gateway.core.signature import sign
from gateway.errors import PeerError
from gateway.simulator.client import MetaClient
from gateway.simulator.pki import SERVER_AUTH, common_name, issue, make_pki, subject_name
from tests.stories.rig import APP_SECRET, PATH, Config, Rig, message, open_target, unique_id, until


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


async def test_under_report_it_says_whether_it_is_safe_to_require_and_who_was_refused(
    rig: Rig, tmp_path: Path
) -> None:
    def migrate(config: Config) -> None:
        config["apps"]["main"]["client_certificate"] = "report"

    stranger = make_pki(tmp_path / "stranger")
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=migrate)
        async with rig.running():
            for _ in range(3):
                assert (await rig.post(message(unique_id()))).status == 200
            code, found = await examine(rig)
            assert code == 0, found
            assert found["safe_to_require"][0]["what"] == (
                "main: safe to require: 0 of the last 3 notifications came without an accepted certificate"
            )
            assert found["anchor"][0]["facts"]["admitted"].endswith(" ago")
            async with MetaClient(
                rig.public_url,
                secret=APP_SECRET,
                ca=rig.pki.server_ca,
                certificate=stranger.client_certificate,
                private_key=stranger.client_key,
            ) as nobody:
                assert (await nobody.post(PATH, message(unique_id()))).status == 200
            _, found = await examine(rig)
    assert "safe_to_require" not in found
    assert "1 of the last 4 notifications" in found["not_safe_to_require"][0]["what"]
    (claim,) = found["meta_refused"]
    assert claim["level"] == "warning"
    assert "unknown_issuer" in claim["what"]
    assert "Meta-like" in claim["facts"]["issuer"]


async def test_a_staged_anchor_says_whom_it_would_admit(rig: Rig, tmp_path: Path) -> None:
    coming = make_pki(tmp_path / "coming")

    def stage(config: Config) -> None:
        config["tls"]["clients"]["meta"]["staged_anchors"] = [str(coming.meta_ca)]

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=stage)
        async with rig.running():
            async with MetaClient(
                rig.public_url,
                secret=APP_SECRET,
                ca=rig.pki.server_ca,
                certificate=coming.client_certificate,
                private_key=coming.client_key,
            ) as meta:
                with pytest.raises(PeerError):
                    await meta.post(PATH, message(unique_id()))
            code, found = await examine(rig)
    assert code == 1
    # Nobody else was ever admitted: by all appearances that was Meta.
    assert found["meta_refused"][0]["level"] == "problem"
    assert (
        "1 refused connection would be admitted by the staged anchor meta"
        in (found["staged_would_admit"][0]["what"])
    )
    assert [one["facts"].get("admits", "") for one in found["anchor"]] == ["", "nobody: it is staged"]


async def test_metas_own_requests_with_the_wrong_secret_are_an_alarm(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running(), rig.meta() as meta:
            body = message(unique_id())
            assert (await meta.post(PATH, body, signature=sign(b"rotated away", body))).status == 401
            code, found = await examine(rig)
    assert code == 1
    assert "answered 401, 1 time" in found["proved_client_refused"][0]["what"]
    assert "app_secrets" in found["proved_client_refused"][0]["remedy"]


async def test_a_refused_reload_is_told_with_the_place_of_the_mistake(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running() as gateway:
            good = rig.config.read_text()
            rig.config.write_text(good.replace('"timeout": "5s"', '"timeout": "soon"'))
            os.kill(gateway.pid, signal.SIGHUP)
            await until(lambda: "reload_refused" in rig.log or "reload_failed" in rig.log)
            broken = await rig.command("doctor", "--json", check=False)
            assert broken.returncode == 1, "the gateway was asked, with what it has loaded"
            assert "targets.support.timeout" in broken.stdout.decode()
            rig.config.write_text(good)
            code, found = await examine(rig)
    assert code == 1
    (refused,) = found["reload_failed"]
    assert "targets.support.timeout" in refused["why"]
    assert f"{rig.config}:" in refused["why"]
