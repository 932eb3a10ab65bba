"""Test the page in a real browser, with the real function behind it."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import PHOTOS, ROOT, TROUSERS, encode, logits_of, serving_page
from hostile import HEIC, RGB, SVG, save
from PIL import Image, ImageOps
from playwright.sync_api import expect

import limits
import test as client
from image_source import FORMATS, MAX_SIDE, name_format
from tests.harness.servers import free_port

SAMPLES = sorted(path.stem for path in (ROOT / "web/samples").glob("*.jpg"))
SHIRT = next(photo for photo in PHOTOS if photo.parent.name == "shirt")
HAT, SHOES = (ROOT / f"web/samples/{name}.jpg" for name in ("hat", "shoes"))
CODE = (ROOT / "web/page.js").read_text()
TEMPERATURE, UNSURE_BELOW = client.read_calibration()
expect.set_options(timeout=30_000)  # long enough for slow machines
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
# Make a DataTransfer that holds files, given in base64, or text.
TRANSFER = """([files, text]) => {
  const transfer = new DataTransfer();
  const bytes = (data) => Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  for (const [name, data] of files) transfer.items.add(new File([bytes(data)], name));
  if (text) transfer.setData("text/plain", text);
  return transfer;
}"""
# Fire a paste event that carries a DataTransfer.
PASTE = "(transfer) => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true}))"


@pytest.fixture
def page(browser, site, request):
    """The page in its own browser context. `asked` collects the hosts of its requests.

    The test fails if the page throws an error or breaks its content security policy.
    """
    context = browser.new_context(**getattr(request, "param", {}))
    page = context.new_page()
    page.faults, page.asked = [], set()
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: "Policy" in message.text and page.faults.append(message.text))
    page.on("request", lambda asked: page.asked.add(urlsplit(asked.url.replace("blob:", "")).netloc))
    page.goto(site)
    yield page
    context.close()
    assert page.faults == []


def expect_class(page, name):
    expect(page.locator("#verdict")).to_have_text(name)
    expect(page.locator("#status")).to_contain_text(f"{name}, ")
    expect(page.locator("#bars th").first).to_have_text(name)
    expect(page.locator("#bars tr")).to_have_count(10)
    expect(page.locator("#photo img")).to_be_visible()
    expect(page.locator("#error")).to_be_empty()


def expect_error(page, text):
    expect(page.locator("#error")).to_contain_text(text)
    expect(page.locator("#verdict")).to_have_text("No answer")
    expect(page.locator("#scores")).to_be_hidden()


def transfer(page, files=(), text=None):
    return page.evaluate_handle(TRANSFER, [[[name, encode(data)] for name, data in files], text])


def drop(page, *photos):
    files = [(photo.name, photo.read_bytes()) for photo in photos]
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer(page, files)})


def choose(page, data, name="photo"):
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})


def choose_and_catch(page, data, name="photo"):
    """Choose a file and return the photo that the page sends."""
    with page.expect_request("**/predict") as asked:
        choose(page, data, name)
    return Image.open(io.BytesIO(base64.b64decode(json.loads(asked.value.post_data)["image"])))


def answer_with(page, scores, **headers):
    """Answer the page's requests with these scores instead of the function's."""
    page.route("**/predict", lambda route: route.fulfill(json=scores, headers=headers))


def hold(page, pattern="**/predict"):
    """Hold back the page's requests that match a pattern; return the list that they are added to."""
    held = []

    def keep(route):
        held.append(route)

    page.route(pattern, keep)
    return held


def wait_for(page, held, count=1):
    while len(held) < count:
        page.wait_for_timeout(20)


def check_accessibility(page):
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def focus(page, selector):
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"Tab does not lead to {selector}")


# ---- Where photos come from


def test_a_photo_that_is_dropped_is_classified(page):
    drop(page, TROUSERS)
    expect_class(page, "pants")


def test_while_photos_are_dragged_over_the_page_it_says_so(page):
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer(page, [("a", b"a")])})
    expect(page.locator("#over")).to_be_in_viewport(ratio=1)
    page.dispatch_event("body", "dragleave", {})
    expect(page.locator("#over")).to_be_hidden()


def test_a_file_that_is_chosen_is_classified(page):
    page.set_input_files("#file", TROUSERS)
    expect_class(page, "pants")
    page.set_input_files("#camera", SHIRT)
    expect_class(page, "shirt")


def test_a_photo_that_is_pasted_is_classified(page):
    page.evaluate(PASTE, transfer(page, [("photo", TROUSERS.read_bytes())]))
    expect_class(page, "pants")


@pytest.mark.parametrize("page", [{"permissions": ["clipboard-read", "clipboard-write"]}], indirect=True)
def test_the_button_pastes_a_photo_or_an_address(page, site):
    page.click("#paste")
    expect(page.locator("#notice")).to_contain_text("no photo or address")
    page.evaluate("(url) => navigator.clipboard.writeText(url)", f"{site}samples/hat.jpg")
    page.click("#paste")
    expect_class(page, "hat")
    page.evaluate(
        """async (data) => {
          const photo = new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], {type: "image/png"});
          await navigator.clipboard.write([new ClipboardItem({"image/png": photo})]);
        }""",
        encode(save(Image.open(TROUSERS), "PNG")),
    )
    page.click("#paste")
    expect_class(page, "pants")


def test_a_browser_that_forbids_pasting_is_told_what_to_press(page):
    page.evaluate("() => { navigator.clipboard.read = () => Promise.reject(new Error()); }")
    page.click("#paste")
    expect(page.locator("#notice")).to_contain_text("Ctrl+V")


def test_an_address_that_is_pasted_or_dropped_or_typed_is_classified(page, site):
    page.evaluate(PASTE, transfer(page, text=f"{site}samples/hat.jpg"))
    expect_class(page, "hat")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer(page, text=f"{site}samples/shoes.jpg")})
    expect_class(page, "shoes")
    page.fill("#url", f" {site}samples/dress.jpg ")
    page.click("text=Classify")
    expect_class(page, "dress")


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("photos.invalid/a.jpg", "https://photos.invalid/a.jpg"),
        ("photos.invalid:443/a b.jpg", "https://photos.invalid/a%20b.jpg"),
        ("HTTP://photos.invalid/a.jpg", "http://photos.invalid/a.jpg"),
    ],
)
def test_an_address_without_a_scheme_is_tried_with_https(typed, asked, page):
    page.fill("#url", typed)
    with page.expect_request("**/predict") as request:
        page.keyboard.press("Enter")
    assert json.loads(request.value.post_data) == {"url": asked}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "Type the address"),
        ("ftp://a.b/c", "must begin with https://"),
        ("http://", "not a web address"),
        ("a b", "a b"),
    ],
)
def test_what_is_no_address_is_told_beside_the_field(typed, words, page):
    page.fill("#url", typed)
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text(words)
    expect(page.locator("#empty")).to_be_visible()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_that_is_clicked_is_classified_without_asking_another_host(name, page, site):
    page.click(f"#samples img[src*={name}]")
    expect_class(page, name)
    assert page.asked == {urlsplit(site).netloc}


def test_a_photo_is_taken_with_this_computers_camera(browser, site):
    args = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    camera = browser.browser_type.launch(executable_path=shutil.which("chromium"), args=args)
    page = camera.new_page()
    page.goto(site)
    page.click("#shoot")
    check_accessibility(page)
    page.wait_for_selector("#video:focus, #take")
    expect(page.locator("#video")).to_have_js_property("paused", value=False)
    with page.expect_request("**/predict") as asked:
        page.click("#take")
    sent = Image.open(io.BytesIO(base64.b64decode(json.loads(asked.value.post_data)["image"])))
    assert sent.format == "JPEG"
    expect(page.locator("#viewfinder")).to_be_hidden()
    expect(page.locator("#bars tr")).to_have_count(10)
    assert page.evaluate("$('video').srcObject") is None
    camera.close()


def test_a_computer_without_a_camera_is_told(page):
    page.click("#shoot")
    expect(page.locator("#notice")).to_contain_text("camera")


# ---- The answer


def test_probabilities_add_up_and_raw_scores_have_no_bars(page):
    page.set_input_files("#file", TROUSERS)
    expect_class(page, "pants")
    percents = [float(text.split()[0]) for text in page.locator("#bars td:last-child").all_inner_texts()]
    assert sum(percents) == pytest.approx(100, abs=0.5)
    assert percents == sorted(percents, reverse=True)
    expect(page.locator("#bars div")).to_have_count(10)
    page.check("#raw")
    scores = [float(text) for text in page.locator("#bars td:last-child").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0
    expect(page.locator("#bars div")).to_have_count(0)


@pytest.mark.parametrize("distance", [-0.02, 0.02])
def test_page_and_client_say_the_same_of_the_same_scores(distance, page, page_elsewhere):
    scores = logits_of(UNSURE_BELOW + distance, TEMPERATURE)
    shares = client.probabilities(scores, TEMPERATURE)
    verdict = client.judge(scores, (TEMPERATURE, UNSURE_BELOW))
    answer_with(page, scores, **{"access-control-allow-origin": "*"})
    for address in (page.url, page_elsewhere):  # served by the gateway, and by a plain file server
        page.goto(address)
        page.set_input_files("#file", TROUSERS)
        expect(page.locator("#verdict")).to_have_text("dress" if verdict["sure"] else "Not sure")
        expect(page.locator("#detail")).to_contain_text(client.percent(shares["dress"]))
        shown = page.locator("#bars td:last-child").all_inner_texts()
        assert shown == [f"{100 * share:.1f} %" for share in shares.values()]
    assert verdict["sure"] == (distance > 0)


def test_without_metrics_there_are_scores_and_no_percentages(page):
    page.route("**/metrics.json", lambda route: route.fulfill(status=404))
    page.set_input_files("#file", TROUSERS)
    expect(page.locator("#uncalibrated")).to_be_visible()
    expect(page.locator("#detail")).to_contain_text("score ")
    assert "%" not in page.locator("#answer").inner_text()
    check_accessibility(page)
    page.unroute("**/metrics.json")
    page.set_input_files("#file", SHIRT)
    expect(page.locator("#detail")).to_contain_text("likely")


def test_the_verdict_is_the_largest_text(page):
    page.click("#samples img[src*=hat]")
    expect_class(page, "hat")
    size = "(element) => parseFloat(getComputedStyle(element).fontSize)"
    sizes = page.locator("body *:not(#verdict):visible").evaluate_all(f"(all) => all.map({size})")
    assert page.locator("#verdict").evaluate(size) > 2 * max(sizes)


def test_the_times_and_a_cold_start_are_shown(page):
    def make_cold(route):
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "server-timing": "cold, inference;dur=7.1"})

    page.set_input_files("#file", TROUSERS)
    expect(page.locator("#times")).to_contain_text("decode")
    expect(page.locator("#times")).to_contain_text("in total")
    expect(page.locator("#times")).not_to_contain_text("Cold start")
    page.route("**/predict", make_cold)
    page.set_input_files("#file", TROUSERS)
    expect(page.locator("#times")).to_contain_text("7 ms inference")
    expect(page.locator("#times")).to_contain_text("Cold start")


def test_no_photo_stands_above_another_ones_answer(page, site):
    """The function's answer may arrive before the photo, or the photo before the answer."""
    page.set_input_files("#file", TROUSERS)
    expect_class(page, "pants")
    slow = hold(page, "**/hat.jpg?slow")
    page.fill("#url", f"{site}samples/hat.jpg?slow")
    held = hold(page)
    page.keyboard.press("Enter")
    wait_for(page, held)
    expect(page.locator("#photo img")).to_be_hidden()
    held[0].continue_()
    expect(page.locator("#verdict")).to_have_text("hat")
    expect(page.locator("#photo img")).to_be_hidden()
    for route in slow:
        route.continue_()
    expect_class(page, "hat")
    page.unroute("**/predict")
    page.fill("#url", "http://10.0.0.1/a.jpg")
    page.keyboard.press("Enter")
    expect_error(page, "not on the public")
    expect(page.locator("#photo img")).to_be_hidden()


# ---- Any photo


def test_the_page_knows_the_limits_and_the_sentences_of_the_function():
    assert json.loads(re.search(r"FORMATS = (\[.*\])", CODE)[1]) == list(FORMATS)
    for name in ("MAX_INLINE_BYTES", "MAX_PIXELS"):
        assert int(re.search(rf"{name} = ([\d_]+);", CODE)[1]) == getattr(limits, name)
    assert int(re.search(r" MAX_SIDE = ([\d_]+);", CODE)[1]) == MAX_SIDE
    for data in (HEIC, SVG, save(RGB, "AVIF"), save(RGB, "TIFF"), b"%PDF-1.4", b"<!doctype html>"):
        assert f'"{name_format(data)}"' in CODE


def test_what_the_function_takes_is_sent_as_it_is(page):
    for file_format in FORMATS:
        with page.expect_request("**/predict") as asked:
            choose(page, save(RGB, file_format))
        assert base64.b64decode(json.loads(asked.value.post_data)["image"]) == save(RGB, file_format)
    expect(page.locator("#save")).to_have_attribute("download", "photo")


@pytest.mark.parametrize(("file_format", "name"), [("AVIF", "photo.avif"), ("SVG", "drawing.svg")])
def test_what_the_browser_can_decode_is_sent_as_jpeg(file_format, name, page, tmp_path):
    data = SVG if file_format == "SVG" else save(Image.open(TROUSERS), file_format)
    sent = choose_and_catch(page, data, name)
    assert sent.format == "JPEG"
    expect(page.locator("#bars tr")).to_have_count(10)
    expect(page.locator("#photo img")).to_be_visible()
    with page.expect_download() as saved:
        page.click("#save")
    assert Image.open(saved.value.path()).size == sent.size
    assert saved.value.suggested_filename == f"{Path(name).stem}-sent.jpg"


def test_a_photo_of_many_pixels_in_few_bytes_is_scaled_down(page):
    large = save(Image.open(TROUSERS).convert("RGB").resize((6000, 8000)), "JPEG", quality=30)
    assert len(large) < 2_000_000
    assert choose_and_catch(page, large).size == (1200, 1600)
    expect_class(page, "pants")


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photo_is_made_smaller_and_stays_upright(orientation, page):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.open(TROUSERS).convert("RGB").resize((3000, 4000))
    noise = Image.effect_noise(upright.size, 90).convert("RGB")
    stored = Image.blend(upright, noise, 0.2)
    stored = stored if orientation == 1 else stored.transpose(Image.Transpose.ROTATE_90)
    data = save(stored, "JPEG", exif=exif, quality=90)
    assert len(data) > limits.MAX_INLINE_BYTES
    sent = choose_and_catch(page, data)
    expect_class(page, "pants")
    assert (sent.format, ImageOps.exif_transpose(sent).size) == ("JPEG", (1200, 1600))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The file is empty."),
        (HEIC, "This is a HEIC photo, as iPhones make; export it as JPEG."),
        (save(RGB, "TIFF"), "This is a TIFF photo"),
        (b"%PDF-1.4", "This is a PDF document"),
        (b"<!doctype html>", "This is a web page"),
        (b"x" * 5_000_000, "This browser cannot read that file as a photo."),
    ],
)
def test_what_cannot_be_sent_is_told_and_not_sent(data, words, page):
    page.route("**/predict", lambda route: page.faults.append("sent"))
    choose(page, data)
    expect_error(page, words)


def test_a_broken_file_is_told_in_the_functions_words(page):
    page.set_input_files("#file", TROUSERS)
    expect_class(page, "pants")
    choose(page, b"no photo")
    expect_error(page, "The photo is none of JPEG, PNG, WEBP, GIF, BMP.")
    choose(page, TROUSERS.read_bytes()[:9000])
    expect_error(page, "damaged")
    page.click("#samples button >> nth=0")
    expect_class(page, "dress")


def test_an_address_that_cannot_be_asked_is_told_in_the_functions_words(page):
    for url, words in (
        ("http://no-such-host.invalid/a.jpg", "unknown"),
        ("http://10.0.0.1/a.jpg", "not on the public"),
    ):
        page.fill("#url", url)
        page.click("text=Classify")
        expect_error(page, words)
        expect(page.locator("#photo img")).to_be_hidden()


# ---- Slow and broken networks


@contextmanager
def slow_upload(page):
    """Send a photo of about a megabyte at 100 kB a second; yield when part of it is sent, then restore the speed."""
    network = page.context.new_cdp_session(page)
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
    network.send("Network.emulateNetworkConditions", {**conditions, "uploadThroughput": 100_000})
    noise = save(Image.effect_noise((1400, 1000), 90), "JPEG", quality=95)
    assert 700_000 < len(noise) < 2_000_000
    choose(page, noise)
    expect(page.locator("#step")).to_have_text(re.compile(r"Sending, [1-9]\d? %"))
    yield
    network.send("Network.emulateNetworkConditions", {**conditions, "uploadThroughput": -1})


def test_a_slow_upload_shows_how_far_it_is_and_can_be_cancelled(page):
    with slow_upload(page):
        assert 0 < page.evaluate("$('progress').value") < 1
        expect(page.locator("#wait")).to_contain_text("stops after 40 seconds")
        check_accessibility(page)
        page.click("text=Cancel")
        expect_error(page, "You cancelled this.")
    page.click("text=Try again")
    expect(page.locator("#bars tr")).to_have_count(10)


def test_it_stops_when_no_answer_comes_for_the_time_that_it_states(page):
    page.clock.install()
    held = hold(page)
    page.set_input_files("#file", TROUSERS)
    wait_for(page, held)
    page.clock.run_for(39_000)
    expect(page.locator("#wait")).to_be_visible()
    page.clock.run_for(2_000)
    expect_error(page, "after 40 seconds without progress")


def test_a_server_that_is_killed_in_mid_request_is_told_and_can_be_tried_again(browser, tmp_path):
    page = browser.new_page()
    port = str(free_port())
    with ExitStack() as stack:
        with serving_page(tmp_path, PAGE_PORT=port) as (site, _):
            page.goto(site)
            stack.enter_context(slow_upload(page))
        expect_error(page, "The function cannot be reached.")
    page.click("#samples img[src*=hat]")
    expect_error(page, "The sample could not be loaded.")
    with serving_page(tmp_path, PAGE_PORT=port):
        page.click("text=Retry 2 failed photos")
        expect_class(page, "hat")
    page.close()


def test_a_device_that_is_offline_is_told_and_tries_again_when_asked(page):
    page.context.set_offline(True)
    page.click("#samples img[src*=hat]")
    expect_error(page, "The sample could not be loaded; this device is offline.")
    page.context.set_offline(False)
    page.click("text=Try again")
    expect_class(page, "hat")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 502, "body": "<html>"}, "answered HTTP 502 without JSON"),
        ({"json": {"message": "Missing Authentication Token"}, "status": 403}, "Missing Authentication Token"),
        ({"json": {"Message": "Forbidden"}, "status": 403}, "Forbidden"),
        ({"json": {"errorMessage": "no scores"}}, "without scores"),
        ({"json": []}, "without scores"),
        ({"body": "null"}, "without scores"),
    ],
)
def test_an_answer_that_holds_no_scores_is_told(answer, words, page):
    page.route("**/predict", lambda route: route.fulfill(**answer))
    page.set_input_files("#file", TROUSERS)
    expect_error(page, words)


# ---- Several photos


def test_ten_photos_are_answered_one_after_the_other_and_can_be_looked_at_again(page):
    drop(page, *PHOTOS[:10])
    expect(page.locator("#strip .done")).to_have_count(10, timeout=30_000)
    expect(page.locator("#batch")).to_have_text("10 of 10 photos answered.")
    expect_class(page, PHOTOS[0].parent.name)
    names = page.locator("#strip button").evaluate_all("(buttons) => buttons.map((button) => button.title)")
    assert names == [photo.name for photo in PHOTOS[:10]]
    check_accessibility(page)
    focus(page, "#strip li:nth-child(9) button")
    page.keyboard.press("Enter")
    expect_class(page, PHOTOS[8].parent.name)
    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", PHOTOS[8].name)
    expect(page.locator("#name")).to_have_text(PHOTOS[8].name)


def test_the_history_holds_answers_and_failures_until_it_is_cleared(page):
    page.click("#samples img[src*=hat]")
    expect_class(page, "hat")
    choose(page, b"no photo")
    expect_error(page, "none of JPEG")
    page.click("#samples img[src*=shoes]")
    expect_class(page, "shoes")
    expect(page.locator("#batch")).to_have_text("2 of 3 photos answered.")
    page.click("#strip button >> nth=1")
    expect_error(page, "none of JPEG")
    page.click("#strip button >> nth=0")
    expect_class(page, "hat")
    page.click("text=Clear everything")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#status")).to_be_empty()
    expect(page.locator("#strip li, #photo img")).to_have_count(0)
    expect(page.locator("#file")).to_be_focused()


def test_cancelling_ends_the_waiting_ones_too_and_all_can_be_tried_again(page):
    held = hold(page)
    drop(page, HAT, SHOES, TROUSERS)
    wait_for(page, held)
    page.click("text=Cancel")
    expect(page.locator("#strip .failed")).to_have_count(3)
    page.unroute("**/predict")
    page.click("text=Retry 3 failed photos")
    expect(page.locator("#strip .done")).to_have_count(3)
    expect_class(page, "hat")


def test_a_second_question_is_shown_while_the_first_is_still_running(page):
    held = []
    page.route("**/predict", lambda route: held.append(route) if not held else route.continue_())
    page.click("#samples img[src*=dress]")
    expect(page.locator("#status")).to_have_text("Asking…")
    page.click("#samples img[src*=shoes]")
    expect_class(page, "shoes")
    held[0].continue_()
    expect(page.locator("#strip .done")).to_have_count(2)
    expect_class(page, "shoes")


# ---- Copying and links


def snippet(page, language):
    page.click(f"[data-copy={language}]")
    expect(page.locator("#copied")).to_contain_text("copied")
    return page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("page", [{"permissions": ["clipboard-read", "clipboard-write"]}], indirect=True)
def test_the_request_that_was_made_is_copied_as_code_that_runs(page, site, tmp_path):
    """The file's name contains shell code, which must be quoted and not run."""
    name = "my $(touch 'x') \"photo\".jpg"
    (tmp_path / name).write_bytes(TROUSERS.read_bytes())
    commands = {
        "curl": ["bash", "-c"],
        "Python": [sys.executable, "-c"],
        "JavaScript": ["node", "--input-type=module", "-e"],
    }
    for best, ask in (
        ("pants", lambda: choose(page, TROUSERS.read_bytes(), name)),
        ("hat", lambda: (page.fill("#url", f"{site}samples/hat.jpg?it's"), page.keyboard.press("Enter"))),
    ):
        ask()
        expect_class(page, best)
        for language, command in commands.items():
            code = snippet(page, language)
            assert f"{site}predict" in code
            output = subprocess.check_output([*command, code], cwd=tmp_path, text=True)
            scores = dict(re.findall(r"([a-z-]+)['\"]?: (-?[\d.]+)", output))
            assert max(scores, key=lambda scored: float(scores[scored])) == best, output
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("page", [{"permissions": ["clipboard-read", "clipboard-write"]}], indirect=True)
def test_a_copied_link_opens_the_answer_again(page, site):
    """Tests run offline, so the request's public address is replaced by a sample's on the way to the function."""
    address = "https://photos.example/a hat.jpg"

    def lead_here(route):
        route.continue_(post_data=json.dumps({"url": f"{site}samples/hat.jpg"}))

    def serve_photo(route):
        route.fulfill(path=HAT)

    page.context.route("**/predict", lead_here)
    page.context.route("https://photos.example/*", serve_photo)
    page.fill("#url", address)
    page.keyboard.press("Enter")
    expect_class(page, "hat")
    link = snippet(page, "link")
    assert link == f"{site}?url=https%3A%2F%2Fphotos.example%2Fa%2520hat.jpg"
    page.goto(link)
    expect_class(page, "hat")


def test_what_only_this_machine_can_ask_has_no_link(page, site):
    page.fill("#url", f"{site}samples/hat.jpg")
    page.keyboard.press("Enter")
    expect_class(page, "hat")
    expect(page.locator("#link")).to_be_hidden()


@pytest.mark.parametrize(
    "query",
    [
        *(
            f"url={host}/a.jpg"
            for host in (
                "localhost:1",
                "https://127.0.0.1",
                "https://2130706433",
                "https://[::1]",
                "https://0",
                "https://a.localhost.",
                "https://192.168.0.1",
                "https://172.31.0.1",
                "https://router",
                "http://photos.example",
            )
        ),
        "url=https://photos.example/a.jpg&endpoint=https://photos.example/predict",
        "url=https://photos.example/a.jpg&endpoint=predict",
    ],
)
def test_a_link_does_not_ask_this_machine_or_another_endpoint(query, page, site):
    page.asked.clear()
    page.goto(f"{site}?{query}")
    expect(page.locator("#notice")).to_contain_text("Press Classify")
    expect(page.locator("#empty")).to_be_visible()
    assert page.asked == {urlsplit(site).netloc}


def test_a_link_to_no_address_is_told(page, site):
    page.goto(f"{site}?url=javascript:alert(1)")
    expect(page.locator("#notice")).to_contain_text("must begin with https://")


def test_the_page_cannot_be_framed(page, site, page_elsewhere):
    page.goto(page_elsewhere.replace("index.html", "page.css"))
    page.asked.clear()
    link = f"{page_elsewhere}?url={quote('https://photos.example/a.jpg')}"
    page.set_content(f'<iframe src="{site}"></iframe><iframe src="{link}"></iframe>')
    expect(page.frame_locator("iframe >> nth=1").locator("main")).to_have_text("Open this page in its own window.")
    assert page.frame_locator("iframe >> nth=0").locator("main").count() == 0
    assert "photos.example" not in page.asked
    page.faults.clear()  # the browser reports that it blocked the first frame


# ---- An API key


def test_a_key_is_kept_in_this_tab_and_goes_to_its_endpoint_alone(page, site):
    page.click("summary")
    page.fill("#key", "secret")
    page.reload()
    with page.expect_request("**/predict") as asked:
        page.set_input_files("#file", TROUSERS)
    assert asked.value.headers["x-api-key"] == "secret"
    expect_class(page, "pants")
    page.click("[data-copy=curl]")
    expect(page.locator("#snippet")).to_contain_text("$PREDICT_API_KEY")
    expect(page.locator("#snippet")).not_to_contain_text("secret")
    check_accessibility(page)
    page.goto(f"{site}?endpoint=https://photos.example/predict")
    expect(page.locator("#key")).to_have_value("")
    assert page.evaluate("localStorage.length") == 0


def test_an_api_that_asks_for_a_key_opens_the_field(page):
    forbidden = {"error": {"code": "INVALID_API_KEY", "message": "Forbidden"}}
    page.route("**/predict", lambda route: route.fulfill(status=403, json=forbidden))
    page.set_input_files("#file", TROUSERS)
    expect_error(page, "needs a valid key")
    expect(page.locator("#key")).to_be_visible()


# ---- Phones, keyboards, screen readers


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_on_a_small_phone_the_answer_is_on_the_screen(page):
    def check_fit():
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        for control in page.locator("main button:not(#strip *), input:not(.unseen), .button").all():
            box = control.bounding_box()
            assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 360)

    check_fit()
    page.tap("#samples img[src*=hat]")
    expect_class(page, "hat")
    assert page.locator("#verdict").bounding_box()["y"] < page.locator("#photo img").bounding_box()["y"] < 300
    page.locator("#samples").scroll_into_view_if_needed()
    page.tap("#samples img[src*=shoes]")
    expect_class(page, "shoes")
    expect(page.locator("#verdict")).to_be_in_viewport(ratio=1)
    check_fit()
    drop(page, *PHOTOS[:4])
    expect(page.locator("#strip .done")).to_have_count(6)
    check_fit()
    check_accessibility(page)


def test_the_keyboard_is_enough(page, site):
    page.on("filechooser", lambda _: None)  # keeps a chooser from opening before the test waits for it
    focus(page, "#file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files([TROUSERS, SHIRT])
    expect_class(page, "pants")
    focus(page, "#url")
    page.keyboard.type(f"{site}samples/hat.jpg")
    page.keyboard.press("Enter")
    expect_class(page, "hat")
    focus(page, "#samples button:last-child")
    page.keyboard.press("Enter")
    expect_class(page, "t-shirt")
    focus(page, "#strip li:nth-child(2) button")
    page.keyboard.press("Enter")
    expect_class(page, "shirt")
    focus(page, "#raw")
    page.keyboard.press("Space")
    expect(page.locator("#raw")).to_be_checked()


def test_the_focus_stays_at_the_button_that_cancels_and_tries_again(page):
    held = hold(page)
    page.set_input_files("#file", TROUSERS)
    wait_for(page, held)
    focus(page, "#action")
    page.keyboard.press("Enter")
    expect(page.locator("#action")).to_have_text("Try again")
    page.unroute("**/predict")
    page.keyboard.press("Enter")
    expect_class(page, "pants")
    expect(page.locator("#status")).to_be_focused()


@pytest.mark.parametrize("page", [{"color_scheme": scheme} for scheme in ("light", "dark")], indirect=True)
def test_it_is_accessible(page):
    check_accessibility(page)
    page.click("#samples img[src*=hat]")
    expect_class(page, "hat")
    check_accessibility(page)
    page.click("[data-copy=Python]")
    expect(page.locator("#snippet")).to_be_visible()
    check_accessibility(page)
    choose(page, b"no photo")
    expect_error(page, "none of")
    check_accessibility(page)
    answer_with(page, logits_of(UNSURE_BELOW - 0.02, TEMPERATURE))
    page.set_input_files("#file", SHIRT)
    expect(page.locator("#verdict")).to_have_text("Not sure")
    check_accessibility(page)


# ---- Endpoints


def test_a_page_on_another_host_asks_the_endpoint_in_its_address(browser, page_elsewhere, tmp_path):
    page = browser.new_page()
    with serving_page(tmp_path, CORS_ORIGIN=page_elsewhere.removesuffix("/web/index.html")) as (site, _):
        page.goto(f"{page_elsewhere}?endpoint={site}predict")
        page.fill("#key", "secret", force=True)
        page.click("#samples img[src*=hat]")
        expect_class(page, "hat")
        expect(page.locator("#times")).to_contain_text("inference")
        choose(page, b"no photo")
        expect_error(page, "The photo is none of JPEG, PNG, WEBP, GIF, BMP.")
    page.close()


def test_a_page_elsewhere_gets_no_answer_unless_cors_origin_names_its_site(browser, site, page_elsewhere):
    page = browser.new_page()
    page.goto(f"{page_elsewhere}?endpoint={site}predict")
    page.click("#samples img[src*=hat]")
    expect_error(page, "The function cannot be reached.")
    expect_error(page, "CORS_ORIGIN")
    page.close()


def test_the_page_names_its_own_host_as_the_one_that_gets_the_photo(page, site):
    expect(page.locator("#host")).to_have_text(urlsplit(site).netloc)
    expect(page.locator("#elsewhere")).to_be_hidden()


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://photos.example/predict", "photos.example"),
        ("https://abc.execute-api.eu-west-1.amazonaws.com@photos.example/", "photos.example"),
        ("//photos.example:8443/test/predict", "photos.example:8443"),
    ],
)
def test_a_link_that_names_another_host_is_told_before_anything_is_sent(endpoint, host, browser, site):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    asked = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(f"{site}?endpoint={endpoint}")
    expect(page.locator("#host")).to_have_text(host)
    expect(page.locator("#host")).to_be_in_viewport()
    expect(page.locator("#elsewhere")).to_be_in_viewport()
    check_accessibility(page)
    assert asked == {urlsplit(site).netloc}
    page.close()


@pytest.mark.parametrize("endpoint", ["data:,{}", "javascript:alert(1)", "https://"])
def test_a_link_that_names_no_host_is_told_and_sends_nothing(endpoint, browser, site):
    page = browser.new_page()
    posted = []
    page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
    page.goto(f"{site}?endpoint={endpoint}")
    expect(page.locator("#error")).to_contain_text(endpoint)
    page.set_input_files("#file", TROUSERS)
    expect_error(page, endpoint)
    assert not posted
    page.close()
