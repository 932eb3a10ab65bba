"""Take the README's two pictures of the page: .venv-dev/bin/python tests/screenshots.py

The script asks about the sample photo of a dress twice, so that the picture does not show a cold start. Port 8081 must
be free, because the picture shows it.
"""

import io
import shutil
import tempfile
from pathlib import Path

from conftest import ROOT, serving_page
from PIL import Image
from playwright.sync_api import expect, sync_playwright

WIDTH = 1000


def take(browser, site, scheme):
    """Write web/light.png or web/dark.png."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": WIDTH, "height": 600})
    for _ in range(2):
        page.goto(site)
        page.click("#samples img[src*=dress]")
        expect(page.locator("#verdict")).to_have_text("dress", timeout=60_000)
    page.mouse.move(0, 0)  # so that no button looks hovered
    page.evaluate("document.activeElement.blur()")
    path = ROOT / f"web/{scheme}.png"
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"wrote {path.relative_to(ROOT)}, {path.stat().st_size:,} bytes: {page.text_content('#status')}")


def main():
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with serving_page(Path(folder), PAGE_PORT="8081") as (site, _):
            for scheme in ("light", "dark"):
                take(browser, site, scheme)
        browser.close()


if __name__ == "__main__":
    main()
