"""The page, in Chromium with its fake microphone, served as `make run` serves it."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from recordings import decode, encode, tone, video

FOLDER = Path(__file__).resolve().parent.parent
api = pytest.importorskip("playwright.sync_api")
expect = api.expect
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def site():
    """The address of the server."""
    command = [sys.executable, "-u", FOLDER / "serve.py"]
    server = subprocess.Popen(command, env={**os.environ, "PORT": "0"}, stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().split()[4].rstrip(";")
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def browser():
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*flags, "--autoplay-policy=no-user-gesture-required"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser, site):
    page = browser.new_page(viewport={"width": 360, "height": 780})
    page.faults, page.asked = [], set()
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda request: page.asked.add(request.url.replace("blob:", "").split("/")[2]))
    page.goto(site)
    yield page
    page.close()
    assert page.faults == []
    assert page.asked == {site.split("/")[2]}


def choose(page, data, name="recording"):
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})


def drawn(page, name):
    """Return how many different colours a spectrogram has."""
    return page.evaluate(
        """(name) => { const c = document.getElementById(name);
        return new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size }""",
        name,
    )


def test_the_sample_is_heard_before_and_after_at_the_same_position(page):
    page.click("#sample")
    expect(page.locator("#status")).to_have_text("Done")
    expect(page.locator("#spectrum-after")).to_be_visible()
    page.wait_for_function("document.getElementById('spectrum-after').width && sounds && sounds.after.readyState >= 1")
    page.locator("#position").fill("3")
    expect(page.locator("#time")).to_have_text("0:03")
    page.click("#before")
    assert page.evaluate("[heard, sounds.before.currentTime]") == ["before", 3]
    page.click("#play")
    page.wait_for_function("sounds.before.currentTime > 3.2")
    page.click("#after")
    assert page.evaluate("[heard, sounds.before.paused, sounds.after.paused]") == ["after", True, False]
    assert page.evaluate("sounds.after.currentTime") > 3.1
    page.wait_for_function("sounds.after.currentTime > 3.4")
    assert drawn(page, "spectrum-before") > 50 and drawn(page, "spectrum-after") > 50


def test_the_enhanced_recording_can_be_downloaded(page, tmp_path):
    choose(page, encode(tone(1, 44_100), 44_100, "mp3", "libmp3lame"))
    expect(page.locator("#status")).to_have_text("Done")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "enhanced.mp3"
    download.value.save_as(tmp_path / "file")
    samples, rate = decode((tmp_path / "file").read_bytes())
    assert (rate, samples.shape[1] / rate) == (44_100, pytest.approx(1, abs=0.1))


def test_what_the_microphone_records_is_enhanced(page):
    page.click("#record")
    expect(page.locator("#record")).to_have_text("Stop")
    expect(page.locator("#status")).to_have_text("Recording: 2 s")
    page.click("#record")
    expect(page.locator("#status")).to_have_text("Done")
    assert page.evaluate("document.getElementById('position').max") > "1"
    assert page.evaluate("document.getElementById('download').download") == "enhanced.webm"


def test_progress_is_shown_while_a_job_runs(page):
    choose(page, encode(tone(20, 44_100), 44_100, "wav", "pcm_s16le"))
    page.wait_for_function("/^Enhancing: [1-9][0-9]* %$/.test(document.getElementById('status').textContent)")
    assert 0 < page.evaluate("document.getElementById('progress').value") < 1
    expect(page.locator("#status")).to_have_text("Done")
    expect(page.locator("#progress")).to_be_hidden()


def test_a_refusal_is_shown_and_the_next_recording_works(page):
    choose(page, video())
    expect(page.locator("#status")).to_contain_text("The file holds no sound")
    expect(page.locator("#result")).to_be_hidden()
    choose(page, encode(tone(1, 16_000), 16_000, "flac", "flac"))
    expect(page.locator("#status")).to_have_text("Done")


def test_a_dropped_recording_is_enhanced(page):
    data = list(encode(tone(1, 8_000), 8_000, "wav", "pcm_s16le"))
    page.evaluate(
        """(data) => { const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(data)], "a.wav"));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true})) }""",
        data,
    )
    expect(page.locator("#status")).to_have_text("Done")


def test_only_the_newest_recording_is_shown(page):
    choose(page, encode(tone(10, 44_100), 44_100, "wav", "pcm_s16le"))
    page.wait_for_function("document.getElementById('status').textContent.startsWith('Enh')")
    choose(page, encode(tone(1, 44_100), 44_100, "flac", "flac"))
    expect(page.locator("#status")).to_have_text("Done")
    assert page.evaluate("document.getElementById('download').download") == "enhanced.flac"
    time.sleep(3)
    assert page.evaluate("document.getElementById('download').download") == "enhanced.flac"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(browser, site, scheme):
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    page = browser.new_page(viewport={"width": 360, "height": 780}, color_scheme=scheme)
    page.goto(site)
    page.click("#sample")
    expect(page.locator("#status")).to_have_text("Done")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if "SCREENSHOTS" in os.environ:
        page.wait_for_timeout(1000)
        page.screenshot(path=f"{os.environ['SCREENSHOTS']}/{scheme}.png", full_page=True)
    page.close()


@pytest.mark.parametrize("header", [{"Origin": "https://elsewhere.example"}, {"Host": "elsewhere.example"}])
def test_other_sites_cannot_use_the_server(site, header):
    request = urllib.request.Request(f"{site}/jobs", b'{"upload": 5}', header)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 403
