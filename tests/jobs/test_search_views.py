"""Searches as a person sees them: a line, a chart and a table, whatever was tried and whatever came out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

import lyftlearn
from lyftlearn import Choice, JobStatus, Objective, TuningJob
from lyftlearn._jobs import search_progress
from lyftlearn._jobs.search_views import search_html, search_text
from lyftlearn._studies.study import Study
from lyftlearn._studies.trial_record import TrialRecord
from tests.studies.test_ledger import drawn, ended, study

from .test_views import Page

ATTACKS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt;"]
SPACE = {"kind": ["Choice", {"values": ["1", 1, None]}], "depth": ["IntUniform", {"low": 0, "high": 9, "log": False}]}


def searched(trials: int = 4, *, goal: str = "minimize", name: str = "rmse", space: object = SPACE) -> Study:
    document = study(trials, goal).document
    objective = ["Objective", {"name": name, "goal": goal, "pattern": "(.)"}]
    return Study({**document, "search": {**document["search"], "space": space, "objective": objective}})


def tried(number: int, objective: float | None = 0.5, **draw: float) -> TrialRecord:
    return replace(ended(number, objective), draw=draw or {"kind": number % 3, "depth": number})


def started(number: int) -> TrialRecord:
    return replace(drawn(number), draw={"kind": 0, "depth": 1})


def heights(html: str) -> list[int]:
    return [int(y) for y in re.findall(r"M\d+ (\d+)h0", html)]


def test_the_line_counts_the_ended_and_names_the_best() -> None:
    """Whoever waits wants to know how far it is, whether it goes wrong, and what was found."""
    records = [tried(0, 1.25), tried(1, None), tried(2, 0.5), started(3)]
    assert search_text(searched(20), records) == "3 of 20 trials, 1 failed, best rmse=0.5 in trial 2"
    assert search_text(searched(20, goal="maximize"), records).endswith("best rmse=1.25 in trial 0")
    assert search_text(searched(20), []) == "0 of 20 trials"


def test_the_table_keeps_types_and_marks_the_best() -> None:
    """`1` and `"1"` are two values of a search, and a trial that runs has no objective yet."""
    text = Page(search_html(searched(), [tried(0, 2.0), tried(1, 1.0), tried(2, None), started(3)])).text
    for part in ('"1"', "null", "1 (best)", "ValueError: no rides", "unfinished", "failed", "eta-tl00000000003"):
        assert part in text
    assert text.count("(best)") == 1


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_a_search_is_markup(attack: str) -> None:
    """Names, values and messages come from a job's output or its author: none may run where it is looked at."""
    space = {attack: ["Choice", {"values": [attack, {attack: [attack]}]}]}
    records = [tried(0, **{attack: 0}), replace(tried(1, None, **{attack: 1}), message=attack, job_id=attack)]
    page = Page(search_html(searched(name=attack, space=space), records))
    assert attack in page.text
    assert set(page.tags) <= {"div", "svg", "path", "text", "table", "thead", "tbody", "tr", "th", "td", "span", "b"}
    assert page.attributes <= {"style", "scope", "role", "aria-label", "viewbox", "xmlns", "x", "y", "d"}


@pytest.mark.parametrize(
    "objectives",
    [(1.0,), (2.0, 2.0), (-1.7e308, 1.7e308), (5e-324, 0.0), (0.0, -0.0), (1e-300, 1e300)],
)
def test_a_chart_holds_any_numbers(objectives: tuple[float, ...]) -> None:
    """A loss that explodes must not draw outside of the chart, nor break the page."""
    html = search_html(searched(), [tried(number, value) for number, value in enumerate(objectives)])
    assert Page(html).tags.count("svg") == 1
    assert all(0 <= y <= 140 for y in heights(html))
    assert "nan" not in html
    assert "inf" not in html


@pytest.mark.parametrize(("goal", "steps"), [("minimize", 1), ("maximize", 2)])
def test_the_line_of_the_chart_is_the_best_so_far(goal: str, steps: int) -> None:
    """It goes down for a loss and up for a score, and the highest objective is at the top."""
    html = search_html(searched(goal=goal), [tried(0, 2.0), tried(1, 1.0), tried(2, 3.0), tried(3, 4.0)])
    low, high = heights(html)[1], heights(html)[3]
    assert high < low
    line = re.findall(r'd="(M\d+ \d+[HV\dh]*H\d+)"', html)[-1]
    assert line.count("V") == steps


def test_a_search_without_an_objective_has_no_chart() -> None:
    """An empty chart looks like a fault."""
    assert "svg" not in Page(search_html(searched(), [tried(0, None), started(1)])).tags
    assert Page(search_html(searched(), [])).tags == ["div"]


def test_ten_thousand_trials_stay_a_page() -> None:
    """The table has the best and the latest; a notebook is kept for ever, and with it whatever it shows."""
    records = [tried(number, 1 + number % 97 / 97) for number in range(10_000)]
    records[7] = tried(7, 0.0)
    html = search_html(searched(10_000), records)
    page = Page(html)
    assert page.tags.count("tr") == 51
    assert "0 (best)" in page.text
    assert "9999" in page.text
    assert "the table shows 50" in page.text
    assert len(html) < 600_000


def test_a_value_of_any_size_is_cut() -> None:
    """A choice may be a whole document."""
    space = {"kind": ["Choice", {"values": ["x" * 100_000]}]}
    assert len(search_html(searched(space=space), [tried(0, kind=0)])) < 10_000


@pytest.fixture
def search(tmp_path: Path) -> TuningJob:
    client = lyftlearn.Client(config={"home": str(tmp_path / "home")})
    return client.tune(
        "eta",
        command="echo loss=$$(grep -c . $$LYFTLEARN_HYPERPARAMETERS)",
        space={"kind": Choice(["1", 1])},
        objective=Objective(name="loss", goal="minimize", pattern="loss=(.*)"),
        trials=2,
        parallel=2,
        strategy="grid",
    )


def test_a_wait_tells_how_far_the_search_is(
    search: TuningJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver runs all along: its status says nothing of the search. The last look comes after the last trial."""
    monkeypatch.setattr("lyftlearn._jobs.search_progress._PATIENCE", 120.0)  # as long as a busy machine needs
    search.wait("4m", progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert f"{search.id} succeeded" in lines
    assert lines[-1].startswith(f"{search.id} 2 of 2 trials, best loss=")


def test_a_card_of_a_search_has_its_trials(search: TuningJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the id sees what `trials()` has; a storage that is broken or hangs spoils neither card nor wait."""
    search.wait("4m")
    page = Page(lyftlearn.Client(config={"home": str(tmp_path / "home")}).job(search.id)._repr_html_())
    for text in (search.id, *(trial.job.id for trial in search.trials()), "2 of 2 trials", "(best)"):
        assert text in page.text
    (ledger,) = tmp_path.rglob(f"tuning/{search.id}/study.json")
    ledger.write_text("torn")
    other = lyftlearn.Client(config={"home": str(tmp_path / "home")}).job(search.id)
    assert "the trials cannot be read" in Page(other._repr_html_()).text
    assert other.wait(progress=True).status is JobStatus.SUCCEEDED
    free = Event()
    monkeypatch.setattr(TuningJob, "_standing", lambda _: str(free.wait()))
    monkeypatch.setattr(search_progress, "_PATIENCE", 0.1)
    assert other.wait(progress=True).status is JobStatus.SUCCEEDED
    free.set()
