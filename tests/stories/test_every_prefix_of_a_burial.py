"""A dead letter being written, cut off after each system call: by a kill, or by a power failure."""

import shutil
from functools import partial
from pathlib import Path

from gateway.core.routing import UNROUTED
from gateway.core.seal import unseal
from gateway.delivery.dead_letter_record import decode
from gateway.simulator.target import REFUSE
from tests.spool.rig import opened
from tests.stories.accounts import UNROUTED_FIELD, messages_alone
from tests.stories.recorded_calls import Disk, View, is_complete, needs_strace, put, read_calls, strace
from tests.stories.rig import Config, Rig, message, open_target, unique_id, until


@needs_strace
async def test_whatever_prefix_of_its_system_calls_is_done_a_dead_letter_is_whole_or_still_in_the_spool(
    rig: Rig,
) -> None:
    """`.json` is whole or not there; the delivery is in the spool until its letter is durable."""
    record = rig.directory / "calls"
    bodies = {
        "support": message(unique_id()),
        UNROUTED: message(unique_id(), field_name=UNROUTED_FIELD) + b" " * 20_000,
    }

    def kept_together(config: Config) -> None:
        messages_alone(config)
        config["spool"]["directory"] = "kept/spool"
        config["dead_letter"]["directory"] = "kept/dead"

    def are_written(count: int) -> bool:
        return len(rig.dead_letters) == count

    (rig.directory / "kept").mkdir()
    rig.wrapper, rig.seen = strace(record), rig.directory / "kept" / "dead"
    async with open_target(behaviour=REFUSE) as target:
        rig.write(targets={"support": target.url}, change=kept_together)
        async with rig.running():
            for number, body in enumerate(bodies.values(), start=1):
                assert (await rig.post(body)).status == 200
                await until(partial(are_written, number))
    await until(lambda: is_complete(record))
    examiner = Examiner(rig.directory / "replayed", bodies, rig.directory / "kept" / "seal.key")
    disk = Disk(rig.directory / "kept")
    for call in read_calls(record):
        if disk.do(call):
            for view in View:
                await examiner.look(disk, view, f"{call.name} {call.paths}")
    assert examiner.durable == examiner.buried == set(bodies)
    assert examiner.begun == set(bodies), "a letter was seen half written, under a name that nobody reads"


class Examiner:
    """Opens what would be left after each call."""

    def __init__(self, scratch: Path, bodies: dict[str, bytes], seal_key: Path) -> None:
        self._scratch = scratch
        self._bodies = bodies
        self._seal_key = seal_key.read_bytes()
        self._seen: dict[View, dict[str, bytes | None]] = {}
        self.durable: set[str] = set()
        """Targets whose delivery was on disk, come what may; Meta's 200 is later than that."""
        self.buried: set[str] = set()
        """Targets whose letter was on disk, come what may."""
        self.begun: set[str] = set()

    async def look(self, disk: Disk, view: View, after: str) -> None:
        """Hold what is left to the law."""
        files = disk.files(view)
        if self._seen.get(view) == files:
            return
        self._seen[view] = files
        where = f"after {after}: {view.value}"
        letters = self._letters(files, where)
        pending = await self._pending(files) if files.get("spool/0/spool.sqlite") is not None else set()
        if view is View.SYNCED:
            self.durable |= pending
            self.buried |= letters
        for name in self.durable:
            assert name in pending | letters, f"{where}: the delivery to {name} is gone"
            if name not in self.buried and view is View.SYNCED:
                assert name in pending, (
                    f"{where}: the delivery to {name} has left before its letter is durable"
                )

    def _letters(self, files: dict[str, bytes | None], where: str) -> set[str]:
        found: set[str] = set()
        for path, content in files.items():
            if not path.startswith("dead/") or content is None:
                continue
            if path.endswith(".tmp"):
                self.begun.add(path.split("/")[1])
            if not path.endswith(".json"):
                continue
            assert content, f"{where}: {path} is empty"
            letter = decode(content, name=where)
            assert letter.body == self._bodies[letter.target], where
            assert unseal(
                [self._seal_key], app="main", raw=letter.body, integrity=letter.integrity, accept_edited=False
            )
            found.add(letter.target)
        return found

    async def _pending(self, files: dict[str, bytes | None]) -> set[str]:
        put({path: content for path, content in files.items() if path.startswith("spool")}, self._scratch)
        async with opened(self._scratch / "spool") as spool:
            pending = set(spool.pending())
        shutil.rmtree(self._scratch)
        return pending
