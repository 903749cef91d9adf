"""The verification page in a real headless Chromium: dropped, chosen by keyboard, light and dark, on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browser, missing, requested
from web_samples import encoded, hostile_png, picture

from nonesuch.provenance.request import MarkedFile

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

WAIT = 120  # seconds at most; a busy machine may need them

# A drop as the browser would make it: the file's bytes come from the page, the events are real DOM events.
DROP = """
const [name, numbers] = arguments;
const transfer = new DataTransfer();
transfer.items.add(new File([new Uint8Array(numbers)], name, {type: "image/png"}));
const target = document.querySelector("main");
for (const kind of ["dragenter", "dragover", "drop"])
  target.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def answer(driver: Any, headline: str) -> Any:
    """The verdict's card, once it says `headline`."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def shown(d: Any) -> Any:
        cards = d.find_elements(By.CSS_SELECTOR, "#result .card")
        return cards[0] if cards and headline in cards[0].text else None

    return WebDriverWait(driver, WAIT).until(shown)


def test_a_dropped_image_gets_its_verdict(driver: Any, server: str, marked: dict[int, MarkedFile]) -> None:
    requested(driver)
    driver.get(server)
    driver.execute_script(DROP, "fox.png", list(marked[0].data))
    card = answer(driver, "AI-generated")
    for words in (
        "fox.png",
        "Proven",
        "What that means",
        "What it does not mean",
        "What was found",
        "Watermark",
    ):
        assert words in card.text
    preview = driver.execute_script(
        "const i = document.querySelector('.preview img'); return i && [i.alt, i.naturalWidth]"
    )
    assert preview == ["Your image: fox.png", 256]
    assert driver.title.startswith("AI-generated")
    assert driver.execute_script("return document.activeElement.id") == "verdict-title"
    asked = requested(driver)
    assert f"{server}verdict" in asked
    assert all(url.startswith(server) for url in asked), asked
    assert [e for e in driver.get_log("browser") if e["level"] == "SEVERE"] == []


def test_the_page_works_by_keyboard(driver: Any, server: str, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver.get(server)
    body = driver.find_element(By.TAG_NAME, "body")
    reached = []
    for _ in range(10):  # past the links of the head
        body.send_keys(Keys.TAB)
        reached.append(
            driver.execute_script("return document.activeElement.id || document.activeElement.text")
        )
    assert "Skip to the content" in reached
    assert "file" in reached
    (tmp_path / "plain.png").write_bytes(encoded(picture(60)))
    driver.find_element(By.ID, "file").send_keys(str(tmp_path / "plain.png"))
    card = answer(driver, "No evidence of where it came from")
    summary = card.find_element(By.TAG_NAME, "summary")
    summary.send_keys(Keys.ENTER)
    said = json.loads(card.find_element(By.TAG_NAME, "pre").text)
    assert (said["path"], said["verdict"]) == ("plain.png", "no-evidence")


def test_hostile_metadata_runs_nothing(driver: Any, server: str) -> None:
    driver.get(server)
    driver.execute_script(DROP, "<img src=x onerror=document.title='owned'>.png", list(hostile_png()))
    card = answer(driver, "Claimed to be AI-generated")
    assert '<script>document.title="owned"</script>' in card.text
    assert card.find_elements("css selector", "script, img[src='x']") == []
    assert "owned" not in driver.title


def test_a_script_that_got_onto_the_page_would_not_run(driver: Any, server: str) -> None:
    driver.get(server)
    driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = \"owned\"';"
        "document.body.append(s);"
    )
    assert driver.title != "owned"
    refused = " ".join(entry["message"] for entry in driver.get_log("browser"))
    assert "Content Security Policy" in refused


def test_a_second_image_takes_the_place_of_the_first(
    driver: Any, server: str, marked: dict[int, MarkedFile]
) -> None:
    driver.get(server)
    driver.execute_script(DROP, "one.png", list(marked[0].data))
    answer(driver, "one.png")
    driver.execute_script(DROP, "two.png", list(encoded(picture(61))))
    answer(driver, "two.png")
    assert len(driver.find_elements("css selector", "#result .card")) == 1


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_and_fits_a_phone(
    server: str, tmp_path: Path, marked: dict[int, MarkedFile], dark: bool
) -> None:
    with browser(tmp_path, width=360, height=740, dark=dark) as phone:
        phone.get(server)
        phone.execute_script(DROP, "a-name-without-any-place-to-break-" * 6 + ".png", list(marked[0].data))
        answer(phone, "AI-generated")
        assert phone.execute_script("return document.documentElement.scrollWidth") <= 360
        pairs = phone.execute_script(
            "return [...document.querySelectorAll('h1, h2, h3, p, li, dt, dd, summary, nav a, .grade')]"
            ".filter(e => e.offsetParent && e.textContent.trim()).map(e => { let back = e;"
            " const colour = x => getComputedStyle(x).backgroundColor;"
            " while (colour(back) === 'rgba(0, 0, 0, 0)') back = back.parentElement;"
            " return [getComputedStyle(e).color, colour(back), e.textContent]; })"
        )
        assert len(pairs) > 20
        for ink, paper, text in pairs:
            assert contrast(ink, paper) >= 4.5, (ink, paper, text)  # WCAG 2.2, 1.4.3


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two CSS rgb() colours, as WCAG 2.2 defines it."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
