"""Whatever stands in the file, loading ends with settings or with complaints, and with nothing else."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gateway.errors import ConfigurationError, Problem
from gateway.settings.load import load_settings
from gateway.settings.model import App, Client, Route, Settings, Target
from gateway.settings.remainder import load_remainder
from gateway.settings.shape import entries

SHARED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100
)

KEYS = ["meta", "main", "support", "file", "env", "order", "breaker", "failures", "staged_anchors", "graph"]
KEYS += ["x-a", "<<", "_unrouted"]
KEYS += sorted({key for model in (Settings, App, Client, Route, Target) for key in entries(model)})
TEXTS = ["10s", "3MiB", "messages", "support", "main", "meta", "/a", "https://a", "[::]:1", "gateway.yaml"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(TEXTS),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner, max_size=5),
    ),
    max_leaves=25,
)


def write_yaml(tree: Any) -> bytes:
    stream = StringIO()
    YAML(typ="safe", pure=True).dump(tree, stream)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def complaints_about(directory: Path, content: bytes) -> tuple[str, ...]:
    """Load a file with this content; return the complaints, each of them looked over."""
    file = directory / "gateway.yaml"
    file.write_bytes(content)
    problems: tuple[Problem, ...] = ()
    try:
        load_settings(file, environ={})
    except ConfigurationError as error:
        problems = error.problems
        if not problems:
            pytest.fail("refused without a reason")
    # `check` looks at what is left of a file with mistakes; that must survive all of them, too.
    load_remainder(file, environ={})
    for problem in problems:
        assert problem.message
        assert problem.remedy
        assert "\n" not in str(problem)
    positions = [(problem.line, problem.column) for problem in problems]
    assert positions == sorted(positions)
    return tuple(map(str, problems))


@SHARED
@given(text=st.text())
def test_any_text(text: str, tmp_path: Path) -> None:
    complaints_about(tmp_path, text.encode("utf-8", "surrogatepass"))


@SHARED
@given(content=st.binary())
def test_any_bytes(content: bytes, tmp_path: Path) -> None:
    complaints_about(tmp_path, content)


@SHARED
@given(text=st.text(alphabet="ab:- \n\t[]{}&*!|>'\"%#?,@`<~01.", max_size=60))
def test_any_text_made_of_what_yaml_finds_special(text: str, tmp_path: Path) -> None:
    complaints_about(tmp_path, text.encode())


@SHARED
@given(tree=TREES)
def test_any_tree(tree: Any, tmp_path: Path) -> None:
    complaints_about(tmp_path, write_yaml(tree))


@SHARED
@example(section="targets", tree={"\n": None})
@given(section=st.sampled_from(sorted(entries(Settings))), tree=TREES)
def test_any_tree_in_the_place_of_a_section(section: str, tree: Any, good: str, site: Path) -> None:
    """The rest of the file is right: what one section holds must not break what looks at the others."""
    plain = YAML(typ="safe", pure=True).load(good)
    complaints_about(site, write_yaml(plain | {section: tree}))


@SHARED
@given(data=st.data())
def test_a_good_file_with_a_piece_cut_out(data: st.DataObject, good: str, site: Path) -> None:
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, len(good)))
    complaints_about(site, (good[:start] + good[end:]).encode())


PLACES = [
    ("    app_secrets: [{file: secrets/app_secret}]", "    app_secrets: [%s]"),
    ("    app_secrets: [{file: secrets/app_secret}]", "    app_secrets: %s"),
    ("    app_secrets: [{file: secrets/app_secret}]", "    app_secrets: [{env: %s}]"),
    ("    verify_token: {env: VERIFY_TOKEN}", "    verify_token: %s"),
    ("    verify_token: {env: VERIFY_TOKEN}", "    verify_token: {%s}"),
    ("    timeout: 10s", "    signing_secret: %s"),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1].strip())
@SHARED
@given(secret=st.text(alphabet="!#$&*+,-./:;<=>?@[]^_{|}~%'\"` aZ9", min_size=4, max_size=16))
def test_a_secret_written_as_plain_text_is_never_echoed(
    place: tuple[str, str], secret: str, good: str, site: Path
) -> None:
    """Not even where its special characters turn it into YAML of another kind."""
    old, new = place
    told = complaints_about(site, good.replace(old, new % f"{secret}+hunter2+{secret}").encode())
    assert not any("hunter2" in complaint for complaint in told)
