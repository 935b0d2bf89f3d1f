"""The page of a comparison in a real browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from lyftlearn.parity._json import dump
from lyftlearn.parity._model import Parity
from lyftlearn.parity._page import page

from . import screenshots
from .samples import mixed
from .screenshots import Scheme
from .test_page import HOSTILE, hostile

WIDTHS = (400, 800, 1600)

# WCAG 2.2: the contrast of every text that is drawn to the nearest opaque colour behind it.
CONTRASTS = """() => {
    const part = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const colour = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => 0.2126 * part(r / 255) + 0.7152 * part(g / 255) + 0.0722 * part(b / 255);
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const found = colour(getComputedStyle(at).backgroundColor);
            if (found.length === 3) return found;
        }
        return [255, 255, 255];
    };
    const drawn = [...document.querySelectorAll('body *')].filter(one => one.checkVisibility()
        && [...one.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.data.trim()));
    return drawn.map(one => {
        const [above, below] = [light(colour(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => b - a);
        return [(above + 0.05) / (below + 0.05), one.className + ' ' + one.textContent.slice(0, 40)];
    });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = screenshots.chromium()
    if path is None:
        pytest.skip("the page is opened in a real browser: apt-get install chromium")
    with screenshots.launched(path) as found:
        yield found


class Opened:
    """A page that is open, and what the browser did for it."""

    def __init__(self, view: Page, path: Path) -> None:
        self.view = view
        self.requests: list[str] = []
        self.complaints: list[str] = []
        view.on("request", lambda request: self.requests.append(request.url))
        view.on("console", lambda message: self.complaints.append(message.text))
        view.on("pageerror", lambda error: self.complaints.append(str(error)))
        view.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        view.goto(path.as_uri())

    def cell(self, fact: str, backend: str) -> Locator:
        row = self.view.locator("tr", has=self.view.get_by_role("rowheader", name=fact, exact=True))
        return row.locator(f'td[data-of="{backend}"] button.cell')

    def card(self) -> Locator:
        return self.view.locator("[popover]:popover-open")


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    with_page = open_page(browser, mixed(), tmp_path)
    yield with_page
    with_page.view.close()


def open_page(browser: Browser, parity: Parity, directory: Path, scheme: Scheme = "light", width: int = 1600) -> Opened:
    path = directory / "page.html"
    path.write_text(page(parity), encoding="utf-8")
    return Opened(browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900}), path)


def unfold(view: Page) -> None:
    view.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


def test_it_asks_for_nothing_and_complains_of_nothing(opened: Opened) -> None:
    """One file, opened where there is no network, is all there is."""
    unfold(opened.view)
    assert [url.partition(":")[0] for url in opened.requests] == ["file"]
    assert opened.complaints == []


def test_a_cell_opens_on_a_click_to_both_values_and_the_reason(opened: Opened) -> None:
    """The question that brings people here is: what was it there, what is it here, and who says that it matters."""
    opened.cell("HOME", "broken").click()
    said = opened.card().inner_text()
    assert [word for word in ('"/home/app"', '"/root"', "✗ broken", "under 'row of kept **'") if word not in said] == []
    opened.card().get_by_text("close").click()
    assert opened.card().count() == 0


def test_a_cell_opens_and_closes_by_keyboard(opened: Opened) -> None:
    """Not everybody has a mouse; the focus is seen, and comes back to the cell."""
    cell = opened.cell("exit 37", "broken")
    for _ in range(100):
        opened.view.keyboard.press("Tab")
        if cell.evaluate("one => one === document.activeElement"):
            break
    assert cell.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    opened.view.keyboard.press("Enter")
    said = opened.card().inner_text()
    assert "37" in said
    assert "absent" in said
    opened.view.keyboard.press("Escape")
    assert opened.card().count() == 0
    assert cell.evaluate("one => one === document.activeElement")


def test_an_equal_cell_opens_to_both_values_too(opened: Opened) -> None:
    """Who doubts that they are equal looks."""
    opened.view.locator("summary", has_text="same everywhere").first.click()
    opened.cell("equal 3", "alike").click()
    assert opened.card().locator("pre").all_inner_texts() == ["3", "3"]


def test_the_whole_of_a_long_value_is_in_its_card_with_the_difference_marked(opened: Opened) -> None:
    """Seven hundred equal characters and then another one: nobody finds that by eye."""
    opened.cell("long", "broken").click()
    assert opened.card().locator("mark").all_inner_texts() == ["y" * 50, "z" * 50]
    assert opened.card().locator("pre").first.inner_text() == '"' + "x" * 700 + "|" + "y" * 50 + '"'


def test_subjects_fold(opened: Opened) -> None:
    """What is broken is seen at once, what is well is one click away."""
    assert opened.view.get_by_role("rowheader", name="HOME", exact=True).is_visible()
    host = opened.view.get_by_role("rowheader", name="host", exact=True)
    assert not host.is_visible()
    opened.view.locator("summary", has_text="free").click()
    assert host.is_visible()


def test_light_and_dark_are_the_reader_s_choice(browser: Browser, tmp_path: Path) -> None:
    """The page follows the system, like every other."""
    found = {}
    for scheme in screenshots.SCHEMES:
        view = open_page(browser, mixed(), tmp_path, scheme=scheme).view
        found[scheme] = view.evaluate("getComputedStyle(document.body).backgroundColor")
        view.close()
    assert found == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}


@pytest.mark.parametrize("scheme", screenshots.SCHEMES)
def test_every_text_can_be_read(browser: Browser, tmp_path: Path, scheme: Scheme) -> None:
    """4.5 to what is behind it, in either scheme, with everything unfolded and a card open."""
    opened = open_page(browser, mixed(), tmp_path, scheme=scheme)
    unfold(opened.view)
    opened.cell("long", "broken").click()
    found = opened.view.evaluate(CONTRASTS)
    opened.view.close()
    assert len(found) > 150
    assert {text.split()[0] for _, text in found} >= {"mark", "what", "faint", "absent", "name"}
    assert [(text, round(ratio, 2)) for ratio, text in found if ratio < 4.5] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(browser: Browser, tmp_path: Path, width: int) -> None:
    """From a phone to a wide screen, nobody scrolls sideways, whatever is unfolded and open."""
    opened = open_page(browser, mixed(), tmp_path, width=width)
    unfold(opened.view)
    opened.cell("long", "broken").click()
    assert opened.view.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.view.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(one => one.checkVisibility() && !one.closest('.hidden')
           && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"""
    ) == []  # fmt: skip
    opened.view.close()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_is_text(browser: Browser, tmp_path: Path, text: str) -> None:
    """The proof that escaping works is a browser that does nothing."""
    opened = open_page(browser, hostile(text), tmp_path)
    unfold(opened.view)
    opened.view.locator("button.cell").click()
    assert opened.card().is_visible()
    assert (len(opened.requests), opened.complaints) == (1, [])
    opened.view.close()


def test_on_paper_it_is_light_and_whole(browser: Browser, tmp_path: Path) -> None:
    """Reports are printed, also by those whose screen is dark."""
    view = open_page(browser, mixed(), tmp_path, scheme="dark").view
    view.emulate_media(media="print")
    assert view.evaluate("getComputedStyle(document.body).color") == "rgb(31, 35, 40)"
    assert view.get_by_role("rowheader", name="HOME", exact=True).is_visible()
    view.close()


def test_pictures_are_taken_by_a_command(tmp_path: Path, browser: Browser) -> None:
    """Pictures in the documentation are made again rather than kept by hand; light and dark, small, the same twice."""
    document = tmp_path / "parity.json"
    document.write_text(dump(mixed()))
    for name in ("one", "two"):
        subprocess.run([sys.executable, screenshots.__file__, tmp_path / name, document], check=True)
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert sorted(pictures) == ["dark.png", "light.png"]
    assert pictures["light.png"] != pictures["dark.png"]
    assert pictures == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert max(map(len, pictures.values())) < 250_000
