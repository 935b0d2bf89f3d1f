"""The documentation's site in a real browser, opened from a disk without any network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.parity import screenshots
from tests.parity.screenshots import Scheme
from tests.parity.test_browser import CONTRASTS

from .site import build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # the site is built first

PHONE = 400
PAGES = (
    "index.html",
    "tutorial/quick-start.html",
    "how-to/sagemaker.html",
    "reference/api.html",
    "reference/environment.html",
    "reference/parity.html",
    "explanation/architecture.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = screenshots.chromium()
    if path is None:
        pytest.skip("the site is opened in a real browser: apt-get install chromium")
    with screenshots.launched(path) as found:
        yield found


class Visit:
    """A page that is open, what it loaded, and what the browser complained about."""

    def __init__(self, browser: Browser, url: str, *, scheme: Scheme = "light", width: int = 1280) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", screenshots.SCHEMES)
def test_a_page_can_be_read_on_a_phone(browser: Browser, site: Path, name: str, scheme: Scheme) -> None:
    """Whoever is called at night reads on a phone, in the dark: all of it fits, and every text stands out."""
    visit = Visit(browser, (site / name).as_uri(), scheme=scheme, width=PHONE)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE
    contrasts = visit.page.evaluate(CONTRASTS)
    visit.page.close()
    assert len(contrasts) > 20
    assert [(text, round(ratio, 2)) for ratio, text in contrasts if ratio < 4.5] == []
    assert {url.partition(":")[0] for url in visit.requests} == {"file"}
    assert visit.complaints == []


def test_light_and_dark_are_the_reader_s_choice(browser: Browser, site: Path) -> None:
    """The site follows the system, and a button overrules it."""
    colours = {}
    for scheme in screenshots.SCHEMES:
        page = Visit(browser, (site / "index.html").as_uri(), scheme=scheme).page
        colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.close()
    assert colours["light"] == "rgb(255, 255, 255)"
    assert colours["dark"] != colours["light"]
    page = Visit(browser, (site / "index.html").as_uri(), scheme="dark").page
    page.locator("button.theme-toggle:visible").click()
    assert page.evaluate("document.body.dataset.theme") == "light"
    page.close()


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("LYFTLEARN_PLATFORM_CONFIG", "reference/environment.html"),
        ("QuotaExceeded", "reference/errors.html"),
        ("hyperparameters", "reference/cli.html"),
        ("warm pool", "how-to/sagemaker.html"),
    ],
)
def test_the_search_works_without_a_server(browser: Browser, site: Path, words: str, page: str) -> None:
    """A site that was unpacked from an archive is searched like any other, and the result opens."""
    visit = Visit(browser, (site / "index.html").as_uri())
    visit.page.get_by_role("textbox").first.fill(words)
    visit.page.keyboard.press("Enter")
    result = visit.page.locator(f'#search-results a[href^="{page}"]').first
    result.wait_for(timeout=600_000)
    result.click()
    visit.page.wait_for_url(f"**/{page}*")
    assert words.lower().split()[0] in visit.page.locator("article").inner_text().lower()
    assert visit.complaints == []
    visit.page.close()
