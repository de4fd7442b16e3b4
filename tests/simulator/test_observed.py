"""What a bystander reads of a running gateway."""

import base64
import json
from pathlib import Path

from gateway.simulator.observed import parse_metrics, read_dead_letters
from gateway.telemetry.metrics import Metrics


def test_metrics_are_read_as_the_gateway_writes_them() -> None:
    metrics = Metrics()
    metrics.requests_total.labels("main", "200").inc(3)
    metrics.handshakes_total.labels("refused", "unknown_issuer").inc()
    metrics.spool_bytes.set(1.5e6)
    metrics.dead_letters.labels("pager").set(2)
    found = parse_metrics(metrics.render().decode())
    assert found['requests_total{app="main",status="200"}'] == 3
    assert found['handshakes_total{reason="unknown_issuer",result="refused"}'] == 1
    assert found["spool_bytes"] == 1.5e6
    assert found['dead_letters{target="pager"}'] == 2
    assert 'requests_total{app="main",status="401"}' not in found


def test_labels_are_put_in_order() -> None:
    assert parse_metrics('a_total{z="1",b="x,\\"y"} 2\n# HELP a_total b{c="d"} 1\nplain 3 1700000\n') == {
        'a_total{b="x,\\"y",z="1"}': 2,
        "plain": 3,
    }


def write(directory: Path, name: str, content: bytes) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def test_dead_letters_are_found_with_path_mode_and_content(tmp_path: Path) -> None:
    write(tmp_path, "pager/2026-11-22/09/a-pager.json", json.dumps({"id": "a-pager", "body": "{}"}).encode())
    encoded = base64.b64encode(b"\x00\xff").decode()
    write(tmp_path, "_unrouted/2026-11-22/10/b-_unrouted.json", json.dumps({"body_base64": encoded}).encode())
    write(tmp_path, "_unrouted/2026-11-22/10/.b.tmp", b"half")
    first, second = read_dead_letters(tmp_path)
    assert first.path == "_unrouted/2026-11-22/10/b-_unrouted.json"
    assert first.body == b"\x00\xff"
    assert first.mode == 0o600
    assert second.content["id"] == "a-pager"
    assert second.body == b"{}"


def test_a_file_that_is_not_json_is_told_and_not_raised(tmp_path: Path) -> None:
    write(tmp_path, "pager/2026-11-22/09/a-pager.json", b"{half")
    (letter,) = read_dead_letters(tmp_path)
    assert letter.content["reason"].startswith("not JSON")


def test_no_directory_has_no_dead_letters(tmp_path: Path) -> None:
    assert read_dead_letters(tmp_path / "nowhere") == ()
