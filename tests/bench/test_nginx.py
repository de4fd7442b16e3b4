"""The target's log, and the configurations."""

from pathlib import Path

from bench.nginx import Target, read_deliveries, read_ids, render


def test_a_merged_post_counts_as_the_notifications_that_it_holds() -> None:
    found = read_deliveries(["1000.100 -", "1000.300 7", "1000.200 ", "garbage"])
    assert (found.count, found.posts, found.last_at) == (9, 3, 1000.3)


def test_deliveries_add_up() -> None:
    found = read_deliveries(["5.0 2"]) + read_deliveries(["4.0 -"])
    assert (found.count, found.posts, found.last_at) == (3, 2, 5.0)


def test_ids_are_read_from_bodies_and_the_first_time_counts() -> None:
    times, first = read_ids(
        [
            '1.000  {"id":"wamid.HBgN000100000001"}',
            '2.000 2 [{"id":"wamid.HBgN000100000001"},{"id":"wamid.HBgN000100000002"}]',
        ]
    )
    assert times == {"000100000001": 2, "000100000002": 1}
    assert first == {"000100000001": 1.0, "000100000002": 2.0}


def test_a_line_that_is_still_being_written_is_read_later(tmp_path: Path) -> None:
    log = tmp_path / "log"
    target = Target(port=1, log=log)
    log.write_text("1.0 -\n2.0")
    assert target.news() == ["1.0 -"]
    log.write_text("1.0 -\n2.0 3\n")
    assert target.news() == ["2.0 3"]
    assert target.news() == []


def test_a_configuration_has_no_field_left_open(tmp_path: Path) -> None:
    text = render("  server { return 200; }", directory=tmp_path)
    assert text.count("{") == text.count("}")
    assert f"pid {tmp_path}/nginx.pid;" in text
