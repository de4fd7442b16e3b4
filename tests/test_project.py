"""The project's own promises: what README, Makefile, locks and documents say is so."""

import re
import tomllib
from pathlib import Path

import pytest

from gateway.cli import build_group

ROOT = Path(__file__).parent.parent
PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def pins(name: str) -> dict[str, str]:
    """Return package -> version of a lock file."""
    return dict(PINNED.findall((ROOT / name).read_text()))


def test_the_runtime_lock_is_part_of_the_whole_lock() -> None:
    runtime, everything = pins("requirements-runtime.lock"), pins("requirements.lock")
    assert len(runtime) > 15
    assert runtime.items() <= everything.items()


@pytest.mark.parametrize(
    "name",
    [
        "requirements.lock",
        "requirements-runtime.lock",
        "bench/requirements.txt",
        "browser/requirements.txt",
        "conformance/requirements.txt",
        "deploy/checks/requirements.txt",
        "fuzz/requirements.txt",
    ],
)
def test_every_pin_is_hashed_and_no_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.split(r"^(?=[a-z0-9._-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_every_dependency_of_the_project_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    wanted = project["project"]["dependencies"] + groups["build"] + groups["dev"]
    texts = [requirement for requirement in wanted if isinstance(requirement, str)]
    # PyPA's normalised names: runs of -, _ and . are one hyphen.
    names = {re.sub(r"[-_.]+", "-", re.split(r"[<>=\[;]", text)[0].strip().lower()) for text in texts}
    assert names <= pins("requirements.lock").keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_documentation_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{document.name} links to {target}"
        if anchor and linked.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            slugs = {
                re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            }
            assert anchor in slugs, f"{document.name} links to {target}"


def test_readme_names_every_command_and_no_other() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("## Commands") : readme.index("## Documentation")]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {name.removeprefix("gateway ") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == set(build_group().commands)


def test_readme_opens_with_the_picture_and_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("docs/notification.svg") < readme.index("make demo") < readme.index("make test")
    assert readme.index("make test") < 4000


def test_no_merge_left_its_marks() -> None:
    marks = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    assert [path.name for path in DOCUMENTS if marks.search(path.read_text())] == []
