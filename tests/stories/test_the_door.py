"""Who gets in, and how the others are told: the TLS door of a running gateway."""

import json
import resource
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio

from gateway.core.signature import sign
from gateway.errors import PeerError
from gateway.simulator.client import MetaClient
from gateway.simulator.pki import make_pki
from tests.stories.rig import APP_SECRET, PATH, VERIFY_TOKEN, Config, Rig, message, open_target, unique_id


def stranger(rig: Rig, directory: Path) -> MetaClient:
    """Return a client whose certificate is right in all but its issuer."""
    files = make_pki(directory)
    return MetaClient(
        rig.public_url,
        secret=APP_SECRET,
        ca=rig.pki.server_ca,
        certificate=files.client_certificate,
        private_key=files.client_key,
    )


async def test_meta_with_its_certificate_gets_200_and_a_client_without_one_403(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            assert (await rig.post(message(unique_id()))).status == 200
            async with rig.meta(certificate=False) as nobody:
                assert (await nobody.post(PATH, message(unique_id()))).status == 403
            with trio.fail_after(10):
                await target.wait_received(1)
        assert len(target.received) == 1


async def test_the_verification_get_is_answered_with_and_without_a_certificate(rig: Rig) -> None:
    rig.write(targets={"support": "http://127.0.0.1:9/"})
    async with rig.running():
        for certificate in (False, True):
            async with rig.meta(certificate=certificate) as meta:
                right = await meta.challenge(PATH, verify_token=VERIFY_TOKEN, challenge="1158201444")
            assert (right.status, right.body) == (200, b"1158201444")
            assert right.content_type.startswith("text/plain")
        async with rig.meta(certificate=False) as meta:
            wrong = await meta.challenge(PATH, verify_token="guessed", challenge="1158201444")
        assert wrong.status == 403
        assert b"1158201444" not in wrong.body


async def test_a_strangers_certificate_is_closed_upon_without_an_answer_and_named_in_the_log(
    rig: Rig, tmp_path: Path
) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            async with stranger(rig, tmp_path / "stranger") as nobody:
                with pytest.raises(PeerError):
                    await nobody.post(PATH, message(unique_id()))
            refused = 'meta_gateway_handshakes_total{reason="unknown_issuer",result="refused"}'
            assert await rig.metric(refused) == 1
            assert (await rig.post(message(unique_id()))).status == 200
        events = [json.loads(line) for line in rig.log.splitlines() if line.startswith("{")]
        refusals = [event for event in events if event["event"] == "handshake_refused"]
        assert [event["reason"] for event in refusals] == ["unknown_issuer"]
        assert {"address", "subject", "issuer", "serial"} <= refusals[0].keys()


async def test_under_report_a_stranger_is_let_in_by_its_signature_and_counted(
    rig: Rig, tmp_path: Path
) -> None:
    def migrate(config: Config) -> None:
        config["apps"]["main"]["client_certificate"] = "report"

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=migrate)
        async with rig.running():
            async with stranger(rig, tmp_path / "stranger") as nobody:
                assert (await nobody.post(PATH, message(unique_id()))).status == 200
            async with rig.meta(certificate=False) as nobody:
                assert (await nobody.post(PATH, message(unique_id()))).status == 200
            assert (await rig.post(message(unique_id()))).status == 200
            for presented in ("accepted", "refused", "none"):
                series = f'meta_gateway_client_certificates_total{{app="main",presented="{presented}"}}'
                assert await rig.metric(series) == 1, presented
            with trio.fail_after(10):
                await target.wait_received(3)


async def test_under_demand_a_client_without_certificate_is_turned_away(rig: Rig) -> None:
    def demand(config: Config) -> None:
        config["tls"]["handshake"] = "demand"

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=demand)
        async with rig.running():
            async with rig.meta(certificate=False) as nobody:
                with pytest.raises(PeerError):
                    await nobody.challenge(PATH, verify_token=VERIFY_TOKEN, challenge="1")
            assert (await rig.post(message(unique_id()))).status == 200


async def test_a_forged_signature_gets_401_even_with_metas_certificate(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        body = message(unique_id())
        async with rig.running(), rig.meta() as meta:
            for signature in (sign(b"another secret", body), "", sign(APP_SECRET, body).upper(), "sha256="):
                assert (await meta.post(PATH, body, signature=signature)).status == 401
        assert target.received == []
        assert rig.dead_letters == []


async def test_plain_http_and_garbage_on_the_tls_port_harm_nothing(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            for noise in (
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                b"\x00" * 600,
                b"\x16\x03\x01\xff\xff" + b"A" * 50,
                b"",
            ):
                stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
                async with stream:
                    if noise:
                        await stream.send_all(noise)
                    with (
                        trio.move_on_after(1),
                        suppress(trio.BrokenResourceError),
                    ):  # a reset is an answer too
                        answer = await stream.receive_some()
                        assert b"HTTP" not in answer
            assert (await rig.post(message(unique_id()))).status == 200


async def test_no_session_is_resumed(rig: Rig) -> None:
    rig.write(targets={"support": "http://127.0.0.1:9/"})
    context = ssl.create_default_context(cafile=rig.pki.server_ca)
    context.load_cert_chain(rig.pki.client_certificate, rig.pki.client_key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def handshake(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        import socket

        with (
            socket.create_connection(("127.0.0.1", rig.port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="localhost", session=session) as tls,
        ):
            return tls.session, tls.session_reused

    async with rig.running():
        session, _ = await trio.to_thread.run_sync(handshake, None)
        _, reused = await trio.to_thread.run_sync(handshake, session)
    assert reused is False


async def test_silent_strangers_by_the_hundred_do_not_shut_the_door(rig: Rig) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    rig.write(targets={"support": "http://127.0.0.1:9/"})
    # The gateway inherits a limit that is too small for them; this process keeps its own.
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        process = rig.running(ready=False)
        await process.__aenter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        async with AsyncExitStack() as strangers:
            for _ in range(300):
                await strangers.enter_async_context(await trio.open_tcp_stream("127.0.0.1", rig.port))
            with trio.fail_after(5):
                assert (await rig.post(message(unique_id()))).status == 200
    finally:
        await process.__aexit__(None, None, None)
    assert "accept_failed" not in rig.log
