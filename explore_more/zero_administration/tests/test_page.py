"""The page in Chromium, with the real functions behind it; and the browser extension."""

import re
import shutil

import pytest
from conftest import FOLDER
from playwright.sync_api import Error, expect, sync_playwright

from serve import Handler, ThreadingHTTPServer

pytest.importorskip("tests.harness", reason="the harness is in the repository")
from tests.harness.servers import running

expect.set_options(timeout=30_000)  # the first answer waits for the dictionary
TEXT = "我昨天在图书馆看了一本有意思的书。"


@pytest.fixture(scope="module")
def site():
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as playwright:
        yield playwright


def started(start):
    """Return what `start` starts; skip the test if Chromium does not start."""
    try:
        return start()
    except Error as error:
        pytest.skip(f"Chromium does not start here: {error.message.splitlines()[0]}")


@pytest.fixture(scope="module")
def browser(playwright):
    path = shutil.which("chromium")
    browser = started(lambda: playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, site):
    """The page; at the end, it must have raised no error and asked no other host."""
    page = browser.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith((site, "data:")) else faults.append(asked.url))
    page.goto(site)
    expect(page.locator("#words .word")).not_to_have_count(0)
    expect(page.locator("#translation")).not_to_be_empty()
    yield page
    page.close()
    assert faults == []


def word(page, text):
    return page.locator("#words .word", has_text=text).first


def test_words_are_coloured_by_level_and_joined_are_the_text(page):
    page.fill("#text", TEXT)
    expect(page.locator("#words")).to_have_text(TEXT)
    levels = page.locator("#words .word").evaluate_all(
        "all => all.map(word => [word.dataset.level, getComputedStyle(word).color])"
    )
    colours = {}
    for level, colour in levels:
        colours.setdefault(level, set()).add(colour)
    assert len(colours) > 1
    assert all(len(each) == 1 for each in colours.values())
    assert len(set.union(*colours.values())) == len(colours)


def test_a_word_tells_its_reading_and_meaning_to_the_mouse_and_the_keyboard(page):
    page.fill("#text", TEXT)
    expect(page.locator("#words")).to_have_text(TEXT)
    word(page, "图书馆").hover()
    expect(page.locator("#word")).to_contain_text("túshūguǎn")
    expect(page.locator("#word")).to_contain_text("library")
    page.focus("#text")
    page.keyboard.press("Tab")
    expect(page.locator("#words .word").first).to_be_focused()
    expect(page.locator("#word")).to_contain_text("wǒ")


def test_a_learner_sees_which_share_of_the_words_they_know(page):
    page.fill("#text", TEXT)
    page.select_option("#known", "1")
    expect(page.locator("#verdict")).to_contain_text("You know")
    shares = []
    for level in ("1", "7-9"):
        page.select_option("#known", level)
        shares.append(page.locator("#verdict").inner_text())
    assert shares[0] != shares[1]
    assert "100 %" in shares[1]
    expect(page.locator("#levels li")).to_have_count(7)


def test_another_syllabus_gives_other_levels(page):
    page.fill("#text", TEXT)
    for syllabus, level in (("2026", "3"), ("2021", "1")):
        page.select_option("#syllabus", syllabus)
        expect(word(page, "图书馆")).to_have_attribute("data-level", level)


def test_english_becomes_chinese_with_its_words(page):
    page.fill("#text", "Can you help me?")
    expect(page.locator("#translation")).to_have_text(re.compile(r"[\u4e00-\u9fff]"))
    expect(page.locator("#words .word")).not_to_have_count(0)
    expect(page.locator("#translation")).to_have_attribute("lang", "zh")


def test_a_fault_of_the_text_is_told_and_nothing_older_stays(page):
    page.fill("#text", "Привет")
    expect(page.locator("#status.error")).to_contain_text("not English")
    expect(page.locator("#words")).to_be_empty()
    expect(page.locator("#translation")).to_be_empty()
    page.fill("#text", TEXT)
    expect(page.locator("#words")).to_have_text(TEXT)
    expect(page.locator("#status")).to_be_empty()


def test_words_stay_where_the_translation_alone_fails(page):
    page.fill("#text", "Wir essen heute Abend gern 饺子 und trinken Tee.")
    expect(page.locator("#status.error")).to_contain_text("mostly not Chinese")
    expect(word(page, "饺子")).to_be_visible()
    expect(page.locator("#translation")).to_be_empty()


def test_a_broken_network_is_told_and_the_next_try_works(page):
    page.route("**/translate", lambda route: route.abort())
    page.route("**/segment", lambda route: route.abort())
    page.fill("#text", TEXT)
    expect(page.locator("#status.error")).to_contain_text("cannot be reached")
    expect(page.locator("#words")).to_be_empty()
    page.unroute("**/translate")
    page.unroute("**/segment")
    page.fill("#text", TEXT + "。")
    expect(page.locator("#words")).to_have_text(TEXT + "。")


def test_a_model_that_is_being_copied_is_waited_for(page):
    asked = []

    def refuse_once(route):
        asked.append(route)
        if len(asked) > 1:
            return route.continue_()
        return route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": {"code": "", "message": "busy"}})

    page.route("**/translate", refuse_once)
    page.fill("#text", "我饿了。")
    expect(page.locator("#status")).to_contain_text("being copied")
    expect(page.locator("#status")).to_be_empty()
    expect(page.locator("#translation")).not_to_be_empty()
    assert len(asked) == 2


def test_a_late_answer_to_older_text_is_dropped(page):
    held = []
    page.route("**/segment", lambda route: route.continue_() if held else held.append(route))
    page.fill("#text", "我饿了。")
    page.wait_for_timeout(600)
    page.fill("#text", TEXT)
    expect(page.locator("#words")).to_have_text(TEXT)
    held[0].continue_()
    page.wait_for_timeout(600)
    expect(page.locator("#words")).to_have_text(TEXT)


def test_markup_in_the_text_stays_text(page):
    page.fill("#text", "<img src=x onerror=alert(1)>我饿了，你呢？我们去公园玩吧，好不好？")
    expect(page.locator("#words")).to_contain_text("<img src=x onerror=alert(1)>我饿了")
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_small_screen(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 800})
    page.fill("#text", TEXT + "汤姆七点来。")
    expect(page.locator("#words")).to_contain_text("汤姆")
    expect(page.locator("#status")).to_be_empty()
    word(page, "图书馆").hover()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    (FOLDER / "build").mkdir(exist_ok=True)
    page.screenshot(path=FOLDER / f"build/page-{scheme}.png", full_page=True)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/segment", "{", 400), ("/translate", "[]", 400), ("/other", "{}", 404), ("/inference/segment.py", None, 404)],
)
def test_the_server_answers_what_is_wrong_with_its_status(browser, site, path, body, status):
    context = browser.new_context()
    answer = context.request.post(site + path, data=body) if body else context.request.get(site + path)
    assert answer.status == status
    assert set(answer.json()["error"]) == {"code", "message"}
    context.close()


@pytest.fixture
def extended(playwright, tmp_path):
    """A browser with the extension loaded."""
    arguments = ["--no-sandbox", f"--disable-extensions-except={FOLDER / 'extension'}"]
    arguments.append(f"--load-extension={FOLDER / 'extension'}")
    context = started(
        lambda: playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=shutil.which("chromium"), channel="chromium", args=arguments
        )
    )
    yield context
    context.close()


def test_the_extension_reads_what_is_selected_on_any_page(extended, site):
    worker = extended.service_workers[0] if extended.service_workers else extended.wait_for_event("serviceworker")
    assert worker.evaluate("chrome.runtime.getManifest().permissions") == ["contextMenus"]
    # A script cannot open the browser's menu, but it can report that the entry was chosen.
    with extended.expect_page() as opened:
        worker.evaluate(
            "text => chrome.contextMenus.onClicked.dispatch({menuItemId: 'read', selectionText: text})", TEXT
        )
    page = opened.value
    assert page.url.startswith("chrome-extension://")
    expect(page.locator("#text")).to_have_value(TEXT)
    page.click("summary")
    page.fill("#api", site)
    expect(page.locator("#words")).to_have_text(TEXT)
    expect(page.locator("#translation")).not_to_be_empty()
    page.focus("#text")
    page.reload()
    expect(page.locator("#words")).to_have_text(TEXT)
    word(page, "图书馆").hover()
    expect(page.locator("#word")).to_contain_text("library")
