"""The page in a real browser, on the real function."""

import base64
import io
import json
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import PHOTOS, ROOT, TROUSERS, encode, serving_page
from PIL import Image, ImageOps
from playwright.sync_api import expect

SAMPLES = sorted(path.stem for path in (ROOT / "web/samples").glob("*.jpg"))
SHIRT = next(photo for photo in PHOTOS if photo.parent.name == "shirt")
# Make a DataTransfer with a file, from its base64, or with text.
TRANSFER = """([data, text]) => {
  const transfer = new DataTransfer();
  if (data) transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], "photo"));
  else transfer.setData("text/plain", text);
  return transfer;
}"""
# Fire an event that carries a DataTransfer.
PASTE = "(transfer) => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true}))"


@pytest.fixture
def page(browser, site, request):
    """The page, in a window of its own that allows no fault in the console; `asked` are the hosts of its requests."""
    options = getattr(request, "param", {})
    page = browser.new_page(**options)
    page.faults, page.asked = [], set()
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda asked: page.asked.add(urlsplit(asked.url.replace("blob:", "")).netloc))
    page.goto(site)
    yield page
    page.close()
    assert page.faults == []


def expect_class(page, name):
    expect(page.locator("#status")).to_contain_text(f"{name}, ")
    expect(page.locator("#bars th").first).to_have_text(name)
    expect(page.locator("#bars tr")).to_have_count(10)
    expect(page.locator("#photo")).to_be_visible()
    expect(page.locator("#error")).to_be_empty()


def transfer(page, data=None, text=None):
    return page.evaluate_handle(TRANSFER, [data and encode(data), text])


def choose(page, data):
    page.set_input_files("#file", {"name": "photo", "mimeType": "", "buffer": data})


def check_accessibility(page):
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_photo_that_is_dropped_is_classified(page):
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer(page, TROUSERS.read_bytes())})
    expect_class(page, "pants")


def test_a_file_that_is_chosen_is_classified(page):
    page.set_input_files("#file", TROUSERS)
    expect_class(page, "pants")
    page.set_input_files("#camera", SHIRT)
    expect_class(page, "shirt")


def test_a_photo_that_is_pasted_is_classified(page):
    page.evaluate(PASTE, transfer(page, TROUSERS.read_bytes()))
    expect_class(page, "pants")


def test_an_address_that_is_pasted_or_dropped_or_typed_is_classified(page, site):
    page.evaluate(PASTE, transfer(page, text=f"{site}samples/hat.jpg"))
    expect_class(page, "hat")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer(page, text=f"{site}samples/shoes.jpg")})
    expect_class(page, "shoes")
    page.fill("#url", f"{site}samples/dress.jpg")
    page.click("text=Classify")
    expect_class(page, "dress")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_that_is_clicked_is_classified_without_asking_another_host(name, page, site):
    page.click(f"#samples img[src*={name}]")
    expect_class(page, name)
    assert page.asked == {urlsplit(site).netloc}


def test_probabilities_add_up_and_scores_are_shown_on_demand(page):
    page.set_input_files("#file", TROUSERS)
    expect_class(page, "pants")
    percents = [float(text.split()[0]) for text in page.locator("#bars td:last-child").all_inner_texts()]
    assert sum(percents) == pytest.approx(100, abs=0.5)
    assert percents == sorted(percents, reverse=True)
    page.check("#raw")
    scores = [float(text) for text in page.locator("#bars td:last-child").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0


def test_the_times_and_a_cold_start_are_shown(page):
    def make_cold(route):
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "server-timing": "cold, inference;dur=7.1"})

    page.set_input_files("#file", TROUSERS)
    expect(page.locator("#times")).to_contain_text("decode")
    expect(page.locator("#times")).not_to_contain_text("started")
    page.route("**/predict", make_cold)
    page.set_input_files("#file", TROUSERS)
    expect(page.locator("#times")).to_contain_text("inference 7 ms. The function had to be started for it.")


def test_a_broken_file_is_told_in_the_functions_words(page):
    page.set_input_files("#file", TROUSERS)
    expect_class(page, "pants")
    choose(page, b"no photo")
    expect(page.locator("#error")).to_have_text("The photo is none of JPEG, PNG, WEBP, GIF, BMP.")
    expect(page.locator("#scores")).to_be_hidden()
    choose(page, TROUSERS.read_bytes()[:9000])
    expect(page.locator("#error")).to_contain_text("damaged")
    page.click("#samples button >> nth=0")
    expect_class(page, "dress")


def test_an_address_that_cannot_be_asked_is_told_in_the_functions_words(page):
    for url, words in (
        ("http://no-such-host.invalid/a.jpg", "unknown"),
        ("http://10.0.0.1/a.jpg", "not on the public"),
    ):
        page.fill("#url", url)
        page.click("text=Classify")
        expect(page.locator("#error")).to_contain_text(words)
        expect(page.locator("#photo")).to_be_hidden()


def test_a_file_too_large_to_send_that_is_no_photo_is_told(page):
    choose(page, b"x" * 5_000_000)
    expect(page.locator("#error")).to_have_text("This browser cannot read that file as a photo.")


def test_a_function_that_is_gone_is_told(page):
    page.route("**/predict", lambda route: route.abort())
    page.set_input_files("#file", TROUSERS)
    expect(page.locator("#error")).to_have_text("The function cannot be reached.")


def test_a_second_question_takes_the_place_of_one_that_is_still_running(page):
    held = []
    page.route("**/predict", lambda route: held.append(route) if not held else route.continue_())
    page.click("#samples img[src*=dress]")
    expect(page.locator("#status")).to_have_text("Asking …")
    page.click("#samples img[src*=shoes]")
    expect_class(page, "shoes")
    held[0].continue_()
    page.wait_for_timeout(500)
    expect_class(page, "shoes")


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photo_is_made_smaller_and_stays_upright(orientation, page):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.open(TROUSERS).convert("RGB").resize((3000, 4000))
    noise = Image.effect_noise(upright.size, 90).convert("RGB")
    stored = Image.blend(upright, noise, 0.2)
    stored = stored if orientation == 1 else stored.transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", exif=exif, quality=90)
    assert buffer.tell() > 4_400_000
    with page.expect_request("**/predict") as asked:
        choose(page, buffer.getvalue())
    expect_class(page, "pants")
    sent = base64.b64decode(json.loads(asked.value.post_data)["image"])
    photo = ImageOps.exif_transpose(Image.open(io.BytesIO(sent)))
    assert (photo.format or "JPEG", photo.size) == ("JPEG", (1200, 1600))


@pytest.mark.parametrize("page", [{"viewport": {"width": 360, "height": 740}, "has_touch": True}], indirect=True)
def test_it_fits_on_a_small_phone(page):
    page.tap("#samples img[src*=hat]")
    expect_class(page, "hat")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for control in page.locator("button, input:not(.hidden), .button").all():
        box = control.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 360)


def test_the_keyboard_is_enough(page, site):
    def focus(selector):
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"Tab does not lead to {selector}")

    page.on("filechooser", lambda _: None)  # from now on, so that no chooser opens before somebody waits for it
    focus("#file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(TROUSERS)
    expect_class(page, "pants")
    focus("#url")
    page.keyboard.type(f"{site}samples/hat.jpg")
    page.keyboard.press("Enter")
    expect_class(page, "hat")
    focus("#samples button:last-child")
    page.keyboard.press("Enter")
    expect_class(page, "t-shirt")
    focus("#raw")
    page.keyboard.press("Space")
    expect(page.locator("#raw")).to_be_checked()


@pytest.mark.parametrize("page", [{"color_scheme": scheme} for scheme in ("light", "dark")], indirect=True)
def test_it_is_accessible(page):
    check_accessibility(page)
    page.click("#samples img[src*=hat]")
    expect_class(page, "hat")
    check_accessibility(page)
    choose(page, b"no photo")
    expect(page.locator("#error")).not_to_be_empty()
    check_accessibility(page)


def test_a_page_on_another_host_asks_the_endpoint_in_its_address(browser, page_elsewhere, tmp_path):
    page = browser.new_page()
    with serving_page(tmp_path, CORS_ORIGIN=page_elsewhere.removesuffix("/web/index.html")) as (site, _):
        page.goto(f"{page_elsewhere}?endpoint={site}predict")
        page.click("#samples img[src*=hat]")
        expect_class(page, "hat")
        expect(page.locator("#times")).to_contain_text("inference")
        choose(page, b"no photo")
        expect(page.locator("#error")).to_have_text("The photo is none of JPEG, PNG, WEBP, GIF, BMP.")
    page.close()


def test_a_page_elsewhere_gets_no_answer_unless_cors_origin_names_its_site(browser, site, page_elsewhere):
    page = browser.new_page()
    page.goto(f"{page_elsewhere}?endpoint={site}predict")
    page.click("#samples img[src*=hat]")
    expect(page.locator("#error")).to_have_text("The function cannot be reached.")
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
    expect(page.locator("#status")).to_have_text("No answer.")
    expect(page.locator("#error")).to_contain_text(endpoint)
    assert not posted
    page.close()
