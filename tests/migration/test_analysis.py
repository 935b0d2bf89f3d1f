"""Report, status and guard: their arithmetic against known values, their answers, and the page."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn._migration import statistics
from lyftlearn.errors import InvalidJob
from lyftlearn.history.rows import RehearsalRow, UsageRow
from lyftlearn.history.store import History
from tests.migration.records import NEW, NOW, OLD, failing, filled, ran


def rehearsal(number: int, problem: str, *, path: str = "outputs", model: str = "eta", **others: Any) -> list[Any]:
    job_id = f"{model}-{OLD}-{number}"
    return [
        *ran(number, OLD, model=model, **others),
        RehearsalRow(job_id=job_id, backend=NEW, faults=[(path, problem)]),
    ]


@pytest.mark.parametrize(
    "problems",
    [
        [f"is s3://bucket/jobs/{number}/output, where nothing may be written" for number in range(5)],
        [f"image 'rides/eta:2026-11-{number}' is not in the registry" for number in range(5)],
        [f"the bundle {number:064x} has 371 kB" for number in range(5)],
        [f'the label "run-{number}" is too long' for number in range(5)],
    ],
)
def test_a_reason_is_one_however_each_job_words_it(client: Client, journal: History, problems: list[str]) -> None:
    """A report with a row for each job is read by nobody."""
    filled(journal, (rehearsal(number, problem) for number, problem in enumerate(problems)))
    (reason,) = ops.migration_report(client=client).reasons
    assert (reason.count, reason.models, reason.standing) == (5, ("eta",), True)
    assert reason.example in problems
    assert "…" in reason.problem


def test_numbers_tell_reasons_apart(client: Client, journal: History) -> None:
    """64 GiB and 4 GiB of shared memory are two things to mend, and one reason is shown as it is."""
    filled(journal, [rehearsal(1, "is 64 GiB"), rehearsal(2, "is 4 GiB"), rehearsal(3, "is 4 GiB")])
    reasons = ops.migration_report(client=client).reasons
    assert [(reason.problem, reason.count, reason.example) for reason in reasons] == [
        ("is 4 GiB", 2, None),
        ("is 64 GiB", 1, None),
    ]


def test_fall_backs_are_counted_by_reason_and_apart(client: Client, journal: History) -> None:
    """A job that the new side refused was no rehearsal, and why it was refused is what there is to mend."""
    refused = [rehearsal(number, "is not given", path="image", fell_back=True) for number in range(3)]
    filled(journal, [*refused, rehearsal(9, "is 4 GiB"), ran(10, OLD, fell_back=True)])
    report = ops.migration_report(client=client)
    assert report.fell_back == 4
    assert [(reason.path, reason.problem, reason.count) for reason in report.fall_backs] == [
        ("image", "is not given", 3),
        ("backend", "the reason was not recorded", 1),
    ]
    assert [reason.problem for reason in report.reasons] == ["is 4 GiB"]
    assert report.models[0].rehearsed == 1


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_the_interval_of_a_rate_holds_at_every_look(share: float) -> None:
    """Whoever looks again and again sees the truth left out in one migration of twenty, or fewer."""
    missed = 0
    for seed in range(60):
        draw = random.Random(seed)
        ended = [draw.random() < share for _ in range(233)]
        for jobs in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233):
            found = statistics.rate(sum(ended[:jobs]), jobs)
            assert found
            assert found.low is not None
            assert found.high is not None
            if not found.low <= share <= found.high:
                missed += 1
                break
    assert missed <= 6  # 3 are expected at most; 7 or more of 60 have a probability of 3 %


def test_an_interval_shrinks_with_the_jobs() -> None:
    """One that always were from 0 to 1 would hold, too."""
    for successes, of, low, high in ((950, 1000, 0.9208, 0.9713), (0, 10, 0.0, 0.377)):
        found = statistics.rate(successes, of)
        assert found
        assert [found.value, found.low, found.high] == pytest.approx([successes / of, low, high], abs=1e-3)


def test_no_rate_without_jobs() -> None:
    """Nothing of nothing is no hundred percent."""
    assert statistics.rate(0, 0) is None


@pytest.mark.parametrize("count", [7, 8, 20, 50, 100, 1000])
def test_interval_of_the_median(count: int) -> None:
    """It is between two values, which are as far from both ends, and wider than that of the sign test's tables."""
    found = statistics.middle([float(value) for value in range(count, 0, -1)])
    assert found is not None
    assert found.low is not None
    rank = int(found.low)
    assert (found.value, found.high) == ((count + 1) / 2, count + 1 - rank)
    assert 1 <= rank <= count / 2 - math.sqrt(count) / 2


def test_few_times_have_no_interval() -> None:
    """Of five values none is surely below the median: a page must not pretend to know."""
    assert statistics.middle([3.0, 1.0, 2.0]) == statistics.Interval(2.0, None, None)


def test_status_of_both_sides(client: Client, journal: History) -> None:
    """Shares, rates and times, over a hundred jobs whose figures are known."""
    filled(journal, (ran(number, OLD) for number in range(60)))
    filled(journal, (ran(number, NEW, status="failed" if number < 8 else "succeeded") for number in range(40)))
    total = ops.migration_status(client=client).total
    assert (total.share, total.old.jobs, total.new.jobs, total.new.failed) == (0.4, 60, 40, 8)
    assert (total.old.success_rate, total.new.success_rate) == (statistics.rate(60, 60), statistics.rate(32, 40))
    assert total.old.start_up is not None
    assert total.new.start_up is not None
    assert (total.old.start_up.value, total.new.start_up.value) == (20, 60)
    assert total.new.duration == statistics.middle([100.0 + number for number in range(8, 40)])


def test_status_tells_what_a_job_costs_on_either_side(client: Client, journal: History) -> None:
    """The same model's jobs, before and after: by those whose cost is known."""
    filled(journal, [ran(1, OLD), ran(2, OLD), ran(3, OLD), ran(1, NEW)])
    for job_id, cost in ((f"eta-{OLD}-1", 1.0), (f"eta-{OLD}-2", 2.0), (f"eta-{NEW}-1", 0.9)):
        journal.record(UsageRow(job_id=job_id, cost=cost, currency="USD"))
    (eta,) = ops.migration_status(client=client).models
    assert (eta.old.cost, eta.old.currency, eta.new.cost, eta.shadow.cost) == (1.5, "USD", 0.9, None)


def test_status_of_each_model(client: Client, journal: History) -> None:
    """The stage is that of the newest submission; what fell back, and what went elsewhere, is told."""
    filled(journal, [ran(1, OLD, at=NOW - timedelta(days=1), stage="off"), ran(1, NEW)])
    filled(
        journal, [ran(2, OLD, fell_back=True), ran(3, "local", model="other", stage=None, source="LYFTLEARN_BACKEND")]
    )
    eta, other = ops.migration_status(client=client).models
    assert (eta.model, eta.stage, eta.fell_back, round(eta.share, 2)) == ("eta", "live", 1, 0.33)
    assert (other.stage, other.elsewhere, other.share) == (None, 1, 0.0)


def test_a_window_leaves_out_what_is_older(client: Client, journal: History) -> None:
    """Raising a percentage is an act on what happened since the last time."""
    filled(journal, [ran(1, OLD, at=NOW - timedelta(days=10)), ran(2, OLD)])
    assert ops.migration_status("7d", client=client).total.old.jobs == 1
    assert ops.migration_status(None, client=client).total.old.jobs == 2
    assert ops.migration_report(NOW + timedelta(seconds=1), client=client).models == ()


def test_ids_in_reasons_are_one_reason(client: Client, journal: History) -> None:
    """A reason that names its job is the same for every job; one that names a number may be another."""
    for number, job_id in enumerate(["eta-tgaaaaaaaaaaa", "eta-tgbbbbbbbbbbb"]):
        journal.record(ran(number, OLD)[0])
        faults = [("name", f"{job_id!r} is taken: wait"), ("cpu", f"{number} is too few: ask for 4")]
        journal.record(RehearsalRow(job_id=f"eta-{OLD}-{number}", backend=NEW, faults=faults))
    reasons = {reason.problem: reason.count for reason in ops.migration_report(client=client).reasons}
    assert reasons == {"'ID' is taken: wait": 2, "0 is too few: ask for 4": 1, "1 is too few: ask for 4": 1}


def test_without_a_migration_there_is_nothing_to_report(tmp_path: Path) -> None:
    """The answer says what to configure."""
    with pytest.raises(InvalidJob, match=r"\[migration\] to"):
        ops.migration_report(client=Client(config={"home": str(tmp_path)}))


def command(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "lyftlearn.toml").write_text(f'home = "{tmp_path}"\n[migration]\nfrom = "{OLD}"\nto = "{NEW}"\n')
    argv = [sys.executable, "-m", "lyftlearn.cli", "migration", *words]
    return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)


def test_the_command_line_shows_all_views(tmp_path: Path, journal: History) -> None:
    """A person reads tables, a program JSON, and a pipeline the exit code."""
    failing(journal, 2, 30)
    journal.record(RehearsalRow(job_id=f"eta-{OLD}-1", backend=NEW, faults=[("image", "is missing: push it")]))
    report, status = command(tmp_path, "report"), command(tmp_path, "status")
    assert "image: is missing: push it" in report.stdout
    assert "not rehearsed" not in report.stdout  # live jobs are not to be
    assert re.search(r"eta +live +local-sagemaker +50 +50% +40% \([0-9]+%-[0-9]+%\) +1m 00s", status.stdout)
    guard = command(tmp_path, "guard", "--json")
    assert (guard.returncode, json.loads(guard.stdout)["verdict"]) == (12, "worse")
    assert command(tmp_path, "guard", "--since", "2020-01-01", "--level", "1e-30").returncode == 0
    assert json.loads(command(tmp_path, "status", "--json").stdout)["total"]["share"] == 0.5
    page = command(tmp_path, "report", "--html", "page.html")
    assert (page.returncode, page.stderr) == (0, "written to page.html\n")
    assert "is missing: push it" in (tmp_path / "page.html").read_text()


def test_an_empty_journal_is_no_error(tmp_path: Path) -> None:
    """The first look at a migration comes before its first job."""
    for view in ("report", "status"):
        ran_empty = command(tmp_path, view)
        assert (ran_empty.returncode, ran_empty.stderr) == (0, "no submissions were recorded in this time\n")
    assert command(tmp_path, "guard").returncode == 0
    assert command(tmp_path, "report", "--html", str(tmp_path / "page.html")).returncode == 0


class Page(HTMLParser):
    """Collects what a page would load, and whether its elements are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.loaded += [tag] if tag in ("script", "link", "iframe", "img") else []
        self.open += [tag] if tag != "meta" else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Stands alone."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
def page(tmp_path: Path, journal: History) -> Path:
    """A page about hostile names, differing shadows and failing jobs."""
    failing(journal, 2, 30)
    filled(journal, [ran(n, OLD, model=HOSTILE) for n in range(7)])
    journal.record(RehearsalRow(job_id=f"eta-{OLD}-1", backend=NEW, faults=[("image", f"{HOSTILE}: push it")]))
    assert command(tmp_path, "report", "--html", str(tmp_path / "page.html")).returncode == 0
    return tmp_path / "page.html"


def test_the_page_is_whole_and_alone(page: Path) -> None:
    """It is mailed and kept: it must load nothing, run nothing, and show names as what they are."""
    text = page.read_text()
    found = Page(text)
    assert (found.loaded, found.open) == ([], [])
    assert "url(" not in text
    assert HOSTILE not in text
    assert text.count("<svg") == 5


CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(("scheme", "background"), [("1", (255, 255, 255)), ("0", (13, 17, 23))], ids=["light", "dark"])
def test_the_page_in_a_browser(page: Path, tmp_path: Path, scheme: str, background: tuple[int, ...]) -> None:
    """A browser draws it in the reader's own scheme, and what is drawn is inside its picture."""
    probe = (
        "<script>addEventListener('load', () => { const out = [...document.querySelectorAll('svg')].flatMap(svg => "
        "[...svg.querySelectorAll('text,rect,circle')].filter(e => { const b = e.getBBox(), v = svg.viewBox.baseVal; "
        "return b.x < -1 || b.x + b.width > v.width + 1 || b.y + b.height > v.height + 1 })).length;"
        "document.title = JSON.stringify([out, getComputedStyle(document.body).backgroundColor,"
        "document.documentElement.scrollWidth <= innerWidth]) })</script>"
    )
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", f"{probe}</body>"))
    ran_there = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            probed.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    match = re.search("<title>(.*?)</title>", ran_there.stdout)
    assert match
    outside, colour, fits = json.loads(match[1])
    assert (outside, colour, fits) == (0, f"rgb{background}", True)
