"""What the pages show, whatever jobs have written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from time import monotonic, sleep

import pytest

from lyftlearn.parity import _json
from tests.parity.samples import mixed

from . import samples
from .opened import Dashboard, running

HOSTILE = "'\"><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e"
PAGES = ("/", f"/jobs/{samples.job_name(3)}", "/models", "/costs", "/migration", "/parity", "/doctor")
MIGRATION = 'backend = "local"\n[migration]\nfrom = "kubernetes"\nto = "sagemaker"\n'


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parity_document() -> str:
    return _json.dump(mixed())


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("pages") / "home"
    samples.fill(home)
    with running(home, config=MIGRATION) as found:
        found.enter()
        yield found


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("hostile") / "home"
    samples.fill(home, 20, HOSTILE)
    samples.compare(home, 3, HOSTILE)
    (home / "parity.json").write_text(parity_document())
    with running(home, config=MIGRATION) as found:
        found.enter()
        yield found


def settled(dashboard: Dashboard, path: str) -> str:
    """Return a page, once its answer is made."""
    until = monotonic() + 120
    text = dashboard.get(path).text
    while "http-equiv" in text and monotonic() < until:
        sleep(0.2)
        text = dashboard.get(path).text
    assert "http-equiv" not in text
    return text


@pytest.mark.parametrize("path", PAGES)
def test_nothing_that_a_job_wrote_is_markup(hostile: Dashboard, path: str) -> None:
    """Whoever may submit a job must not act as whoever looks at it."""
    html = settled(hostile, path)
    page = Page(html)
    scripts = [attributes.get("src") for tag, attributes in page.elements if tag == "script"]
    assert set(scripts) <= {"/static/dashboard.js"}
    assert "img" not in {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "\x1b" not in html
    assert "\u202e" not in html
    addresses = [str(attributes["href"]) for tag, attributes in page.elements if tag == "a"]
    assert all(address.startswith(("/", "#")) for address in addresses)


def test_a_page_loads_nothing_from_elsewhere_and_is_small(dashboard: Dashboard) -> None:
    """It is opened where there is no network but the machine's own, and over slow tunnels."""
    for path in PAGES:
        html = settled(dashboard, path)
        loaded = [
            str(value)
            for tag, attributes in Page(html).elements
            for name, value in attributes.items()
            if name in ("src", "href") and tag in ("script", "link")
        ]
        assert all(one.startswith("/static/") or one == "data:," for one in loaded), path
    first = dashboard.get("/")
    files = sum(len(dashboard.get(one).content) for one in ("/static/page.css", "/static/dashboard.css"))
    assert len(first.content) + files < 100_000


def test_pages_of_jobs_show_each_once_the_newest_first(dashboard: Dashboard) -> None:
    """Also while others are submitted: a page begins where the one before ended, not at a number."""
    seen: list[str] = []
    path = "/"
    while path:
        html = dashboard.get(path).text
        seen += re.findall(r"<code>(eta-\w+)</code>", html)
        found = re.search(r'href="(/\?[^"]*)" rel="next"', html)
        path = unescape(found[1]) if found else ""
    assert seen == [samples.job_name(number) for number in range(120)]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"status": "failed"}, [3, 10, 17]),
        ({"status": "open"}, []),
        ({"kind": "predict", "team": "maps"}, [8, 20, 32]),
        ({"backend": "sagemaker"}, [1, 3, 5]),
        ({"text": "fare"}, [0, 3, 6]),
        ({"text": samples.job_name(117)}, [117]),
        ({"text": "eta-tk0000000001"}, list(range(10, 20))),
        ({"owner": "nobody"}, []),
        ({"after": "yesterday eta"}, [0, 1, 2]),
        ({"text": "' OR 1=1 --"}, []),
    ],
)
def test_jobs_are_found_by_what_is_known_of_them(
    dashboard: Dashboard, query: dict[str, str], numbers: list[int]
) -> None:
    """Nobody reads a list of thousands."""
    found = re.findall(r"<code>(eta-\w+)</code>", dashboard.get("/", query).text)
    assert found[: len(numbers)] == [samples.job_name(number) for number in numbers]
    assert bool(found) == bool(numbers)


def test_a_job_has_all_that_is_known_of_it(dashboard: Dashboard) -> None:
    """Who opens it wants to know what happened, what it cost, and how to do it again."""
    text = Page(dashboard.get(f"/jobs/{samples.job_name(3)}").text).text
    for fact in (
        "failed",
        "ValueError: no rides",
        "flag: the flag says live",
        "What was asked where it runs",
        "LYFTLEARN_BACKEND",
        "flag move",
        "0.0084 USD",
        "running 4m 00s",
        'lyftlearn.train("fare", ',
        "too many",
        "model.tar.gz",
        "exit code",
    ):
        assert fact in text, fact
    free = Page(dashboard.get(f"/jobs/{samples.job_name(5)}").text).text
    assert "no price known" in free


def test_a_job_that_nobody_knows_is_said_kindly(dashboard: Dashboard) -> None:
    """An id may be of another machine's history."""
    answer = dashboard.get("/jobs/eta-tnothere")
    assert answer.status_code == 404
    assert "knows no such job" in answer.text


def test_models_have_their_figures_on_both_sides(dashboard: Dashboard) -> None:
    """Whether a model is better off is a comparison."""
    rows = Page(settled(dashboard, "/models")).text
    for word in ("eta", "fare", "kubernetes", "sagemaker"):
        assert word in rows
    model = settled(dashboard, "/model?model=eta&repository=rides")
    assert model.count("<svg") == 4
    assert "Cost of a day" in model


def test_costs_are_told_by_team_and_by_what_is_asked_for(dashboard: Dashboard) -> None:
    """What nobody can price is no part of a sum."""
    teams = Page(settled(dashboard, "/costs")).text
    assert "pricing" in teams
    assert "maps" in teams
    assert "kubernetes" in Page(settled(dashboard, "/costs?by=backend")).text
    assert dashboard.get("/costs?by=%3Cscript%3E").status_code == 200


def test_the_migration_and_the_checks_are_pages_too(dashboard: Dashboard) -> None:
    """One place to look."""
    assert "Jobs of each model" in settled(dashboard, "/migration")
    assert "python" in Page(settled(dashboard, "/doctor")).text


def test_twenty_readers_at_once_all_get_their_page(dashboard: Dashboard) -> None:
    """A link in a chat is opened by everybody."""
    with ThreadPoolExecutor(20) as readers:
        pages = list(readers.map(lambda number: dashboard.get(PAGES[number % len(PAGES)]).status_code, range(60)))
    assert set(pages) == {200}


def test_a_history_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Not with a traceback, and not as an empty list."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "history.sqlite").write_bytes(b"this is no database" * 100)
    with running(home) as dashboard:
        dashboard.enter()
        answer = dashboard.get("/")
    assert answer.status_code == 503
    assert "history" in answer.text
