"""The page in Chromium, on the server of `make run`, with a language model that works."""

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from conftest import FOLDER

api = pytest.importorskip("playwright.sync_api")
expect = api.expect
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
expect.set_options(timeout=90_000)


@pytest.fixture(scope="module")
def site(video, language_model):
    """The address of the server, whose sample is the short video."""
    environ = {**os.environ, "PORT": "0", "OPENAI_BASE_URL": f"{language_model}/v1", "LANGUAGE_MODEL": "SmolLM2"}
    command = [sys.executable, "-u", FOLDER / "serve.py", video]
    server = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().split()[4].rstrip(";")
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser, site, scheme="light"):
    """Open the page as one and the same user, for whom the video is looked at once."""
    page = browser.new_page(viewport={"width": 360, "height": 780}, color_scheme=scheme)
    page.add_init_script("localStorage.user = 'tester'")
    page.goto(site)
    return page


@pytest.fixture
def page(browser, site):
    page = open_page(browser, site)
    page.faults, page.asked = [], set()
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda request: page.asked.add(request.url.replace("blob:", "").split("/")[2]))
    page.reload()
    yield page
    page.close()
    assert page.faults == []
    assert page.asked == {site.split("/")[2]}


def choose(page, data):
    page.set_input_files("#file", {"name": "video.mp4", "mimeType": "video/mp4", "buffer": data})


def test_the_sample_becomes_an_inventory_with_a_video(page):
    page.click("#sample")
    expect(page.locator("#stage-track")).to_have_class("running")
    expect(page.locator("#status")).to_have_text("Done")
    expect(page.locator("#stages li.done")).to_have_count(4)
    expect(page.locator("#summary")).to_contain_text("2 garments: ")
    expect(page.locator("#garments li")).to_have_count(2)
    expect(page.locator("#author")).to_contain_text("SmolLM2 wrote")
    page.wait_for_function("[...document.querySelectorAll('#garments img')].every((each) => each.naturalWidth > 20)")
    page.locator(".time").last.focus()
    page.keyboard.press("Enter")  # plays the video from where the garment is seen
    page.wait_for_function("document.querySelector('video').currentTime > 7")  # the second garment of the video


def test_a_refusal_is_shown_and_the_next_video_works(page, video):
    choose(page, b"no video at all")
    expect(page.locator("#status")).to_contain_text("The file is not a video")
    expect(page.locator("#stage-track")).to_have_class("failed")
    expect(page.locator("#result")).to_be_hidden()
    choose(page, video.read_bytes())
    expect(page.locator("#status")).to_have_text("Done")


def test_a_dropped_file_is_taken(page):
    page.evaluate(
        """() => { const transfer = new DataTransfer();
        transfer.items.add(new File(["no video"], "a.mp4"));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true})) }"""
    )
    expect(page.locator("#status")).to_contain_text("The file is not a video")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(browser, site, scheme):
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    page = open_page(browser, site, scheme)
    page.click("#sample")
    expect(page.locator("#status")).to_have_text("Done")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if "SCREENSHOTS" in os.environ:
        page.set_viewport_size({"width": 900, "height": 780})
        page.wait_for_timeout(1000)
        page.screenshot(path=f"{os.environ['SCREENSHOTS']}/{scheme}.png", full_page=True)
    page.close()


@pytest.mark.parametrize("header", [{"Origin": "https://elsewhere.example"}, {"Host": "elsewhere.example"}])
def test_other_sites_cannot_use_the_server(site, header):
    request = urllib.request.Request(f"{site}/videos", b'{"userId": "me"}', header)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 403
