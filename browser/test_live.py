"""A real gateway and a real dead letter: what changes is seen, and what is clicked is done."""

import pytest
from driving import Gateway, log_in, new_context
from playwright.sync_api import Browser, expect


def test_what_comes_in_shows_without_a_reload(browser: Browser, gateway: Gateway) -> None:
    context = new_context(browser)
    page = context.new_page()
    page.goto(gateway.url)
    page.wait_for_selector("[data-state=live]")
    page.evaluate("window.same = true")
    gateway.make_dead_letter()
    expect(page.locator("#fields")).to_contain_text("messages", timeout=15_000)
    expect(page.locator("#letters")).to_contain_text("support", timeout=25_000)
    expect(page.locator("#targets")).to_contain_text("status 422")
    assert page.evaluate("window.same"), "the page was not loaded anew"
    context.close()


def test_without_events_the_page_says_how_old_it_is(browser: Browser, gateway: Gateway) -> None:
    context = new_context(browser)
    page = context.new_page()
    page.clock.install()
    page.goto(gateway.url)
    page.wait_for_selector("[data-state=live]")
    context.set_offline(True)
    page.route("**/events", lambda route: route.abort())
    page.clock.run_for(60_000)
    expect(page.locator("#pulse")).to_contain_text("stale since 20")
    expect(page.locator("h1")).to_be_visible()
    context.close()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_dead_letter_is_replayed_by_clicks(browser: Browser, gateway: Gateway, javascript: bool) -> None:
    letter = gateway.make_dead_letter()
    gateway.target.status = 200
    context = new_context(browser, javascript=javascript)
    page = context.new_page()
    log_in(page, gateway.url, gateway.token)
    page.get_by_role("navigation").get_by_role("link", name="Dead letters").click()
    page.locator(f'a[href="/dead-letters/{letter}"]').click()
    page.get_by_role("link", name="Show it").click()
    assert '"messages"' in page.inner_text("pre")
    page.get_by_role("button", name="Replay").click()
    assert "again?" in page.inner_text("h1")
    before = gateway.target.received.count(letter)
    page.get_by_role("main").get_by_role("button").click()
    assert "1 of 1 dead letter stored again" in page.inner_text("[role=status].notice")
    page.wait_for_timeout(1500)
    assert gateway.target.received.count(letter) == before + 1
    assert letter not in gateway.dead_letters()
    context.close()


@pytest.mark.parametrize("javascript", [True, False])
def test_dead_letters_are_discarded_by_clicks(browser: Browser, gateway: Gateway, javascript: bool) -> None:
    letter = gateway.make_dead_letter()
    context = new_context(browser, javascript=javascript)
    page = context.new_page()
    log_in(page, gateway.url, gateway.token)
    page.goto(f"{gateway.url}/dead-letters?target=support&field=mess*")
    page.get_by_label(f"Choose {letter}").check()
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("link", name="No, back").click()
    assert letter in gateway.dead_letters(), "whoever goes back has done nothing"
    page.get_by_label(f"Choose {letter}").check()
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("main").get_by_role("button").click()
    assert "removed for good" in page.inner_text("[role=status].notice")
    assert letter not in gateway.dead_letters()
    assert '"action": "discard"' in next(gateway.directory.rglob("audit.log")).read_text()
    page.goto(f"{gateway.url}/changes")
    assert "discard" in page.inner_text("main")
    context.close()


def test_a_target_is_paused_and_resumed_by_clicks(browser: Browser, gateway: Gateway) -> None:
    context = new_context(browser, javascript=False)
    page = context.new_page()
    log_in(page, gateway.url, gateway.token)
    page.goto(f"{gateway.url}/targets/support")
    page.get_by_label("Why").fill("deploy of 2.14")
    page.get_by_role("button", name="Pause").click()
    assert "paused" in page.inner_text("h1")
    assert "deploy of 2.14" in page.inner_text("dl")
    page.get_by_role("button", name="Resume").click()
    assert "delivering" in page.inner_text("h1")
    context.close()


def test_whoever_has_logged_out_reads_no_payload(browser: Browser, gateway: Gateway) -> None:
    letter = gateway.make_dead_letter()
    context = new_context(browser)
    page = context.new_page()
    log_in(page, gateway.url, gateway.token)
    page.goto(f"{gateway.url}/dead-letters/{letter}?payload=1")
    assert page.locator("pre").count() == 1
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{gateway.url}/")
    page.goto(f"{gateway.url}/dead-letters/{letter}?payload=1")
    assert "/login" in page.url
    context.close()
