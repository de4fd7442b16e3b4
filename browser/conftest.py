"""One browser and one of each scene for all tests; without Chromium or axe-core they are skipped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from driving import AXE, CHROMIUM, Gateway, open_browser, open_gateway, open_scene
from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    if not CHROMIUM.exists():
        pytest.skip("needs /usr/bin/chromium (Debian package chromium)")
    with open_browser() as one:
        yield one


@pytest.fixture(scope="session")
def axe() -> None:
    """Skip where axe-core could not be fetched."""
    if not AXE.exists():
        pytest.skip("needs axe-core: see browser/install.sh")


@pytest.fixture(scope="session")
def scene() -> Iterator[Callable[[str], str]]:
    """Start scenes when they are first asked for."""
    with ExitStack() as stack:
        open_ones: dict[str, str] = {}

        def address(name: str) -> str:
            if name not in open_ones:
                open_ones[name] = stack.enter_context(open_scene(name))
            return open_ones[name]

        yield address


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real gateway with two workers."""
    directory: Path = tmp_path_factory.mktemp("gateway") / "one"
    with open_gateway(directory, workers=2) as one:
        yield one
