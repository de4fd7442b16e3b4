"""Without a mouse, and without JavaScript."""

from collections.abc import Callable

from driving import SCENE_TOKEN, log_in, new_context
from playwright.sync_api import Browser

Scene = Callable[[str], str]


def test_every_control_is_reached_by_tab_and_is_seen_when_it_is(browser: Browser, scene: Scene) -> None:
    context = new_context(browser)
    page = context.new_page()
    url = scene("trouble")
    log_in(page, url, SCENE_TOKEN)
    for path in ("/", "/dead-letters", "/targets/support"):
        page.goto(url + path)
        page.wait_for_load_state("networkidle") if path != "/" else page.wait_for_selector(
            "[data-state=live]"
        )
        wanted = page.evaluate(
            "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select')]"
            ".filter((one) => one.getClientRects().length && !one.hidden).length"
        )
        seen: set[int] = set()
        page.evaluate("document.activeElement.blur(); window.numbers = new Map()")
        for _ in range(wanted + 12):
            page.keyboard.press("Tab")
            state = page.evaluate(
                "(() => { const one = document.activeElement; if (!one || one === document.body) return null;"
                " if (!numbers.has(one)) numbers.set(one, numbers.size);"
                " const style = getComputedStyle(one);"
                " return [numbers.get(one), style.outlineStyle !== 'none' || one.matches('main, pre')]; })()"
            )
            if state is not None:
                seen.add(state[0])
                assert state[1], f"{path}: a focus that nobody sees"
        assert len(seen) >= wanted, path
    context.close()


def test_the_first_stop_leads_past_the_navigation(browser: Browser, scene: Scene) -> None:
    context = new_context(browser)
    page = context.new_page()
    page.goto(scene("calm"))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    context.close()


def test_a_dead_letter_is_discarded_with_the_keyboard_alone(browser: Browser, scene: Scene) -> None:
    context = new_context(browser)
    page = context.new_page()
    url = scene("calm")
    page.goto(f"{url}/login")
    assert page.evaluate("document.activeElement.id") == "token", "the field has the focus"
    page.keyboard.type(SCENE_TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/dead-letters")
    page.locator("tbody input[name=id]").first.focus()
    page.keyboard.press("Space")
    assert "1 of 12 chosen" in page.inner_text("main")
    page.get_by_role("button", name="Discard").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/dead-letters/confirm")
    assert "for good?" in page.inner_text("h1")
    page.get_by_role("main").get_by_role("button").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/dead-letters")
    assert "1 of 1 dead letter removed for good" in page.inner_text("[role=status]")
    context.close()
