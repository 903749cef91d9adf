"""The screenshots of docs/: `python tools/screenshots.py OUT` with the output folder of a sweep (`make demo` makes demo).

Needs Debian's packages chromium and chromium-driver, and selenium. Run it under the keys that signed OUT.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from browser import browser, missing, picture_of_page
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from serving import serving

from catalogs.query import Catalog

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WAIT = 120  # seconds for one verdict at most


def main() -> None:
    """Write docs/images/verify-*.png."""
    reason = missing()
    if reason or len(sys.argv) != 2:
        sys.exit(reason or str(__doc__))
    out = Path(sys.argv[1])
    catalog = Catalog(out)
    order = "aesthetic" if "aesthetic" in catalog.scores else "recipe_id"
    best = catalog.query("status = 'ok'", order=order, top=1, as_arrow=True).to_pylist()[0]
    signed = out / best["file"]
    with tempfile.TemporaryDirectory() as folder, serving("--catalog", out) as address:
        stripped = Path(folder) / "from-the-web.jpg"
        Image.open(signed).convert("RGB").save(stripped, quality=85)
        foreign = Path(folder) / "from-a-friend.png"  # mirrored, so that the catalog doesn't know it
        text = PngInfo()
        text.add_text("parameters", f"{best['prompt']}\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1")
        ImageOps.mirror(Image.open(signed).convert("RGB")).save(foreign, pnginfo=text)
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
