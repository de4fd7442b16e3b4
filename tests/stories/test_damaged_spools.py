"""A spool that is damaged as a whole is told clearly, and not a byte of it touched; one notification that is
damaged is set aside."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import trio

from gateway.simulator.target import ACCEPT, FAIL_FOR_EVER
from tests.stories.accounts import Books
from tests.stories.rig import Config, Rig, message, open_target, unique_id, until

PAGE = 4096

Damage = Callable[[bytes], bytes]

DAMAGES: dict[str, Damage] = {
    "cut to half": lambda content: content[: len(content) // 2],
    "cut to nothing": lambda content: b"",
    "zeros in the middle": lambda content: (
        content[: 2 * PAGE] + bytes(len(content) - 3 * PAGE) + content[-PAGE:]
    ),
}


def probed(config: Config) -> None:
    config["targets"]["support"]["breaker"] = {"probe_every": "200ms"}


async def refuses_to_start(rig: Rig) -> str:
    """Start it, and return what it says on its way out."""
    with trio.fail_after(30):
        outcome = await rig.command("run", check=False)
    said = outcome.stderr.decode()
    assert outcome.returncode == 1, said
    assert "Traceback" not in said
    return said


async def test_a_spool_file_that_is_cut_or_overwritten_is_told_with_a_remedy_and_nothing_in_it_is_touched(
    rig: Rig,
) -> None:
    books = Books()
    async with open_target(behaviour=FAIL_FOR_EVER) as target:
        rig.write(targets={"support": target.url}, change=probed)
        async with rig.running():
            await books.post(rig, 20, padding=3000)
        file = spool_file(rig)
        sound = file.read_bytes()
        for name, damage in DAMAGES.items():
            damaged = damage(sound)
            file.write_bytes(damaged)
            said = await refuses_to_start(rig)
            assert str(file) in said, (name, said)
            assert "set it aside" in said, (name, said)
            assert file.read_bytes() == damaged, name
        file.write_bytes(sound)
        target.behaviour = ACCEPT
        async with rig.running():
            await books.balance(rig, target)
    assert len(books.acknowledged) == 20


async def test_a_spool_file_that_is_missing_beside_its_log_is_no_fresh_start(rig: Rig) -> None:
    books = Books()
    async with open_target(behaviour=FAIL_FOR_EVER) as target:
        rig.write(targets={"support": target.url}, change=probed)
        async with rig.running() as gateway:
            await books.post(rig, 5)
            os.kill(gateway.pid, signal.SIGKILL)
            await gateway.wait()
        file = spool_file(rig)
        aside = file.rename(file.with_name("aside"))
        log = file.with_name(file.name + "-wal").read_bytes()
        said = await refuses_to_start(rig)
        assert "it is missing" in said
        assert file.with_name(file.name + "-wal").read_bytes() == log
        assert not file.exists()
        aside.rename(file)
        target.behaviour = ACCEPT
        async with rig.running():
            await books.balance(rig, target)


async def test_one_flipped_bit_costs_one_notification_which_is_set_aside_for_people(rig: Rig) -> None:
    books = Books()
    async with open_target(behaviour=FAIL_FOR_EVER) as target:
        rig.write(targets={"support": target.url}, change=probed)
        async with rig.running():
            await books.post(rig, 5)
            victim = unique_id()
            await rig.post(message(victim))
            await books.post(rig, 5)
        file = spool_file(rig)
        sound, changed = file.read_bytes(), victim[:-1] + chr(ord(victim[-1]) ^ 1)
        assert victim.encode() in sound  # and perhaps in pages that are free now
        file.write_bytes(sound.replace(victim.encode(), changed.encode()))
        target.behaviour = ACCEPT
        async with rig.running():
            await books.balance(rig, target)
            await until(lambda: len(rig.dead_letters) == 1)
            assert await rig.metric('meta_gateway_dead_letters_total{reason="damaged",target="support"}') == 1
            [letter] = rig.dead_letters
            assert letter["reason"] == "damaged"
            assert letter["body"].encode() == message(changed)
            assert "delivery_damaged" in rig.log
            replayed = await rig.command("dead-letters", "replay", letter["id"], check=False)
            assert replayed.returncode == 1, "nothing vouches for these bytes"
            await books.post(rig, 5)
            await books.balance(rig, target)
    assert not books.arrived(target).keys() & {victim, changed}


def spool_file(rig: Rig) -> Path:
    """Return the main file of the spool."""
    return rig.spool_directory / "0" / "spool.sqlite"
