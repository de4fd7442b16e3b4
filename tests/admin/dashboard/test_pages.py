"""Templates and what they refer to: all there, in the installed package, too."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gateway.admin.dashboard.pages import STATIC, Pages, read_static, visible_text

ROOT = Path(__file__).parent.parent.parent.parent
FOLDER = ROOT / "gateway" / "admin" / "dashboard"


def test_every_file_that_a_page_refers_to_is_served() -> None:
    served = read_static()
    named = {
        name
        for template in (FOLDER / "templates").glob("*.html")
        for name in re.findall(r'/static/([^"]+)"', template.read_text())
    }
    assert named == served.keys() == {path.name for path in STATIC.iterdir()}


def test_every_template_compiles_and_none_turns_escaping_off() -> None:
    Pages()
    for template in (FOLDER / "templates").glob("*.html"):
        text = template.read_text()
        assert "autoescape" not in text
        unescaped = re.findall(r"\{\{[^}]*\|\s*safe[^}]*\}\}", text)
        assert not unescaped or template.name == "overview.html", "made by other templates, which escape"


@pytest.mark.slow
def test_the_wheel_has_templates_and_static_files(tmp_path: Path) -> None:
    """Built as `pip install` builds it, from a copy: a build leaves things behind."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for path in FOLDER.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    for folder in ("gateway", "gateway/admin"):
        (tmp_path / folder / "__init__.py").write_text("")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "wheels", "."),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "wheels").iterdir()
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "static"):
        for path in (FOLDER / folder).iterdir():
            assert str(path.relative_to(ROOT)) in inside


def test_what_is_not_seen_is_written_out() -> None:
    assert visible_text("a\u202eb\x1b[31m\r\nc\td\u200be") == "a\\u202eb\\x1b[31m\nc\td\\u200be"
    assert visible_text("żółć 日本 18\u202f234") == "żółć 日本 18\u202f234"
