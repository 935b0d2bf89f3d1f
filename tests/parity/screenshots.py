"""Pictures of a page: `python tests/parity/screenshots.py OUT_DIR PARITY_JSON` writes light.png and dark.png.

The same page gives the same bytes in the same browser with the same fonts.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from lyftlearn.parity._json import load
from lyftlearn.parity._page import page

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
SIZE: ViewportSize = {"width": 1280, "height": 900}
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Return the path of the system's browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched(path: str) -> Iterator[Browser]:
    """Run the browser. As root, which its sandbox refuses, it opens nothing but pages of our own."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, chromium_sandbox=os.geteuid() != 0)
        try:
            yield browser
        finally:
            browser.close()


def take(browser: Browser, html: str, out: Path) -> None:
    """Write a picture of the top of the page for each colour scheme."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "page.html"
        path.write_text(html, encoding="utf-8")
        for scheme in SCHEMES:
            view = browser.new_page(viewport=SIZE, color_scheme=scheme)
            view.goto(path.as_uri())
            view.screenshot(path=out / f"{scheme}.png", animations="disabled", caret="hide", scale="css")
            view.close()


def main(out: Path, document: Path) -> None:
    """Read the document and write both pictures."""
    path = chromium()
    if path is None:
        sys.exit("no Chromium is installed: apt-get install chromium")
    out.mkdir(parents=True, exist_ok=True)
    html = page(load(document.read_text(encoding="utf-8"), str(document)))
    with launched(path) as browser:
        take(browser, html, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
