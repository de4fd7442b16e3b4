"""Files of ids."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.graph.accounts import IdFile, is_id, read_ids, write_remaining


def test_comments_blank_lines_and_repeats_are_passed_over() -> None:
    text = "\ufeff# ours\n\n735190284461207\n  0123  # leading zero\r\n735190284461207\n#\n"
    assert read_ids(text) == IdFile(ids=("735190284461207", "0123"), problems=(), repeated=1)


def test_every_bad_line_is_named() -> None:
    found = read_ids("1\n+49 30\n\n12a # x\n\u0661\u0662\n" + "9" * 100 + "\n")
    assert found.ids == ("1",)
    assert [problem.partition(":")[0] for problem in found.problems] == [
        "line 2",
        "line 4",
        "line 5",
        "line 6",
    ]
    assert found.problems[0] == "line 2: '+49 30' is no id: ids are digits alone"
    assert len(found.problems[3]) < 100


@given(st.text())
def test_whatever_the_file_holds_only_ids_come_out(text: str) -> None:
    found = read_ids(text)
    assert all(map(is_id, found.ids))
    assert len(set(found.ids)) == len(found.ids)
    assert all(problem.isprintable() for problem in found.problems)


@given(st.lists(st.integers(0, 10**17).map(str), unique=True), st.from_regex(r"[ -~]{0,40}", fullmatch=True))
def test_what_remains_is_read_back(ids: list[str], why: str) -> None:
    text = write_remaining([(one, why) for one in ids], heading=f"remain: {why}")
    assert read_ids(text) == IdFile(ids=tuple(ids), problems=(), repeated=0)
