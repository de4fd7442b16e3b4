"""docs/moving-in.md, run as it is written. The shadow with a real nginx: `make recipes`."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import httpx
import pytest
import trustme

from gateway.simulator.client import ClosedWithoutAnswerError, MetaClient
from gateway.simulator.process import NO_TRUST
from tests.graph.stand_in import PHONE, TOKEN, StandIn, in_a_thread, write_ca
from tests.stories.recipes import GUIDE, ROOT, old_application, prepare, recorder, type_in
from tests.stories.rig import APP_SECRET, PAYLOADS, VERIFY_TOKEN, Rig, free_port, message, unique_id, until

RECIPES = ("1: in front", "2: one number", "3: a shadow")
CHALLENGE = {"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "1158201444"}


async def test_an_old_application_stays_as_it_is_behind_the_gateway(rig: Rig) -> None:
    with old_application() as (port, bodies):
        old_url = f"http://127.0.0.1:{port}/webhook"
        prepare(rig, "1: in front", old=port)
        async with rig.running(), rig.meta(certificate=False) as meta:
            answered = await meta.challenge(
                "/webhooks/main", verify_token=VERIFY_TOKEN, challenge="1158201444"
            )
            assert (answered.status, answered.body) == (200, b"1158201444")
            sent = [path.read_bytes() for path in sorted(PAYLOADS.glob("whatsapp*/messages.*.json"))]
            for body in sent:
                assert (await meta.post("/webhooks/main", body)).status == 200
            await until(lambda: len(bodies) >= len(sent))
            assert sorted(bodies) == sorted(sent), "byte for byte, and signed: it answers 401 otherwise"
            listed = json.loads((await rig.command("targets", "list", "--json")).stdout)
            assert {name: one["pending"] for name, one in listed["targets"].items()} == {"old": 0}
            # The way back: the old application's own verification goes on working.
            async with httpx.AsyncClient(verify=NO_TRUST, trust_env=False) as client:
                back = await client.get(old_url, params=CHALLENGE)
            assert (back.status_code, back.text) == (200, "1158201444")
        assert rig.dead_letters == []


async def test_one_phone_number_goes_first_and_nothing_else(rig: Rig) -> None:
    with old_application() as (port, bodies):
        prepare(rig, "2: one number", old=port)
        own = message(unique_id())
        another = message(unique_id()).replace(b"541870239965418", b"541870239965419")
        template = next(PAYLOADS.glob("whatsapp*/message_template_status_update*.json")).read_bytes()
        for name, body in (("own", own), ("another", another)):
            (rig.directory / name).write_bytes(body)
        explained = [
            (await rig.command("routes", "--payload", str(rig.directory / name))).stdout.decode()
            for name in ("own", "another")
        ]
        assert [re.findall(r"goes to: (\w+)", text) for text in explained] == [["old"], ["_unrouted"]]
        async with rig.running(), rig.meta(certificate=False) as meta:
            for body in (own, another, template):
                assert (await meta.post("/webhooks/pilot", body)).status == 200
            await until(lambda: len(rig.dead_letters) == 2)
            assert bodies == [own]
        assert {(letter["target"], letter["reason"]) for letter in rig.dead_letters} == {
            ("_unrouted", "unrouted")
        }


def test_overrides_are_set_and_taken_away_at_meta(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they can be verified at a running gateway is told in test_subscriptions.py."""
    ca = trustme.CA()
    prepare(rig, "2: one number", old=free_port())
    with in_a_thread(StandIn(ca)) as graph:
        with rig.config.open("a") as config:
            config.write(f"graph: {{base_url: {graph.base_url}}}\n")
        for name, value in {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GATEWAY_CONFIG": str(rig.config),
            "META_ACCESS_TOKEN": TOKEN,
            "SSL_CERT_FILE": str(write_ca(ca, tmp_path)),
            "PHONE_NUMBER_ID": PHONE,
        }.items():
            monkeypatch.setenv(name, value)
        assert "https://hooks.example.com/webhooks/pilot" in type_in(rig, holding="--override-url")
        assert graph.phones[PHONE][1] == "https://hooks.example.com/webhooks/pilot"
        (setting,) = (call.body for call in graph.calls if call.method == "POST")
        (sample,) = (PAYLOADS / "_graph_api").glob("phone_number.override.request.json")
        shape = json.loads(sample.read_text())["webhook_configuration"].keys()
        assert setting["webhook_configuration"].keys() == shape
        assert setting["webhook_configuration"]["verify_token"] == VERIFY_TOKEN
        type_in(rig, holding="unsubscribe --phone")
        assert graph.phones[PHONE][1] is None


async def test_a_shadow_sees_what_the_old_stack_sees_or_it_is_found_out(rig: Rig) -> None:
    """Without nginx, whose part is played: it shows a certificate of its own."""
    port, recorded = free_port(), rig.directory / "gateway.ids"
    prepare(rig, "3: a shadow", recorder=port)
    type_in(rig, holding="openssl req")
    certificate, key = (rig.directory / f"certs/nginx.{end}" for end in ("pem", "key"))
    seen = [unique_id() for _ in range(6)]
    async with recorder(port, recorded), rig.running():
        async with MetaClient(
            rig.public_url, secret=APP_SECRET, ca=rig.pki.server_ca, certificate=certificate, private_key=key
        ) as copies:
            for one in seen[1:]:
                assert (await copies.post("/webhooks/main", message(one))).status == 200
        async with rig.meta() as meta:
            with pytest.raises(ClosedWithoutAnswerError):  # Meta itself is nobody here
                await meta.post("/webhooks/main", message(unique_id()))
        await until(lambda: len(recorded.read_text().splitlines()) == 5)
    (rig.directory / "old.ids").write_text("".join(f"{one}\n" for one in (*seen[:5], seen[2])))
    assert type_in(rig, holding="comm -3").splitlines() == sorted([seen[0], f"\t{seen[5]}"], key=str.strip)


def test_the_recorder_names_messages_and_statuses_and_nothing_of_what_they_say() -> None:
    spec = importlib.util.spec_from_file_location("recorder", ROOT / "deploy/shadow/recorder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {
        one for path in PAYLOADS.glob("whatsapp*/*.json") for one in module.ids(json.loads(path.read_bytes()))
    }
    assert len(found) > 1000
    assert all(re.fullmatch(r"\S+( [A-Za-z_]+)?", one) for one in found), found


@pytest.mark.parametrize("recipe", RECIPES)
async def test_every_configuration_of_the_guide_is_sound(rig: Rig, recipe: str) -> None:
    prepare(rig, recipe)
    if recipe.startswith("3"):
        type_in(rig, holding="openssl req")
    done = await rig.command("check", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_recipe_says_how_to_go_back() -> None:
    recipes = re.split(r"^## (?=\d)", GUIDE.read_text(), flags=re.MULTILINE)[1:]
    assert len(recipes) == len(RECIPES)
    assert all("**How to go back.**" in recipe for recipe in recipes)
