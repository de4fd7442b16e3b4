"""slowhttptest at the door, and Meta beside it: the slow are borne, and Meta is answered all the while."""

import re
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import httpx
import trio

from conformance.clients import write_chain
from conformance.door import CALLBACK_PATH, Door, notification, open_door
from conformance.outcome import Outcome, judged, skipped
from conformance.specimen import DoorKind, Ground
from gateway.errors import GatewayError
from gateway.simulator.client import MetaClient

SECTION: Final = "slow"
CONNECTIONS: Final = 400
SECONDS: Final = 20
"""Longer than the deadlines for a handshake and a head, so that the slow are seen to go."""
PAUSE_SECONDS: Final = 0.25
"""Between two notifications of Meta's."""
LEFT_AT_MOST: Final = 0.1
"""Share of the slow connections that the gateway may still hold at the end."""
AT_ONCE_SECONDS: Final = 2.0
"""What is accepted for a new connection and one notification, on a machine that is busy with the slow."""
PATIENCE_SECONDS: Final = SECONDS + 60.0

WAYS: Final = {
    "heads in crumbs": ("-H", "-i", "2"),
    "bodies in crumbs": ("-B", "-i", "2", "-s", "65536", "-t", "POST"),
    "answers taken in crumbs": ("-X", "-w", "1", "-y", "2", "-n", "5", "-z", "1", "-k", "3"),
}
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_AVAILABLE: Final = re.compile(r"service available:\s+(\w+)")


async def examine_slowness(directory: Path) -> AsyncGenerator[Outcome, None]:
    """Try each way of being slow at a door of the default kind."""
    if shutil.which("slowhttptest") is None:
        yield skipped(SECTION, "slowhttptest", "it is not installed")
        return
    ground = Ground()
    async with open_door(directory / "door", ground, DoorKind.ASK) as door:
        chain, key = write_chain(directory, ground.leaf())
        for name, words in WAYS.items():
            meta = _Meta(door, chain, key)
            told = ""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(meta.post_on_and_on)
                told = await _be_slow(door, words)
                nursery.cancel_scope.cancel()
            good = "NO" not in _AVAILABLE.findall(told) and meta.slowest_seconds < AT_ONCE_SECONDS
            good = good and not meta.faults and meta.slow_ones_left < CONNECTIONS * LEFT_AT_MOST
            yield judged(
                SECTION,
                f"{CONNECTIONS} connections, {name}",
                good=good and meta.answered > 0,
                detail=f"meanwhile Meta had {meta.answered} notifications taken, the slowest in "
                f"{meta.slowest_seconds * 1000:.0f} ms; {meta.slow_ones_left} of the slow were left"
                + "".join(f"; {fault}" for fault in meta.faults[:3]),
            )


async def _be_slow(door: Door, words: tuple[str, ...]) -> str:
    url = f"https://localhost:{door.port}{CALLBACK_PATH}"
    argv = ["slowhttptest", "-c", str(CONNECTIONS), "-r", "100", "-l", str(SECONDS), "-p", "3", "-u", url]
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process([*argv, *words], capture_stdout=True, capture_stderr=True, check=False)
    return _COLOUR.sub("", (done.stdout + done.stderr).decode(errors="replace"))


class _Meta:
    """Posts over a new connection each time, and takes note."""

    def __init__(self, door: Door, chain: Path | None, key: Path | None) -> None:
        self._door, self._chain, self._key = door, chain, key
        self.answered = 0
        self.slowest_seconds = 0.0
        self.faults: list[str] = []
        self._before = self._descriptors()
        self.slow_ones_left = 0

    def _descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self._door.pid}/fd").iterdir())

    async def post_on_and_on(self) -> None:
        """Post until cancelled."""
        while True:
            began = trio.current_time()
            try:
                async with MetaClient(
                    f"https://localhost:{self._door.port}",
                    secret=self._door.secret,
                    ca=self._door.ca,
                    certificate=self._chain,
                    private_key=self._key,
                ) as meta:
                    status = (await meta.post(CALLBACK_PATH, notification())).status
            except GatewayError as error:
                self.faults.append(str(error))
            else:
                self.slowest_seconds = max(self.slowest_seconds, trio.current_time() - began)
                if status == httpx.codes.OK:
                    self.answered += 1
                else:
                    self.faults.append(f"status {status}")
            self.slow_ones_left = self._descriptors() - self._before
            await trio.sleep(PAUSE_SECONDS)
