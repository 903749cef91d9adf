"""The gallery in a real headless Chromium: filtering, scrolling, picking by keyboard, the grid, comparing, on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browser, missing, requested
from gallery_samples import COUNT, recipes

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

WAIT = 120  # seconds at most; a busy machine may need them


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile"), width=1200, height=800) as driver:
        yield driver


@pytest.fixture
def open_page(driver: Any, server: str) -> Any:
    """Opens a page once its script runs; afterwards, nothing may have gone wrong in the browser."""

    def opened(path: str) -> Any:
        driver.get(server.rstrip("/") + path)
        until(driver, "return document.documentElement.classList.contains('js')")
        return driver

    yield opened
    asked = requested(driver)
    assert all(url.startswith(server) for url in asked), asked
    severe = [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE"]
    assert severe == []


def until(driver: Any, script: str, *values: Any) -> Any:
    """What the script returns, once that is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, WAIT).until(lambda d: d.execute_script(script, *values))


def press(driver: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def said(driver: Any, words: str) -> None:
    """Wait until a screen reader is told so."""
    until(driver, "return document.getElementById('said').textContent.includes(arguments[0])", words)


def focused(driver: Any) -> str:
    return str(driver.execute_script("return document.activeElement.closest('.tile')?.dataset.id ?? ''"))


def test_filters_answer_at_once_and_stay_in_the_address(open_page: Any, driver: Any) -> None:
    open_page("/gallery")
    assert until(driver, "return document.querySelectorAll('.tile').length") >= 60
    driver.find_element("css selector", "input[name='f.subject'][value='fox']").click()
    until(
        driver,
        "return document.getElementById('count').textContent.trim() === arguments[0]",
        f"{COUNT // 5 - 1} images",
    )
    assert driver.current_url.endswith("/gallery?f.subject=fox")
    until(
        driver,
        "return document.getElementById('heard').textContent.includes(arguments[0])",
        f"{COUNT // 5 - 1} images",
    )
    assert "fox" in driver.find_element("css selector", ".chip").text
    assert driver.execute_script("return document.activeElement.value") == "fox"
    driver.execute_script(
        "const one = document.querySelector('input[name=\"min.aesthetic\"]'); one.value = 5;"
        "one.dispatchEvent(new Event('input', {bubbles: true})); one.dispatchEvent(new Event('change', {bubbles: true}));"
    )
    until(driver, "return document.querySelectorAll('.chip').length === 2")
    assert "min.aesthetic=5" in driver.current_url
    assert "max." not in driver.current_url
    driver.back()
    until(driver, "return document.querySelectorAll('.chip').length === 1")
    search = driver.find_element("id", "words")
    search.send_keys("munch")
    until(driver, "return location.search.includes('q=munch')")
    until(driver, "return document.querySelectorAll('.tile').length === arguments[0]", 10)
    assert driver.execute_script("return document.activeElement.id") == "words"


def test_the_next_images_follow_on_scrolling(open_page: Any, driver: Any) -> None:
    open_page("/gallery?order=plan_index&status=all")
    for _ in range(4):
        driver.execute_script("scrollTo(0, document.body.scrollHeight)")
    until(
        driver,
        "scrollTo(0, document.body.scrollHeight); return document.querySelectorAll('.tile').length === arguments[0]",
        COUNT,
    )
    ids = driver.execute_script("return [...document.querySelectorAll('.tile')].map(t => t.dataset.id)")
    assert ids == [recipe.id for recipe in recipes()]
    assert driver.execute_script("return document.getElementById('next')") is None
    assert driver.execute_script("return document.querySelectorAll('#tiles > :not(li)').length") == 0


def test_picking_by_keyboard_and_undo(open_page: Any, driver: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page("/gallery?order=plan_index&f.subject=owl")
    ids = driver.execute_script("return [...document.querySelectorAll('.tile')].map(t => t.dataset.id)")
    press(driver, Keys.ARROW_RIGHT)
    assert focused(driver) == ids[0]
    press(driver, Keys.ARROW_RIGHT, "p")
    said(driver, "Picked")
    tile = f".tile[data-id='{ids[1]}']"
    assert driver.find_element("css selector", tile).get_attribute("data-verdict") == "picked"
    assert (
        driver.find_element("css selector", f"{tile} button[value^='pick']").get_attribute("aria-pressed")
        == "true"
    )
    press(driver, "4")
    said(driver, "4 stars")
    press(driver, "u")
    said(driver, "Undone: 4 stars")
    press(driver, "u")
    said(driver, "Undone: pick")
    until(driver, "return document.querySelector(arguments[0]).dataset.verdict === ''", tile)
    press(driver, "x")
    said(driver, "Rejected")
    press(driver, Keys.ARROW_DOWN)
    columns = driver.execute_script(
        "const t = [...document.querySelectorAll('.tile')]; return t.findIndex(o => o.offsetTop !== t[0].offsetTop)"
    )
    assert focused(driver) == ids[1 + columns]
    press(driver, Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert focused(driver) == ids[0]
    press(driver, "/")
    assert driver.execute_script("return document.activeElement.id") == "words"
    press(driver, "p1x")  # typed, not spoken of an image
    assert driver.find_element("id", "words").get_attribute("value") == "p1x"
    press(driver, Keys.ESCAPE, "?")
    until(driver, "return document.getElementById('keys').open")
    press(driver, Keys.ESCAPE)
    until(driver, "return !document.getElementById('keys').open")


def test_opening_an_image_judging_it_and_going_on(open_page: Any, driver: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page("/gallery?order=plan_index")
    press(driver, Keys.ARROW_RIGHT, Keys.ENTER)
    until(driver, "return location.pathname.startsWith('/image/') && document.getElementById('stage')")
    all_recipes = recipes()
    assert all_recipes[0].id in driver.current_url
    size = until(driver, "const i = document.getElementById('picture'); return i.complete && i.naturalWidth")
    assert size == 48
    until(driver, "return document.documentElement.classList.contains('js')")
    press(driver, "5")
    said(driver, "5 stars")
    assert len(driver.find_elements("css selector", ".rating[data-on]")) == 5
    press(driver, "t")
    press(driver, "cover", Keys.ENTER)
    said(driver, "Tagged")
    assert "cover" in driver.find_element("css selector", "[data-tags]").text
    until(driver, "return document.querySelectorAll('#like .tile').length > 0")
    until(driver, "return document.querySelector('#verdict .head')")
    assert driver.find_element("css selector", "#verdict .head").text
    press(driver, Keys.ARROW_RIGHT)
    until(driver, "return location.pathname.includes(arguments[0])", all_recipes[1].id)
    until(driver, "return document.documentElement.classList.contains('js')")
    press(driver, Keys.ESCAPE)
    until(driver, "return location.pathname === '/gallery'")
    assert "order=plan_index" in driver.current_url


def test_copying_as_a_sweep_file(open_page: Any, driver: Any, server: str, tmp_path: Path) -> None:
    from nonesuch.generators.matrix.plan import open_matrix
    from nonesuch.generators.sweepfile.sweep import load_sweep

    recipe = recipes()[12]
    driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"origin": server.rstrip("/"), "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    open_page(f"/image/{recipe.id}")
    driver.find_element("css selector", "[data-copy]").click()
    said(driver, "Copied")
    text = driver.execute_async_script(
        "const done = arguments[0]; navigator.clipboard.readText().then(done, e => done('' + e))"
    )
    (tmp_path / "copied.yaml").write_text(text)
    assert [again.id for again in open_matrix(load_sweep(tmp_path / "copied.yaml"))] == [recipe.id]


def test_the_grid_changes_with_its_axes(open_page: Any, driver: Any) -> None:
    from selenium.webdriver.support.ui import Select

    open_page("/grid?rows=subject&columns=artist")
    assert len(driver.find_elements("css selector", ".cross tbody tr")) == 5
    Select(driver.find_element("name", "columns")).select_by_visible_text("seed")
    until(driver, "return document.querySelectorAll('.cross thead th').length === 10")
    assert "columns=seed" in driver.current_url
    colours = driver.execute_script(
        "return [...document.querySelectorAll('.cross td[class^=h]')].map(c => getComputedStyle(c).backgroundColor)"
    )
    assert len(set(colours)) > 4


def test_comparing_and_preferring(open_page: Any, driver: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page("/gallery?order=plan_index&f.subject=castle")
    press(driver, Keys.ARROW_RIGHT, "c", Keys.ARROW_RIGHT, "c")
    until(driver, "return document.querySelector('[data-chosen]').textContent === '2 images'")
    driver.find_element("css selector", "#chosen [type=submit]").click()
    until(
        driver,
        "return document.querySelectorAll('.pane').length === 2 && document.documentElement.classList.contains('js')",
    )
    press(driver, "+", "+")
    moved = driver.execute_script(
        "return [...document.querySelectorAll('.lens img')].map(i => i.style.transform)"
    )
    assert moved[0] == moved[1]
    assert "scale(2)" in moved[0]
    press(driver, "2")
    said(driver, "Preferred")
    panes = driver.find_elements("css selector", ".pane")
    assert [pane.get_attribute("data-preferred") is not None for pane in panes] == [False, True]
    press(driver, "u")
    said(driver, "Undone: preference")


def test_foreign_text_runs_nothing(open_page: Any, driver: Any) -> None:
    open_page("/gallery?q=script")
    assert "owned" not in driver.title
    assert driver.find_elements("css selector", "main script, img[onerror]") == []


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_narrow_phone_and_can_be_read(server: str, tmp_path: Path, dark: bool) -> None:
    ids = [recipe.id for recipe in recipes()[:2]]
    with browser(tmp_path, width=320, height=640, dark=dark) as phone:
        for path in ("/gallery", f"/image/{ids[0]}", "/grid", f"/compare?ids={ids[0]},{ids[1]}"):
            phone.get(server.rstrip("/") + path)
            until(phone, "return document.documentElement.classList.contains('js')")
            assert phone.execute_script("return document.documentElement.scrollWidth") <= 320, path
            for ink, paper, text in phone.execute_script(TEXTS):
                assert contrast(ink, paper) >= 4.5, (path, ink, paper, text)  # WCAG 2.2, 1.4.3
        phone.get(f"{server}gallery")
        until(phone, "return document.documentElement.classList.contains('js')")
        phone.find_element("css selector", ".to-filters").click()
        until(phone, "return document.getElementById('filters').checkVisibility()")
        phone.find_element("css selector", "input[value='fox']").click()
        until(phone, "return location.search === '?f.subject=fox'")
        phone.find_element("css selector", ".panel-close").click()
        until(phone, "return !document.getElementById('filters').checkVisibility()")
        assert phone.execute_script("return document.querySelectorAll('.tile').length") == COUNT // 5 - 1
        scheme = phone.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (luminance(scheme) < 0.1) == dark


# Ink and paper of each element with text of its own; what lies on pictures has its veil as paper.
TEXTS = """
const opaque = c => { const n = c.match(/[\\d.]+/g).map(Number); return n.length < 4 || n[3] >= 0.7; };
return [...document.querySelectorAll('main *, header *')].filter(e => e.checkVisibility({opacityProperty: true})
  && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
  && !e.closest('.hidden, option, template, svg, h1.hidden')).map(e => {
  let back = e;
  while (back.parentElement && !(getComputedStyle(back).backgroundColor.startsWith('rgb')
    && opaque(getComputedStyle(back).backgroundColor))) back = back.parentElement;
  return [getComputedStyle(e).color, getComputedStyle(back).backgroundColor, e.textContent.trim().slice(0, 40)];
}).filter(([ink, paper]) => ink.startsWith('rgb') && paper.startsWith('rgb'));
"""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two CSS rgb() colours, as WCAG 2.2 defines it."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
