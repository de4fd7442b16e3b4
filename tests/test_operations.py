"""What an operator sees of a gateway whose spool does not answer."""

import time
from pathlib import Path

import pytest

from gateway import operations
from gateway.core.routing import RoutingTable
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.replay import Known
from gateway.errors import SpoolUnavailableError
from gateway.operations import Operations
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.metrics import Metrics
from tests.cli.dead_letters.test_commands import NoTargets
from tests.postgresql.proxy import proxy
from tests.postgresql.rig import Database, opened
from tests.spool.rig import NOW_MS


async def test_while_the_database_hangs_the_status_is_an_error_in_time(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = RoutingTable(routes=(), payload_original=frozenset(), drop_unrouted=False)
    known = Known(apps=frozenset(), targets=frozenset({"support"}), table=table)
    async with proxy(database.server.port) as between, opened(database, dsn=between.dsn) as spool:
        alone = Operations(
            control=NoTargets(),
            known=lambda: known,
            spool=spool,
            dead_letters=DeadLetterStore(tmp_path / "dead", bytes(32)),
            audit=AuditLog(tmp_path / "audit.log"),
            now_ms=lambda: NOW_MS,
            metrics=Metrics(),
        )
        await alone.status()
        monkeypatch.setattr(operations, "LOOK_SECONDS", 0.2)
        between.hang()
        began = time.monotonic()
        with pytest.raises(SpoolUnavailableError, match=r"not answered within 0\.2 s"):
            await alone.status()
        assert time.monotonic() - began < 5
        between.go()
        monkeypatch.setattr(operations, "LOOK_SECONDS", 20.0)
        await alone.status()
