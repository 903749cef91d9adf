"""The screenshots of docs/: `python tools/screenshots.py OUT` with the output folder of a sweep (`make demo` makes demo).

A second argument, `verify` or `gallery`, makes only those. Needs Debian's packages chromium and chromium-driver, and
selenium. Run it under the keys that signed OUT, which itself stays as it is.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from browser import browser, missing, picture_of_page
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from serving import serving

from nonesuch.catalogs.picks.log import open_picks
from nonesuch.catalogs.query import Catalog

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WAIT = 120  # seconds for one verdict at most


def main() -> None:
    """Write docs/images/."""
    reason = missing()
    if reason or len(sys.argv) not in (2, 3):
        sys.exit(reason or str(__doc__))
    for name, work in (("verify", verify_pages), ("gallery", gallery_pages)):
        if sys.argv[2:] in ([], [name]):
            work(Path(sys.argv[1]))


def verify_pages(out: Path) -> None:
    """Write docs/images/verify-*.png."""
    catalog = Catalog(out)
    order = "aesthetic" if "aesthetic" in catalog.scores else "recipe_id"
    best = catalog.query("status = 'ok'", order=order, top=1, as_arrow=True).to_pylist()[0]
    signed = out / best["file"]
    with tempfile.TemporaryDirectory() as folder, serving("--catalog", out) as address:
        stripped = Path(folder) / "from-the-web.jpg"
        Image.open(signed).convert("RGB").save(stripped, quality=85)
        foreign = (
            Path(folder) / "from-a-friend.png"
        )  # of another program, so that the catalog doesn't know it
        drawn = ImageOps.autocontrast(Image.effect_mandelbrot((384, 384), (-1.9, -1.2, 0.6, 1.3), 60))
        text = PngInfo()
        text.add_text(
            "parameters", "a glowing fractal coast at dusk\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1"
        )
        ImageOps.colorize(drawn, "#1b1446", "#ffe9b0", mid="#d2547a").save(foreign, pnginfo=text)
        with browser(Path(folder) / "a", height=700) as light:
            light.get(address)
            ask(light, signed)
            write(light, "verify-page.png")
        with browser(Path(folder) / "b", height=700, dark=True) as dark:
            dark.get(address)
            ask(dark, stripped)
            write(dark, "verify-dark.png")
        with browser(Path(folder) / "c", width=390, height=844, scale=2) as phone:
            phone.get(address)
            ask(phone, foreign)
            write(phone, "verify-phone.png")


def gallery_pages(original: Path) -> None:
    """Write docs/images/gallery-*.webp."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        shutil.copytree(original, out)
        log = open_picks(out, "Ada")
        order = Catalog(out).scores[0] if "aesthetic" not in Catalog(out).scores else "aesthetic"
        rows = Catalog(out).query("status = 'ok'", order=order, as_arrow=True)
        ids = rows["recipe_id"].to_pylist()
        log.pick([ids[1], ids[4], ids[9]])
        log.reject([ids[3], ids[7]])
        for number, stars in ((1, 5), (4, 4), (9, 4), (11, 3)):
            log.stars(ids[number], stars)
        log.tag(ids[4], "cover")
        with serving("--catalog", out, "--who", "Ada") as address:
            with browser(Path(folder) / "a", width=1360, height=900) as light:
                show(light, f"{address}gallery")
                light.execute_script("document.querySelectorAll('.shot')[13].focus()")
                shot(light, "gallery.webp")
                show(light, f"{address}image/{ids[4]}", "#verdict .head")
                shot(light, "gallery-image.webp")
                show(light, f"{address}compare?ids={ids[4]},{ids[9]},{ids[11]}")
                shot(light, "gallery-compare.webp")
            with browser(Path(folder) / "b", width=1360, height=900, dark=True) as dark:
                show(dark, f"{address}grid")
                shot(dark, "gallery-grid.webp")
            with browser(Path(folder) / "c", width=390, height=844, dark=True, scale=2) as phone:
                show(phone, f"{address}gallery")
                shot(phone, "gallery-phone.webp")


def show(driver: Any, address: str, wanted: str = "main") -> None:
    """Open a page, and wait until its images and what is `wanted` are there."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get(address)
    there = (
        "return document.querySelector(arguments[0]) && [...document.images].every(i => i.complete ||"
        " i.getBoundingClientRect().top > innerHeight) && document.documentElement.classList.contains('js')"
    )
    WebDriverWait(driver, WAIT).until(lambda d: d.execute_script(there, wanted))
    time.sleep(1)  # until it is painted


def shot(driver: Any, name: str) -> None:
    """Save what the window shows as docs/images/NAME."""
    page = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.save(IMAGES / name, quality=86, method=6)
    print(IMAGES / name)


def ask(driver: Any, file: Path) -> None:
    """Give the page a file and wait until it shows the verdict and the preview."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.find_element("id", "file").send_keys(str(file.resolve()))
    shown = "const i = document.querySelector('#result .preview img'); return Boolean(i && i.complete)"
    WebDriverWait(driver, WAIT).until(lambda d: d.execute_script(shown))
    driver.execute_script("scrollTo(0, 0)")


def write(driver: Any, name: str) -> None:
    """Save the whole page as docs/images/NAME, in 256 colours."""
    page = Image.open(io.BytesIO(picture_of_page(driver))).convert("RGB")
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    print(IMAGES / name)


if __name__ == "__main__":
    main()
