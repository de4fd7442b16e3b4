"""An operator asks what is the matter, and where a message is: Meta falls silent, a target fails for good."""

import json
import time

from gateway.simulator.target import Behaviour
from tests.stories.faults import Faults
from tests.stories.rig import Rig, message, open_target, unique_id, until

HOUR_MS = 3_600_000
WEEKS = 3


def busy_weeks(rig: Rig) -> None:
    """Leave behind what a former life has heard: a message every second, around the clock, for weeks."""
    now_ms = round(time.time() * 1000)
    hour = now_ms // HOUR_MS
    first = hour - WEEKS * 168
    track = {
        "app": "main",
        "object": "whatsapp_business_account",
        "field": "messages",
        "first_ms": first * HOUR_MS,
        "last_ms": now_ms - 1000,
        "received": WEEKS * 168 * 3600,
        "usual_ms": 1000.0,
        "longest_ms": 60_000,
        "hours": {str(one): 3600 for one in range(first, hour + 1)},
    }
    state = rig.directory / "state"
    state.mkdir()
    file = state / "gap-ledger.json"
    file.write_text(json.dumps({"slots": [], "tracks": [track]}))
    file.chmod(0o600)


async def test_meta_falls_silent_and_speaks_again(rig: Rig, faults: Faults) -> None:
    busy_weeks(rig)
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            assert (await rig.post(message(unique_id()))).status == 200
            ledger = (await rig.admin_get("/api/ledger")).json()
            assert ledger["conditions"] == []
            assert ledger["fields"][0]["silence"]["judgement"] == "usual"

            faults.step_clock(1200)  # twenty minutes without a word
            [silent] = (await rig.admin_get("/api/ledger")).json()["conditions"]
            assert (silent["condition"], silent["app"], silent["field"]) == (
                "meta_silent",
                "main",
                "messages",
            )
            assert any(text.startswith("gateway doctor") for text in silent["next_steps"])
            assert await rig.metric('meta_gateway_condition{condition="meta_silent"}') == 1
            shown = (await rig.command("status")).stdout.decode()
            assert "condition\tmeta_silent\t" in shown

            assert (await rig.post(message(unique_id()))).status == 200
            assert (await rig.admin_get("/api/ledger")).json()["conditions"] == []
            assert await rig.metric('meta_gateway_condition{condition="meta_silent"}') == 0
    events = [json.loads(line)["event"] for line in rig.log.splitlines() if line.startswith("{")]
    assert (events.count("condition_began"), events.count("condition_ended")) == (1, 1)


async def test_a_message_is_followed_through_retries_into_its_dead_letter(rig: Rig) -> None:
    wamid = unique_id()
    async with open_target(behaviour=Behaviour(status=503)) as target:
        rig.write(
            targets={"support": target.url},
            change=lambda config: config["targets"]["support"].update(breaker={"failures": 1000}),
        )
        async with rig.running():
            assert (await rig.post(message(wamid))).status == 200
            await until(lambda: len(target.received) >= 2)
            [waiting] = json.loads((await rig.command("trace", wamid, "--json")).stdout)["notifications"]
            [delivery] = waiting["deliveries"]
            assert waiting["client_certificate"] == "accepted"
            assert delivery["state"] in {"waiting", "under_way"}
            assert delivery["attempts"][0]["status"] == 503

            target.behaviour = Behaviour(status=422)
            await until(lambda: len(rig.dead_letters) == 1)
            told = (await rig.command("trace", waiting["notification"])).stdout.decode()
            [file] = rig.dead_letter_directory.rglob("*.json")
            assert str(file) in told
            assert "dead_letter        refused at " in told
            assert "answered 503" in told
            assert "answered 422" in told
        alone = await rig.command("trace", wamid)
        assert str(file) in alone.stdout.decode()
        assert b"no gateway runs" in alone.stderr
        missed = await rig.command("trace", unique_id(), check=False)
        assert missed.returncode == 1
        assert b"not in the spool" in missed.stdout
