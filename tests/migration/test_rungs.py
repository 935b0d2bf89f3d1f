"""Rungs in a flag file: what is written is what flags answer, and what people wrote stays."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from lyftlearn._migration.rungs import LADDER, Rung, Subject, rungs_in, with_rungs
from lyftlearn.backend import Verdict
from lyftlearn.errors import InvalidJob
from lyftlearn.ops import flag_file

FLAG = "lyftlearn-migration"
VARIANTS = {"unset": "unset", "off": "off", "live": "live", "rehearse": "rehearse"}
RUNGS: dict[Subject, Rung] = {(f"rides/{rung}", "eta"): rung for rung in LADDER} | {
    ("maps", "*"): Rung.SHADOW,
    ("maps", "pricing"): Rung.COMPLETE,
    ("unknown", "lost"): Rung.REHEARSE,
    ("a#b/ü \\u", "eta"): Rung.LIVE_100,
}


def answer(document: dict[str, Any], repository: str | None, model: str) -> str:
    core = FlagdCore()
    core.set_flags(json.dumps(document))
    attributes = {"model": model} | ({"repository": repository} if repository else {})
    return str(core.resolve_string_value(FLAG, "unset", EvaluationContext(model, attributes)).value)


def test_flags_answer_what_is_written() -> None:
    """Each model by its own rung, then by its repository's, and everybody else as before."""
    document = with_rungs({"flags": {}}, FLAG, RUNGS)
    assert rungs_in(document, FLAG) == RUNGS
    for rung in LADDER:
        allowed = {rung.stage} if rung.percent == 100 else {"live", "rehearse"}
        assert answer(document, f"rides/{rung}", "eta") in allowed
    assert answer(document, "maps", "other") == "shadow"
    assert answer(document, "maps", "pricing") == "complete"
    assert answer(document, None, "lost") == "rehearse"
    assert answer(document, "a#b/ü \\u", "eta") == "live"
    assert answer(document, "rides/off", "other") == "unset"


@pytest.mark.parametrize(("rung", "percent"), [(Rung.LIVE_10, 10), (Rung.LIVE_50, 50)])
def test_a_part_of_the_jobs_of_each_model_is_moved(rung: Rung, percent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a part of the models: one model alone must show something."""
    document = with_rungs({"flags": {}}, FLAG, {("rides", "eta"): rung})
    core = FlagdCore()
    core.set_flags(json.dumps(document))
    context = EvaluationContext("eta", {"model": "eta", "repository": "rides"})
    answers: Counter[str] = Counter()
    for second in range(1000):
        monkeypatch.setattr("time.time", lambda second=second: 1.8e9 + 7 * second)
        answers[str(core.resolve_string_value(FLAG, "unset", context).value)] += 1
    assert set(answers) == {"live", "rehearse"}
    assert abs(answers["live"] - 10 * percent) < 60


def test_what_people_wrote_stays(tmp_path: Path) -> None:
    """A branch before the autopilot's goes first, one behind goes last, and nothing of the file is lost."""
    first, last = {"==": [{"var": "team"}, "maps"]}, {"==": [{"var": "user"}, "ada"]}
    flag: dict[str, Any] = {"state": "ENABLED", "variants": dict(VARIANTS), "defaultVariant": "unset"}
    flag["targeting"] = {"if": [last, "live", "off"]}
    document = {"flags": {FLAG: flag, "other": {"x": 1}}, "metadata": {"owner": "ml"}}
    once = with_rungs(document, FLAG, {("rides", "eta"): Rung.SHADOW})
    once["flags"][FLAG]["targeting"]["if"][:0] = [first, "off"]
    twice = with_rungs(once, FLAG, {("rides", "eta"): Rung.COMPLETE, ("rides", "fare"): Rung.LIVE_10})
    arguments = twice["flags"][FLAG]["targeting"]["if"]
    assert arguments[:2] == [first, "off"]
    assert arguments[-3:] == [last, "live", "off"]
    assert len(arguments) == 2 + 4 + 3
    assert (twice["metadata"], twice["flags"]["other"]) == ({"owner": "ml"}, {"x": 1})
    assert rungs_in(twice, FLAG) == {("rides", "eta"): Rung.COMPLETE, ("rides", "fare"): Rung.LIVE_10}
    assert with_rungs(twice, FLAG, {})["flags"][FLAG]["targeting"] == {"if": [first, "off", last, "live", "off"]}
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(twice))
    (check,) = flag_file.checks(str(path), FLAG)
    assert check.verdict is Verdict.OK, check


@pytest.mark.parametrize(
    "flag",
    [
        [],
        {"variants": []},
        {"state": "DISABLED", "variants": dict(VARIANTS)},
        {"state": "ENABLED", "variants": {"live": "off"}},
    ],
)
def test_a_flag_that_is_none_is_left_alone(flag: Any) -> None:
    """Whatever it was to say, a person repairs it."""
    document = {"flags": {FLAG: flag}}
    with pytest.raises(InvalidJob):
        rungs_in(document, FLAG)
    with pytest.raises(InvalidJob):
        with_rungs(document, FLAG, {})


@pytest.mark.parametrize("targeting", [None, {}, {"if": []}, {"if": 3}, {"in": []}, {"if": [{"in": [1]}, "live"]}, "x"])
def test_any_targeting_is_kept(targeting: Any) -> None:
    """A rule that the autopilot does not know becomes the last branch."""
    flag = {"state": "ENABLED", "variants": dict(VARIANTS), "targeting": targeting}
    document = with_rungs({"flags": {FLAG: flag}}, FLAG, {("rides", "eta"): Rung.SHADOW})
    assert rungs_in(document, FLAG) == {("rides", "eta"): Rung.SHADOW}
    assert rungs_in(with_rungs(document, FLAG, {}), FLAG) == {}
