"""A look through bodies goes slice by slice, however many and however large they are."""

from pathlib import Path

import pytest

from gateway.spool import slices
from tests.spool.rig import note, opened


@pytest.mark.parametrize(("bodies", "size_bytes"), [(7, 10), (7, 300), (3, 5000)])
async def test_slices_together_see_every_body_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bodies: int, size_bytes: int
) -> None:
    monkeypatch.setattr(slices, "SLICE_BODIES", 3)
    monkeypatch.setattr(slices, "SLICE_BYTES", 700)
    async with opened(tmp_path) as spool:
        stored = [note(b"%d wamid.A" % number + b"." * size_bytes) for number in range(bodies)]
        for one in stored:
            await spool.append(one)
        found: list[str] = []
        looked, before, pages = 0, None, 0
        while pages < 20:
            page = await spool.mentions((b"wamid.A",), before=before)
            found += page.notifications
            looked, before, pages = looked + page.bodies, page.before, pages + 1
            assert page.bodies <= 3
            assert page.bodies * size_bytes <= 700 or page.bodies == 1
            if before is None:
                break
        assert (found, looked) == ([one.id for one in reversed(stored)], bodies)
