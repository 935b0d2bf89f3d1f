"""What a comparison makes of observations."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn.parity._compare import NOTHING_OBSERVED, UNCLASSED, compare
from lyftlearn.parity._model import Observation, Verdict
from lyftlearn.parity._rules import Rules
from lyftlearn.parity._values import difference, excerpt, json_text

from .samples import RULES, STARTED, Facts, compared, rule, verdicts

EQUAL, NOISE, ALLOWED, UNKNOWN, BROKEN = (
    Verdict.EQUAL,
    Verdict.NOISE,
    Verdict.ALLOWED,
    Verdict.UNKNOWN,
    Verdict.BROKEN,
)
OF_CLASS = {"kept": BROKEN, "free": ALLOWED, "other": UNKNOWN}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner))
WORDS = st.sampled_from(["a", "b", "c", "7", "42", "worker-3", "0f3a9c21e"])
PATHS = st.builds("{} {} {}".format, st.sampled_from(["kept", "free", "other"]), WORDS, WORDS)
FEW = st.sampled_from([None, True, 1, 1.0, "1", "", [1], {"a": None}])  # so that equal ones meet
FACTS = st.dictionaries(PATHS, FEW, min_size=1, max_size=8)


@given(FACTS)
def test_a_thing_is_equal_to_itself(facts: Facts) -> None:
    """An instrument that sees differences where there are none is believed by nobody."""
    parity = compared(facts, facts, new=facts)
    assert set(verdicts(parity).values()) == {EQUAL}
    assert parity.holds


@given(FACTS, FACTS, FACTS, FACTS)
def test_the_order_of_backends_does_not_matter(one: Facts, two: Facts, three: Facts, four: Facts) -> None:
    """Every backend is held against the reference, and none against its neighbour."""
    there, back = compared(one, two, a=three, b=four), compared(one, two, b=four, a=three)
    assert {row.path: dict(row.cells) for row in there.rows} == {row.path: dict(row.cells) for row in back.rows}
    assert [row.path for row in there.rows] == [row.path for row in back.rows]
    alone = verdicts(compared(one, two, a=three), "a")
    assert alone == {path: of for path, of in verdicts(there, "a").items() if path in alone}


@given(FACTS, FACTS)
def test_against_a_steady_reference_every_difference_is_in_the_class_of_its_rule(old: Facts, new: Facts) -> None:
    """Equal exactly if equal, and otherwise what the rules say: no difference is lost, none is in two classes."""
    found = verdicts(compared(old, old, new=new))
    same = {path for path in old.keys() & new.keys() if json_text(old[path]) == json_text(new[path])}
    expected = {path: EQUAL if path in same else OF_CLASS[path.split()[0]] for path in old.keys() | new.keys()}
    assert found == expected


@given(FACTS, FACTS, FACTS, st.sampled_from([None, "broken", 7]))
def test_noise_never_hides_a_broken_contract_elsewhere(one: Facts, two: Facts, new: Facts, value: Any) -> None:
    """However restless the rest is, a steady fact of the contract that differs is broken."""
    steady = {"kept steady": "as promised"}
    broken = {"kept steady": value} if value is not None else {}
    assert verdicts(compared(one | steady, two | steady, new={**new, **broken, "x": 1}))["kept steady"] is BROKEN


@given(FACTS, FACTS, FACTS)
def test_of_the_contract_nothing_is_noise(one: Facts, two: Facts, new: Facts) -> None:
    """Two runs that disagree on what was promised are a finding themselves, and fail."""
    parity = compared(one, two, new=new)
    assert not [row for row in parity.rows if row.subject == "kept" and row.worst in (NOISE, ALLOWED)]
    disagreed = {path for path in one.keys() & two.keys() if json_text(one[path]) != json_text(two[path])}
    assert all(row.worst in (UNKNOWN, BROKEN) for row in parity.rows if row.path in disagreed and row.subject == "kept")


@given(FACTS, FACTS)
def test_a_run_of_the_reference_is_never_unknown_or_broken_outside_the_contract(one: Facts, two: Facts) -> None:
    """What the reference does itself, another backend may do too."""
    found = verdicts(compared(one, two, new=two))
    assert not [path for path, of in found.items() if of in (UNKNOWN, BROKEN) and not path.startswith("kept")]


def test_a_value_that_differs_between_two_runs_is_noise_and_says_what_it_was() -> None:
    """Whoever doubts the noise sees what it was learnt from; that others are constant changes nothing."""
    parity = compared({"other time": 1}, {"other time": 2}, new=[{"other time": 5}, {"other time": 5}])
    assert parity.rows[0].cells["new"].verdict is NOISE
    assert parity.rows[0].cells["new"].reason == "two runs on old differ in it: 1 and 2"


@pytest.mark.parametrize("value", ["5", None, [5], True])
def test_noise_in_a_number_does_not_excuse_another_type(value: Any) -> None:
    """A number that became a text is the commonest break of all, and must not hide behind a clock."""
    assert verdicts(compared({"other time": 1}, {"other time": 2.5}, new={"other time": value})) == {
        "other time": UNKNOWN
    }


def test_noise_in_a_value_does_not_excuse_its_absence() -> None:
    """Both runs have it, so programs may count on it."""
    assert verdicts(compared({"other t": 1, "x": 1}, {"other t": 2, "x": 1}, new={"x": 1}))["other t"] is UNKNOWN


def test_what_only_one_run_has_may_be_there_or_not() -> None:
    """Presence is learnt as noise like a value, but not together with any value at all."""
    one, two = {"x": 1, "other lock": "pid 4"}, {"x": 1}
    parity = compared(one, two, there={**two, "other lock": "pid 7"}, absent=two, strange={**two, "other lock": 7})
    row = next(row for row in parity.rows if row.path == "other lock")
    assert {name: cell.verdict for name, cell in row.cells.items()} == {
        "there": NOISE,
        "absent": NOISE,
        "strange": UNKNOWN,
    }


def test_members_that_come_and_go_are_noise_as_a_family() -> None:
    """A process has another number in each run, so no run of another backend could ever have the same paths."""
    steady = {"other process 1 name": "init"}
    found = verdicts(
        compared(
            steady | {"other process 4242 name": "sh"},
            steady | {"other process 4300 name": "sh"},
            new=steady | {"other process 17 name": "sh", "other process 17 user": "root"},
        )
    )
    assert found["other process 17 name"] is NOISE
    assert found["other process 17 user"] is UNKNOWN
    assert found["other process 1 name"] is EQUAL


def test_a_steady_member_of_a_restless_family_is_held_to_its_value() -> None:
    """Descriptors 0, 1 and 2 are promised, whatever else is open for a moment."""
    one, two = {"other fd 0": "p", "other fd 7": "s"}, {"other fd 0": "p", "other fd 9": "s"}
    found = verdicts(compared(one, two, new={"other fd 8": "s"}))
    assert (found["other fd 0"], found["other fd 8"]) == (UNKNOWN, NOISE)


def test_a_family_is_not_learnt_from_one_run_alone() -> None:
    """A fact that one run lacks is one flake; it must not excuse every numbered neighbour."""
    found = verdicts(compared({"x": 1, "other exit 137": 1}, {"x": 1}, new={"x": 1, "other exit 3": 1}))
    assert found["other exit 3"] is UNKNOWN


def test_a_restless_fact_of_the_contract_is_told_with_both_of_its_values() -> None:
    """Silence would mean that a flaky old platform passes for parity."""
    cell = compared({"kept port": 8125}, {"kept port": 8126}, new={"kept port": 8125}).rows[0].cells["new"]
    assert cell.verdict is UNKNOWN
    assert "under 'row of kept **'" in cell.reason
    assert "8125 and 8126" in cell.reason


def test_a_backend_that_was_not_observed_is_broken_throughout() -> None:
    """Jobs that could not run are the largest difference there is."""
    parity = compared({"kept a": 1, "free b": 2}, {"kept a": 1, "free b": 3}, new={}, fine={"kept a": 1, "free b": 2})
    assert set(verdicts(parity).values()) == {Verdict.NOT_OBSERVED}
    assert not parity.holds
    assert {row.cells["new"].reason for row in parity.rows} == {NOTHING_OBSERVED}
    assert BROKEN not in verdicts(parity, "fine").values()
    assert not parity.holds


def test_of_several_runs_of_one_backend_the_worst_counts() -> None:
    """A fact that breaks in every second run is broken."""
    parity = compared({"kept a": 1}, {"kept a": 1}, new=[{"kept a": 1}, {"kept a": 2}, {"kept a": 1}])
    assert (parity.rows[0].cells["new"].verdict, parity.rows[0].cells["new"].value) == (BROKEN, "2")


@pytest.mark.parametrize("value", [1.0, True, "1", [1], None])
def test_types_differ_where_values_look_alike(value: Any) -> None:
    """In Python 1 == 1.0 == True, and a comparison by that would miss what a migration breaks first."""
    assert verdicts(compared({"kept a": 1}, {"kept a": 1}, new={"kept a": value})) == {"kept a": BROKEN}


def test_reasons_name_the_row_of_the_contract() -> None:
    """Whoever reads the report must find the sentence that decides."""
    old = {"kept a": 1, "free a": 1, "other a": 1}
    parity = compared(old, old, new={"kept a": 2, "free a": 2, "other a": 2})
    assert {row.path: row.cells["new"].reason for row in parity.rows} == {
        "kept a": "the contract says that it is equal everywhere, under 'row of kept **'",
        "free a": "row of free **: as it is",
        "other a": UNCLASSED,
    }


def test_patterns_that_name_nothing_are_told() -> None:
    """A rule that outlives what it was for would excuse the next thing by that name."""
    rules = Rules((rule("kept *", "gone *", allowed=True), rule("kept a"), rule("other **")))
    facts = {"kept a": 1, "other b": 1}
    assert compared(facts, facts, new=facts, rules=rules).unmatched == ("gone *", "kept a")


def test_numbers_in_paths_are_in_their_order() -> None:
    """People look for exit 2 before exit 10."""
    facts = {f"exit {code}": 0 for code in (10, 2, 137, 1)}
    assert [row.path for row in compared(facts, facts, new=facts).rows] == ["exit 1", "exit 2", "exit 10", "exit 137"]


def test_a_reference_that_cannot_be_one_is_refused_with_every_fault() -> None:
    """Without two runs there is no noise to learn, and everything restless would look broken."""
    runs = [Observation(backend="a", facts={})]
    with pytest.raises(ValueError, match=r"run 1 has no facts.*\n.*1 runs: two are needed"):
        compare(runs, [], started_at=STARTED, seconds=1)
    two = [Observation(backend=name, facts={"x": 1}) for name in ("a", "b")]
    with pytest.raises(ValueError, match="of several backends, a, b"):
        compare(two, [], started_at=STARTED, seconds=1, rules=RULES)


@given(st.text(), st.text(), st.integers(min_value=12, max_value=40))
def test_an_excerpt_fits_and_shows_the_first_difference(one: str, other: str, length: int) -> None:
    """Two long values that look the same where they are cut would make a riddle of a report."""
    cut = excerpt(one, other, length)
    assert len(cut) <= length
    start, end = difference(one, other)
    assert one[:start] == other[:start]
    assert one[len(one) - end :] == other[len(other) - end :]
    assert one == other or start == len(one) or one[start] in cut


@given(VALUES)
def test_a_value_s_text_is_printable_json_of_it(value: Any) -> None:
    """What a program under test prints reaches terminals and browsers; it must not steer them."""
    import json

    text = json_text(value)
    assert text.isprintable()
    assert json.loads(text) == value


def test_hostile_letters_are_escaped() -> None:
    """NUL, an escape sequence, a lone surrogate, and a mark that turns the line round."""
    assert json_text("\0\x1b[31m\udc80\u202e\U000e0001") == r'"\u0000\u001b[31m\udc80\u202e\udb40\udc01"'


def test_importing_lyftlearn_loads_none_of_this() -> None:
    """Whoever submits a job does not pay for an instrument that operators use."""
    code = "import lyftlearn, sys; sys.exit(any(name.startswith('lyftlearn.parity') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
