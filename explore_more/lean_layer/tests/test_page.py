"""The page in Chromium, with the real function behind it."""

import shutil

import pytest
from conftest import FOLDER
from playwright.sync_api import Error, expect, sync_playwright

from serve import Handler, ThreadingHTTPServer

pytest.importorskip("tests.harness", reason="the harness is in the repository")
from tests.harness.servers import running


@pytest.fixture(scope="module")
def site():
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"Chromium does not start here: {error.message.splitlines()[0]}")
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
    expect(page.locator("section")).to_have_count(1)
    yield page
    page.close()
    assert faults == []


def write(page, text):
    page.fill("#german", text)


def test_english_appears_while_one_types(page):
    page.fill("#german", "")
    expect(page.locator("#answer")).to_be_empty()
    page.type("#german", "Ich habe Hunger.")
    expect(page.locator("#answer")).to_have_text("I'm hungry.")
    expect(page.locator("ol li")).to_have_count(3)
    scores = [float(text) for text in page.locator("output").all_text_contents()]
    assert scores == sorted(scores, reverse=True)


def test_a_word_shows_what_it_came_from(page):
    write(page, "Tom trinkt Kaffee.")
    word = page.locator(".target .word", has_text="coffee")
    word.hover()
    shares = page.locator(".source .word").evaluate_all(
        "all => all.map(word => +word.style.getPropertyValue('--share'))"
    )
    assert shares.index(max(shares)) == 2
    assert abs(sum(shares) - 1) < 0.01
    assert page.locator("line").count() >= 3
    expect(word).to_have_attribute("aria-label", "coffee., from Kaffee.")
    page.hover("#german")
    assert page.locator(".source .word").first.evaluate("word => word.style.getPropertyValue('--share')") == "0"


def test_the_keyboard_reaches_words_and_hypotheses(page):
    write(page, "Tom trinkt Kaffee.")
    expect(page.locator("#answer")).to_contain_text("coffee")
    page.focus("#german")
    page.keyboard.press("Tab")
    expect(page.locator(".target .word").first).to_be_focused()
    second = page.locator("ol button").nth(1)
    second.focus()
    text = second.locator("span").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("ol button").nth(1)).to_be_focused()
    expect(page.locator("ol button").nth(1)).to_have_attribute("aria-pressed", "true")
    assert " ".join(page.locator(".target .word").all_text_contents()) == text


def test_each_sentence_has_its_picture(page):
    write(page, "Ich habe Hunger. Wo ist der Bahnhof?\nTom trinkt Kaffee.")
    expect(page.locator("section")).to_have_count(3)


def test_a_fault_of_the_text_is_told_and_nothing_older_stays(page):
    write(page, "我饿了")
    expect(page.locator("#status.error")).to_contain_text("not in Latin letters")
    expect(page.locator("#answer")).to_be_empty()
    expect(page.locator("section")).to_have_count(0)
    write(page, "Ich habe Hunger.")
    expect(page.locator("#answer")).to_have_text("I'm hungry.")
    expect(page.locator("#status")).to_be_empty()


def test_a_broken_network_is_told_and_the_next_try_works(page):
    page.route("**/translate", lambda route: route.abort())
    write(page, "Ich habe Hunger.")
    expect(page.locator("#status.error")).to_contain_text("cannot be reached")
    expect(page.locator("#answer")).to_be_empty()
    page.unroute("**/translate")
    write(page, "Ich habe Hunger. ")
    expect(page.locator("#answer")).to_have_text("I'm hungry.")


def test_a_late_answer_to_older_text_is_dropped(page):
    held = []
    page.route("**/translate", lambda route: route.continue_() if held else held.append(route))
    write(page, "Tom trinkt Kaffee.")
    page.wait_for_timeout(400)
    write(page, "Ich habe Hunger.")
    expect(page.locator("#answer")).to_have_text("I'm hungry.")
    (late,) = held
    late.continue_()
    page.wait_for_timeout(400)
    expect(page.locator("#answer")).to_have_text("I'm hungry.")


def test_markup_in_the_text_stays_text(page):
    write(page, "<img src=x onerror=alert(1)> Hunger.")
    expect(page.locator("section")).not_to_have_count(0)
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_small_screen(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 700})
    write(page, "Es tut mir leid, dass ich gestern Abend viel zu spät nach Hause gekommen bin.")
    expect(page.locator("#answer")).to_contain_text("sorry")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    (FOLDER / "build").mkdir(exist_ok=True)
    page.screenshot(path=FOLDER / f"build/page-{scheme}.png", full_page=True)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/", b"{", 400), ("/", b"[]", 400), ("/", b'{"sentences": ["1", 2]}', 400), ("/other", None, 404)],
)
def test_the_server_answers_what_is_wrong_with_its_status(page, site, path, body, status):
    request = page.context.request
    answer = request.post(site + path, data=body) if body else request.get(site + path)
    assert answer.status == status
    assert set(answer.json()["error"]) == {"code", "message"}
