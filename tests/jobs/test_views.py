"""Cards, tables and lines: what a person sees of a job."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser

import pytest

from lyftlearn import JobStatus
from lyftlearn._jobs import views
from lyftlearn.backend import Phase, PhaseName, Timings

from .observed import BEGAN, job

VOID = {"br", "hr", "img"}


class Page(HTMLParser):
    """Texts and tags of a page; fails on a tag that is closed out of turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("status", JobStatus)
def test_a_card_shows_what_was_observed(status: JobStatus) -> None:
    """Every status has its card: a new one without a colour would break notebooks."""
    page = Page(views.job_html(job(status, "last words", labels={"team": "eta"})))
    for text in ("eta-tlaaaaaaaaaaa", str(status), "train", "last words", "team=eta"):
        assert text in page.text


def test_a_failed_jobs_card_says_why() -> None:
    """Reason, exit code and duration are the first three questions."""
    text = Page(views.job_html(job(JobStatus.FAILED))).text
    for fact in ("reason user-error", "exit code 3", "duration 2m 05s"):
        assert fact in text


def test_a_card_tells_where_the_time_went() -> None:
    """In words beside the bar; and a job that was started anew waited twice, which is one length."""
    seconds = [0, 3, 4, 40, 41, 161]
    moments = [BEGAN + timedelta(seconds=number) for number in seconds]
    names = [PhaseName.WAITING, PhaseName.FETCHING, PhaseName.WAITING, PhaseName.STARTING, PhaseName.RUNNING]
    phases = tuple(Phase(*phase) for phase in zip(names, moments, moments[1:], strict=False))
    text = Page(views.job_html(job(), timings=Timings(phases))).text
    for fact in ("waiting 39s", "fetching 1.0s", "starting 1.0s", "running 2m 00s"):
        assert fact in text


@pytest.mark.parametrize("attack", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt;"])
def test_what_a_job_says_is_never_markup(attack: str) -> None:
    """A job's output ends in its message: it must not run in the notebook of who looks at it."""
    seen = job(JobStatus.FAILED, attack, name=attack, labels={attack: attack})
    for html in (views.job_html(seen), views.jobs_html([seen])):
        page = Page(html)
        assert attack in page.text
        assert {"script", "img"}.isdisjoint(page.tags)
        assert page.attributes <= {"style", "scope"}


def test_views_carry_their_style_and_load_nothing() -> None:
    """Notebooks are read offline, and sanitizers remove style sheets."""
    html = views.job_html(job()) + views.jobs_html([job()])
    assert {"style", "link", "script"}.isdisjoint(Page(html).tags)
    assert "url(" not in html
    assert "background:#fff" not in html


def test_a_table_of_no_jobs_says_so() -> None:
    """An empty table looks like a fault."""
    assert Page(views.jobs_html([])).text == "no jobs"


def test_a_table_has_a_row_for_each_job() -> None:
    """A table is for many."""
    assert Page(views.jobs_html([job(), job(JobStatus.FAILED), job(JobStatus.PENDING)])).tags.count("tr") == 4


def test_a_row_stays_a_row() -> None:
    """A newline or an escape sequence in a message must not rearrange somebody's terminal."""
    row = views.row(job(JobStatus.FAILED, "one\ntwo\x1b[31m\r\u202e\x07"))
    assert "".join(row).isprintable()


def test_a_row_ends_with_the_reason_and_the_last_line() -> None:
    """Of a traceback in a table, the line that names the error is worth its place."""
    said = "Traceback (most recent call last):\n  File 'train.py', line 3\nValueError: no data\n\n"
    assert views.row(job(JobStatus.FAILED, said))[-1] == "user-error: ValueError: no data"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m 00s"), (3599, "59m 59s"), (7805, "2h 10m"), (90000, "1d 01h")],
)
def test_durations_show_their_two_largest_units(seconds: float, text: str) -> None:
    """Nobody wants seconds of a job of two days, nor `0:00:07`; a clock that goes back must not show."""
    assert views.duration_words(timedelta(seconds=seconds)) == text


def test_a_running_jobs_duration_counts_until_now() -> None:
    """It is what the live line shows."""
    assert views.duration_text(job().state, BEGAN + timedelta(seconds=7)) == "7s"
    assert views.duration_text(job(JobStatus.PENDING).state) == "-"


def test_columns_are_aligned() -> None:
    """Plain tables are read by people and by `awk` alike."""
    assert views.align([("a", "bb", "c"), ("aaa", "b", "")]) == ["a    bb  c", "aaa  b"]


def test_a_card_links_to_the_console() -> None:
    """Who looks for more than the card says should not have to search for the job a second time."""
    assert '<a href="https://console/x?a=1&amp;b=2">' in views.job_html(job(), "https://console/x?a=1&b=2")
    assert "<a " not in views.job_html(job())
