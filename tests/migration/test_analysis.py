"""Report, status and guard: their arithmetic against known values, their answers, and the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops
from lyftlearn._migration import statistics
from lyftlearn.errors import InvalidJob
from lyftlearn.history.rows import OutcomeRow, RehearsalRow, SubmissionRow, UsageRow
from lyftlearn.history.store import History

NOW = datetime.now(UTC)
OLD, NEW = "local-kubernetes", "local-sagemaker"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.delenv("LYFTLEARN_HOME", raising=False)
    return Client(config={"home": str(tmp_path), "migration": {"from": OLD, "to": NEW}})


@pytest.fixture
def journal(client: Client) -> History:
    return client._session.recorder.journal()


def ran(number: int, backend: str, *, model: str = "eta", status: str = "succeeded", **others: Any) -> list[Any]:
    """Return the records of one job: 60 s from created to started on the new side, 20 s on the old one."""
    job_id = f"{model}-{backend}-{number}"
    start = NOW + timedelta(seconds=60 if backend == NEW else 20)
    told = {
        "reason": None,
        "at": NOW,
        "shadow_of": None,
        "fell_back": False,
        "stage": "live",
        "source": "flag",
    } | others
    return [
        SubmissionRow(
            job_id=job_id,
            at=told["at"],
            repository="rides/eta",
            model=model,
            kind="train",
            stage=told["stage"],
            source=told["source"],
            backend=backend,
            fell_back=told["fell_back"],
            shadow_of=told["shadow_of"],
        ),
        OutcomeRow(
            job_id=job_id,
            status=status,
            reason=told["reason"],
            exit_code=None,
            created_at=NOW,
            started_at=start,
            finished_at=start + timedelta(seconds=100 + number),
        ),
    ]


def filled(journal: History, jobs: Iterable[list[Any]]) -> None:
    journal.record(*(record for job in jobs for record in job))


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


@pytest.mark.parametrize(
    ("successes", "of", "low", "high"),
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (81, 263, 0.2552885, 0.3662096)],
)
def test_wilsons_interval(successes: int, of: int, low: float, high: float) -> None:
    """The values are those of scipy's `binomtest(...).proportion_ci(method="wilson")`."""
    found = statistics.rate(successes, of)
    assert found is not None
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-6)


def test_no_rate_without_jobs() -> None:
    """Nothing of nothing is no hundred percent."""
    assert statistics.rate(0, 0) is None


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (20, 6), (50, 18), (100, 40)])
def test_interval_of_the_median(count: int, rank: int) -> None:
    """The ranks are those of the sign test's tables at 95 %: with n = 20, the 6th and the 15th value."""
    found = statistics.middle([float(value) for value in range(count, 0, -1)])
    assert found is not None
    assert (found.value, found.low, found.high) == ((count + 1) / 2, rank, count + 1 - rank)


def test_few_times_have_no_interval() -> None:
    """Of five values none is surely below the median: a page must not pretend to know."""
    assert statistics.middle([3.0, 1.0, 2.0]) == statistics.Interval(2.0, None, None)


def test_fishers_tea() -> None:
    """The lady tasting tea: 3 of 4 cups right is 17/70, and 4 of 4 is 1/70."""
    assert statistics.fails_more([(4, 1, 4, 3)]) == pytest.approx(17 / 70)
    assert statistics.fails_more([(4, 0, 4, 4)]) == pytest.approx(1 / 70)


def test_models_are_compared_with_themselves() -> None:
    """A model that always fails, moved alone, must not make the new side look bad (Simpson's paradox)."""
    steady, hopeless = (100, 0, 100, 0), (20, 20, 80, 80)
    assert statistics.fails_more([steady, hopeless]) == pytest.approx(1)
    assert statistics.fails_more([(120, 20, 180, 80)]) < 1e-6


def test_strata_add_up() -> None:
    """Two models with one more failure each are together more than either: the sum of two hypergeometrics, by hand."""
    assert statistics.fails_more([(1, 0, 1, 1), (1, 0, 1, 1)]) == pytest.approx(1 / 4)


def test_many_jobs_are_counted_quickly_and_surely() -> None:
    """A platform's month: numbers whose factorials no float holds."""
    assert statistics.fails_more([(100_000, 1000, 100_000, 1000)]) == pytest.approx(0.5, abs=0.02)


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


def failing(journal: History, old: int, new: int, **others: Any) -> None:
    """Record 50 jobs on each side, of which so many failed."""
    for backend, failed in ((OLD, old), (NEW, new)):
        filled(journal, (ran(n, backend, status="failed" if n < failed else "succeeded", **others) for n in range(50)))


@pytest.mark.parametrize(("old", "new", "verdict"), [(5, 20, "worse"), (5, 6, "not worse"), (20, 5, "not worse")])
def test_a_guard_judges(client: Client, journal: History, old: int, new: int, verdict: str) -> None:
    """Many more failures are worse; one more, or fewer, are not."""
    failing(journal, old, new)
    found = ops.migration_guard(client=client)
    assert (found.verdict, found.worse) == (verdict, verdict == "worse")
    assert found.p_all == pytest.approx(statistics.fails_more([(50, old, 50, new)]))


def test_a_guard_sees_the_platform_behind_the_users_errors(client: Client, journal: History) -> None:
    """Where every third job fails by its own fault, eight that the platform lost would be lost in the crowd."""
    for backend, lost in ((OLD, 0), (NEW, 9)):
        reasons = ["preempted"] * lost + ["user-error"] * (20 - lost) + [None] * 30
        jobs = (ran(n, backend, status="failed" if why else "succeeded", reason=why) for n, why in enumerate(reasons))
        filled(journal, jobs)
    found = ops.migration_guard(client=client)
    assert found.p_all > 0.5
    assert (found.old_failed_by_platform, found.new_failed_by_platform, found.verdict) == (0, 9, "worse")


def test_a_guard_does_not_judge_by_a_few(client: Client, journal: History) -> None:
    """Three failures of three are bad luck as easily as a bad side."""
    filled(journal, [ran(n, NEW, status="failed") for n in range(3)] + [ran(n, OLD) for n in range(50)])
    assert ops.migration_guard(client=client).verdict == "too few jobs"


def test_stopped_and_unknown_jobs_say_nothing(client: Client, journal: History) -> None:
    """Somebody stopped them, or nobody knows: neither is a failure of a side."""
    failing(journal, 5, 5)
    filled(journal, [ran(100 + n, NEW, status="stopped" if n % 2 else "unknown") for n in range(40)])
    assert ops.migration_guard(client=client).new_jobs == 50


@pytest.mark.parametrize("level", [0, 1, -1, 5])
def test_a_level_is_a_probability(client: Client, level: float) -> None:
    """`--level 5` is a mistake for 0.05, and no licence to always stop."""
    with pytest.raises(InvalidJob, match="level"):
        ops.migration_guard(level=level, client=client)


def test_without_a_migration_there_is_nothing_to_report(tmp_path: Path) -> None:
    """The answer says what to configure."""
    with pytest.raises(InvalidJob, match=r"\[migration\] to"):
        ops.migration_report(client=Client(config={"home": str(tmp_path)}))


def command(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "lyftlearn.toml").write_text(f'home = "{tmp_path}"\n[migration]\nfrom = "{OLD}"\nto = "{NEW}"\n')
    argv = [sys.executable, "-m", "lyftlearn.cli", "migration", *words]
    return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)


def test_the_command_line_shows_all_views(tmp_path: Path, journal: History) -> None:
    """A person reads tables, a program JSON, and a pipeline the exit code."""
    failing(journal, 2, 30)
    journal.record(RehearsalRow(job_id=f"eta-{OLD}-1", backend=NEW, faults=[("image", "is missing: push it")]))
    report, status = command(tmp_path, "report"), command(tmp_path, "status")
    assert "image: is missing: push it" in report.stdout
    assert "not rehearsed" not in report.stdout  # live jobs are not to be
    assert re.search(r"eta +live +local-sagemaker +50 +50% +40% \(28%-54%\) +1m 00s", status.stdout)
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
        assert (ran_empty.returncode, ran_empty.stderr) == (0, "no submissions are journalled in this time\n")
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
    assert text.count("<svg") == 4


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
        timeout=240,
        check=True,
    )
    match = re.search("<title>(.*?)</title>", ran_there.stdout)
    assert match
    outside, colour, fits = json.loads(match[1])
    assert (outside, colour, fits) == (0, f"rgb{background}", True)
