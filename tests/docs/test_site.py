"""The documentation as a site: built as `make docs` builds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

import lyftlearn

from .site import DOCS, build

ROOT = DOCS.parent
TYPES_ONLY = {"JSON", "Duration"}
pytestmark = pytest.mark.timeout(1200)  # the site is built first


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


def test_every_public_name_has_its_place_in_the_reference(site: Path) -> None:
    """A function that is added to the API and not to the page is found by nobody."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    documented = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    public = {f"lyftlearn.{name}" for name in set(lyftlearn.__all__) - TYPES_ONLY}
    assert public - documented == set()
    methods = {f"lyftlearn.Job.{name}" for name in vars(lyftlearn.Job) if not name.startswith("_")}
    assert methods - documented == set()


def test_the_site_needs_no_network(site: Path) -> None:
    """Many clusters have no way out, and a page that waits for a font server there stays white."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    loads = re.compile(r'<(?:script|img|iframe)\b[^>]*\bsrc="(https?:)?//|<link\b[^>]*\bhref="(https?:)?//')
    assert [page.name for page in pages if loads.search(page.read_text(encoding="utf-8"))] == []


def test_programs_find_their_page_and_the_schemas(site: Path) -> None:
    """A model reads llms.txt and follows its links; one that leads nowhere sends it guessing."""
    text = (site / "llms.txt").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert {"lyftlearn-json.schema.json", "lyftlearn.schema.json", "reference/api.html"} <= set(links)
    assert [link for link in links if not (site / link).exists()] == []
    assert text.startswith("# lyftlearn\n\n> ")
    assert len(text) < 6000, "it is read whole, every time"


def test_every_page_is_in_the_menu() -> None:
    """Each page is in exactly one of the four parts, and its part says what kind of page it is."""
    listed = re.findall(
        r"^(?:tutorial|how-to|reference|explanation)/[\w-]+$", (DOCS / "index.md").read_text(), re.MULTILINE
    )
    pages = [str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.glob("*/*.md")]
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "images/README.md"])
def test_links_from_outside_the_site_lead_somewhere(page: str) -> None:
    """The README is the door; Sphinx does not look at it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_pages_that_the_code_names_are_there() -> None:
    """A message that sends its reader to a page must not send them to where it was last year."""
    sources = [path for name in ("lyftlearn", "backends", "tests") for path in (ROOT / name).rglob("*.py")]
    named = {
        page
        for path in (*sources, ROOT / "Makefile")
        for page in re.findall(r"\bdocs/[\w-]+/[\w-]+\.(?:md|json|txt)\b", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 3
    assert {page for page in named if not (ROOT / page).exists()} == set()
