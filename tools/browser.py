"""A headless Chromium for tests and screenshots: Debian's packages chromium and chromium-driver, through selenium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-proxy-server",
)


def missing() -> str | None:
    """Why there is no browser here; None when there is one."""
    for program, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        if shutil.which(program) is None:
            return f"{program} is missing: apt install {package}"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is missing: it is one of the development dependencies"
    return None


@contextmanager
def browser(
    profile: Path, *, width: int = 1000, height: int = 1200, dark: bool = False, scale: float = 1.0
) -> Iterator[Any]:
    """A browser with a fresh profile in the folder `profile`; the window is `width` × `height` CSS pixels.

    Its `performance` log names every request that a page makes.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield driver
    finally:
        driver.quit()


def picture_of_page(driver: Any) -> bytes:
    """The whole page as a PNG, however long it is."""
    import base64

    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    shot = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip, "format": "png"}
    )
    return base64.b64decode(shot["data"])


def requested(driver: Any) -> list[str]:
    """The addresses that pages have asked for since this was asked last, blob: and data: ones left out.

    What Chromium asks for its own pages (`chrome://new-tab-page`, which it shows at its start) is left out too.
    """
    import json

    found = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url, page = message["params"]["request"]["url"], message["params"]["documentURL"]
            if not url.startswith(("blob:", "data:", "chrome")) and not page.startswith("chrome"):
                found.append(url)
    return found
