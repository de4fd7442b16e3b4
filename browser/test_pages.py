"""Every page, in both colour schemes and at 400 px: no violation of axe-core's rules, nothing cut off."""

from collections.abc import Callable, Iterator

import pytest
from driving import LETTER, PAGES, SCENE_TOKEN, log_in, new_context, violations
from playwright.sync_api import Browser, Page

Scene = Callable[[str], str]


LOOKS = (("light", 1280), ("dark", 1280), ("light", 400))


@pytest.fixture(params=LOOKS, ids=str)
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    scheme, width = request.param
    context = new_context(browser, scheme=scheme, width=width)
    one = context.new_page()
    complaints: list[str] = []
    # A page that its own policy stops, or a script that fails, says so on the console.
    one.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    one.on("pageerror", lambda error: complaints.append(str(error)))
    yield one
    context.close()
    assert [text for text in complaints if "404" not in text] == []


def is_cut_off(page: Page) -> bool:
    """Whether one has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.mark.usefixtures("axe")
def test_the_overview_breaks_no_rule(page: Page, scene: Scene) -> None:
    for name in ("calm", "trouble", "empty", "many", "refusing", "silent"):
        page.goto(scene(name))
        page.wait_for_selector("[data-state=live]")
        assert violations(page) == [], name
        assert not is_cut_off(page), name


@pytest.mark.usefixtures("axe")
def test_no_other_page_breaks_a_rule_nor_runs_what_strangers_wrote(page: Page, scene: Scene) -> None:
    url = scene("trouble")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for path in ("/login", "/dead-letters", f"/dead-letters/{LETTER}"):
        page.goto(url + path)
        assert violations(page) == [], path
    log_in(page, url, SCENE_TOKEN)
    for path in PAGES:
        page.goto(url + path)
        assert violations(page) == [], path
        assert not is_cut_off(page), path
    page.goto(f"{url}/dead-letters")
    page.locator("tbody input[name=id]").first.check()
    page.get_by_role("button", name="Discard").click()
    assert violations(page) == [], "confirmation"
    assert dialogs == []
