"""From Meta's POST to the internal targets, and what becomes of what cannot be delivered."""

import base64
import json
from typing import Any

import pytest
import trio

from gateway.core.signature import sign
from gateway.simulator.target import ACCEPT, FAIL_FOR_EVER, FAIL_TWICE, REFUSE
from tests.stories.rig import (
    APP_SECRET,
    PATH,
    PAYLOADS,
    Config,
    Rig,
    message,
    message_id,
    open_target,
    unique_id,
    until,
)

SAMPLES = sorted(path for path in PAYLOADS.glob("*/*.json") if not path.parent.name.startswith("_"))


async def test_every_sample_goes_through_byte_by_byte_and_signed(rig: Rig) -> None:
    bodies = {path: path.read_bytes() for path in SAMPLES}
    assert len(bodies) > 100
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running(), rig.meta() as meta:
            for path, body in bodies.items():
                assert (await meta.post(PATH, body)).status == 200, path.name
            with trio.fail_after(30):
                await target.wait_received(len(bodies))
        assert {received.body for received in target.received} == set(bodies.values())
        assert all(received.signature_fits for received in target.received)
        assert rig.dead_letters == []


async def test_each_target_gets_its_own_changes_with_untouched_values(rig: Rig) -> None:
    body = (PAYLOADS / "whatsapp_business_account" / "batch.mixed_entries.json").read_bytes()
    body = body.replace(b"735190284461207", b"735190284461207 \\u00e4\\/")  # escapes must survive

    def by_field(config: Config) -> None:
        config["routes"] = [
            {"field": "messages", "to": ["support"]},
            {"field": ["account_*", "phone_number_*"], "to": ["accounts"]},
        ]

    async with open_target("support") as support, open_target("accounts") as accounts:
        rig.write(targets={"support": support.url, "accounts": accounts.url}, change=by_field)
        async with rig.running():
            assert (await rig.post(body)).status == 200
            with trio.fail_after(10):
                await support.wait_received(1)
                await accounts.wait_received(1)

    def fields(raw: bytes) -> list[str]:
        return [change["field"] for entry in json.loads(raw)["entry"] for change in entry["changes"]]

    assert set(fields(support.received[0].body)) == {"messages"}
    assert "messages" not in fields(accounts.received[0].body)
    assert sorted(fields(support.received[0].body) + fields(accounts.received[0].body)) == sorted(
        fields(body)
    )
    assert b"\\u00e4\\/" in support.received[0].body
    for received in (support.received[0], accounts.received[0]):
        assert received.signature_fits
        assert received.headers["content-type"] == "application/json"
        assert received.headers["gateway-app"] == "main"
        assert received.headers["gateway-attempt"] == "1"
        assert "x-hub-signature" not in received.headers
    assert support.received[0].key != accounts.received[0].key


async def test_a_target_that_fails_twice_gets_the_third_attempt_under_the_same_key(rig: Rig) -> None:
    async with open_target(behaviour=FAIL_TWICE) as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            assert (await rig.post(message(unique_id()))).status == 200
            with trio.fail_after(15):
                await target.wait_received(3)
        assert [received.status for received in target.received] == [503, 503, 200]
        assert [received.attempt for received in target.received] == [1, 2, 3]
        assert len({received.key for received in target.received}) == 1
        assert rig.dead_letters == []


async def wait_dead_letters(rig: Rig, count: int) -> list[dict[str, Any]]:
    """Return the dead letters when there are so many."""
    await until(lambda: len(rig.dead_letters) >= count)
    return rig.dead_letters


async def test_a_refused_delivery_is_a_dead_letter_at_once_and_replays_under_its_old_key(rig: Rig) -> None:
    async with open_target(behaviour=REFUSE) as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            body = message(unique_id())
            assert (await rig.post(body)).status == 200
            (letter,) = await wait_dead_letters(rig, 1)
            assert letter["schema"] == 1
            assert letter["reason"] == "refused"
            assert letter["target"] == "support"
            assert letter["fields"] == ["messages"]
            assert letter["body"].encode() == body
            assert [attempt["status"] for attempt in letter["attempts"]] == [422]
            target.behaviour = ACCEPT
            listed = json.loads((await rig.command("dead-letters", "list", "--json")).stdout)
            assert [row["id"] for row in listed] == [letter["id"]]
            await rig.command("dead-letters", "replay", letter["id"])
            with trio.fail_after(10):
                await target.wait_received(2)
            assert target.received[1].body == body
            assert target.received[1].key == target.received[0].key
            assert rig.dead_letters == []


async def test_dead_letters_replay_without_a_running_gateway_and_leave_with_its_next_start(rig: Rig) -> None:
    async with open_target(behaviour=REFUSE) as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            assert (await rig.post(message(unique_id()))).status == 200
            await wait_dead_letters(rig, 1)
        target.behaviour = ACCEPT
        await rig.command("dead-letters", "replay", "--all")
        assert rig.dead_letters == []
        assert len(target.received) == 1
        async with rig.running():
            with trio.fail_after(10):
                await target.wait_received(2)
        assert target.received[1].status == 200


async def test_a_delivery_that_fails_for_ever_is_given_up_and_its_attempts_are_on_record(rig: Rig) -> None:
    def impatient(config: Config) -> None:
        config["targets"]["support"]["retry"] = {"schedule": ["200ms"], "give_up_after": "1s"}

    async with open_target(behaviour=FAIL_FOR_EVER) as target:
        rig.write(targets={"support": target.url}, change=impatient)
        async with rig.running():
            assert (await rig.post(message(unique_id()))).status == 200
            (letter,) = await wait_dead_letters(rig, 1)
        assert letter["reason"] == "gave_up"
        assert len(letter["attempts"]) == len(target.received) >= 3
        assert {attempt["status"] for attempt in letter["attempts"]} == {500}


async def test_one_dead_target_delays_no_other(rig: Rig) -> None:
    async with open_target("alive") as alive:
        rig.write(targets={"dead": "http://127.0.0.1:9/", "alive": alive.url})
        wanted = {unique_id() for _ in range(50)}
        async with rig.running(), rig.meta() as meta:
            for identity in wanted:
                assert (await meta.post(PATH, message(identity))).status == 200
            with trio.fail_after(10):
                await alive.wait_received(len(wanted))
        assert {message_id(received.body) for received in alive.received} == wanted


BAD_INPUT = {
    "nested 10 000 deep": b'{"object":"x","entry":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "3 MiB": b'{"object":"page","entry":[{"id":"1","changes":[{"field":"feed","value":"'
    + b"a" * (3 * 1024**2 - 200)
    + b'"}]}]}',
    "NUL and invalid UTF-8": b'{"object":"page","entry":[{"id":"1","changes":'
    b'[{"field":"feed","value":"\x00\xff\xfe"}]}]}',
    "not JSON": b"<xml/>",
    "empty": b"",
    "empty entry": b'{"object":"page","entry":[]}',
    "duplicate keys": b'{"object":"page","object":"user","entry":[],"entry":[{"id":"1","id":"2","changes":'
    b'[{"field":"a","field":"b","value":1,"value":2}]}]}',
    "odd shapes": b'{"object":7,"entry":[3,null,{"changes":{"field":1}},{"changes":[null,5,{"value":1}]}]}',
    "a number": b"5",
    "null": b"null",
}


async def test_bad_input_goes_through_or_becomes_a_dead_letter_and_ends_nothing(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running(), rig.meta() as meta:
            for name, body in BAD_INPUT.items():
                assert (await meta.post(PATH, body)).status == 200, name
            await until(lambda: len(target.received) + len(rig.dead_letters) >= len(BAD_INPUT))
            assert (await meta.post(PATH, message(unique_id()))).status == 200
        letters = rig.dead_letters
        bodies = {received.body for received in target.received}
        for letter in letters:
            assert letter["target"] == "_unrouted"
            assert letter["reason"] in {"unrouted", "unparseable"}
            bodies.add(
                base64.b64decode(letter["body_base64"])
                if "body_base64" in letter
                else letter["body"].encode()
            )
        assert set(BAD_INPUT.values()) <= bodies


async def test_nothing_secret_is_in_the_log_the_metrics_or_the_dead_letters(rig: Rig) -> None:
    def with_header(config: Config) -> None:
        (rig.directory / "secrets").mkdir(exist_ok=True)
        (rig.directory / "secrets" / "bearer").write_text("Bearer canary-of-the-target\n")
        config["targets"]["support"]["headers"] = {"Authorization": {"file": "secrets/bearer"}}
        config["log"]["level"] = "debug"

    async with open_target(behaviour=REFUSE) as target:
        rig.write(targets={"support": target.url}, change=with_header)
        async with rig.running():
            async with rig.meta() as meta:
                body = message(unique_id()).replace(
                    b'"type": "text"', b'"type": "text", "text": {"body": "canary-text"}'
                )
                assert (await meta.post(PATH, body)).status == 200
                assert (await meta.post(PATH, body, signature=sign(b"other", body))).status == 401
                await meta.challenge(PATH, verify_token="story-verify-token-77", challenge="1")
                await meta.challenge(PATH, verify_token="wrong-guess-canary", challenge="1")
            (letter,) = await wait_dead_letters(rig, 1)
            metrics = (await rig.admin_get("/metrics")).text
        assert target.received[0].headers["authorization"] == "Bearer canary-of-the-target"
        assert "canary-of-the-target" not in json.dumps(letter)
        shown = rig.log + metrics
        for canary in (
            APP_SECRET.decode(),
            "story-verify-token-77",
            "canary",
            "4915560017342",
            "4930901820143",
        ):
            assert canary not in shown, canary


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
async def test_an_early_refusal_of_a_big_body_is_heard_and_good_requests_go_on(rig: Rig, http2: bool) -> None:
    def small(config: Config) -> None:
        config["listen"]["max_body"] = "64KiB"

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=small)
        async with rig.running():
            for _ in range(10):
                async with rig.meta(http2=http2) as meta:
                    assert (await meta.post(PATH, b"x" * 3 * 1024**2)).status == 413
                    assert (await meta.post("/nowhere", b"x" * 3 * 1024**2)).status == 404
                    exchange = await meta.post(PATH, message(unique_id()))
                    assert exchange.status == 200
                    assert exchange.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


async def test_a_spool_without_room_answers_503_and_is_not_ready(rig: Rig) -> None:
    def greedy(config: Config) -> None:
        config["spool"]["min_free"] = "1000000GiB"

    rig.write(targets={"support": "http://127.0.0.1:9/"}, change=greedy)
    async with rig.running(ready=False), rig.meta() as meta:
        assert (await meta.post(PATH, message(unique_id()))).status == 503
        ready = await rig.admin_get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["free_space"]["ok"] is False
        assert ready.json()["listener"]["ok"] is True
