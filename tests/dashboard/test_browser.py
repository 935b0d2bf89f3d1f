"""The dashboard in a real browser: every page, light and dark, wide and narrow; a log that grows; a stop.

The pictures of the documentation are made here: LYFTLEARN_PICTURES names the directory that they are written to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from playwright.sync_api import Browser, Page, expect

import lyftlearn
from tests.parity import screenshots
from tests.parity.screenshots import Scheme

from . import samples
from .opened import Dashboard, running
from .test_pages import MIGRATION, PAGES, parity_document

AXE = files(axe_core_python).joinpath("axe.min.js").read_text(encoding="utf-8")
NARROW, WIDE = 390, 1280
PICTURES = {"/": "jobs", PAGES[1]: "job", "/model?model=eta&repository=rides": "model"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = screenshots.chromium()
    if path is None:
        pytest.skip("pages are opened in a real browser: apt-get install chromium")
    with screenshots.launched(path) as found:
        yield found


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("browser") / "home"
    samples.fill(home)
    (home / "parity.json").write_text(parity_document())
    with running(home, config=MIGRATION) as found:
        yield found


def opened(browser: Browser, dashboard: Dashboard, scheme: Scheme = "light", width: int = WIDE) -> Page:
    """Return a page whose door is open."""
    view = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
    view.set_default_timeout(120_000)
    view.goto(f"{dashboard.address}/?token={dashboard.token}", timeout=600_000)
    return view


def visit(view: Page, dashboard: Dashboard, path: str) -> None:
    """Open a page, and wait until its answer is made."""
    view.goto(f"{dashboard.address}{path}", timeout=600_000)
    expect(view.locator('meta[http-equiv="refresh"]')).to_have_count(0, timeout=600_000)


def violations(view: Page) -> list[str]:
    view.evaluate(AXE)
    found: Any = view.evaluate("axe.run({resultTypes: ['violations']})")
    return [f"{one['id']}: {node['html'][:120]}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.parametrize(("scheme", "width"), [("light", WIDE), ("dark", NARROW)])
def test_every_page_is_for_everybody(browser: Browser, dashboard: Dashboard, scheme: Scheme, width: int) -> None:
    """By axe, and nothing is wider than the screen of a telephone."""
    view = opened(browser, dashboard, scheme, width)
    complaints: list[str] = []
    view.on("console", lambda message: complaints.append(message.text))
    view.on("pageerror", lambda error: complaints.append(str(error)))
    for path in (*PAGES, "/model?model=eta&repository=rides"):
        visit(view, dashboard, path)
        assert violations(view) == [], path
        assert view.evaluate("document.documentElement.scrollWidth") <= width, path
        if scheme == "light" and width == WIDE and path in PICTURES and os.environ.get("LYFTLEARN_PICTURES"):
            view.screenshot(path=Path(os.environ["LYFTLEARN_PICTURES"]) / f"dashboard-{PICTURES[path]}.png")
    assert complaints == []
    view.context.close()


def test_the_keyboard_is_enough(browser: Browser, dashboard: Dashboard) -> None:
    """To the content, to a filter, to a job and back."""
    view = opened(browser, dashboard)
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.textContent") == "Skip to the content"
    view.keyboard.press("Enter")
    view.keyboard.press("Tab")
    view.keyboard.type("fare")
    view.keyboard.press("Enter")
    expect(view).to_have_url(f"{dashboard.address}/?text=fare&status=&kind=&backend=&team=&owner=&repository=#main")
    view.get_by_role("link", name=samples.job_name(3)).focus()
    view.keyboard.press("Enter")
    expect(view.get_by_role("heading", level=1)).to_contain_text("failed")
    view.context.close()


def test_a_log_grows_and_a_job_is_stopped(browser: Browser, tmp_path: Path) -> None:
    """What a job prints appears by itself, as text, and the button does what it says."""
    client = lyftlearn.Client(config={"home": str(tmp_path / "home")})
    job = client.process("eta", command="echo '<b>first</b>'; sleep 2; echo second; sleep 600")
    try:
        with running(tmp_path / "home", "--allow-stop") as dashboard:
            view = opened(browser, dashboard)
            view.goto(f"{dashboard.address}/jobs/{job.id}")
            while view.get_by_role("button", name="Stop this job").count() == 0:
                view.reload()
            expect(view.locator("#log")).to_contain_text("<b>first</b>\nsecond", timeout=600_000)
            assert view.locator("#log b").count() == 0
            view.get_by_role("button", name="Stop this job").click()
            expect(view.get_by_text("The job was asked to stop.")).to_be_visible(timeout=600_000)
            expect(view.locator("#log-state")).to_have_text("the log ends here", timeout=600_000)
            view.context.close()
    finally:
        job.stop()
