"""The rules that are shipped, and what is said of rules that cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lyftlearn.errors import InvalidJob
from lyftlearn.parity import _rules
from lyftlearn.parity._model import Verdict
from lyftlearn.parity._rules import Rules, shipped_rules

from .samples import compared, rule, verdicts

CONTRACT = (Path(__file__).parents[2] / "docs" / "reference" / "container-contract.md").read_text()


def section(title: str) -> str:
    """Return one part of the contract, without the marks of code and their escapes."""
    return CONTRACT.partition(f"\n## {title}\n")[2].partition("\n## ")[0].replace("`", "")


def rows(title: str) -> list[tuple[str, ...]]:
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


def test_every_allowed_rule_is_a_documented_difference_and_the_other_way_round() -> None:
    """What is excused is told, with the same reason; what is told as a difference is not left to fail."""
    allowed = {(rule.row, rule.reason) for rule in shipped_rules().rules if rule.allowed}
    assert allowed == set(rows("Differences that remain"))


def test_every_rule_of_the_contract_names_where_the_contract_says_so() -> None:
    """A promise that stands nowhere cannot be broken."""
    bold = re.findall(r"\*\*([^*]+?)\.?\*\*", CONTRACT.replace("`", ""))
    said = {row[0] for title in ("What the command finds", "How it ends") for row in rows(title)} | set(bold)
    assert {rule.row for rule in shipped_rules().rules if not rule.allowed} - said == set()


def test_every_row_of_what_a_command_finds_has_a_rule() -> None:
    """A promise that no rule names would be unknown when it breaks, and somebody might allow it."""
    ruled = {rule.row for rule in shipped_rules().rules if not rule.allowed}
    assert {row[0] for row in rows("What the command finds")} - ruled == set()


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("environment HOME", Verdict.BROKEN),
        ("environment ANYTHING_ELSE", Verdict.BROKEN),
        ("environment KUBERNETES_PORT", Verdict.ALLOWED),
        ("environment HOSTNAME", Verdict.ALLOWED),
        ("environment STATSD_PORT", Verdict.BROKEN),
        ("files /lyftlearn/inputs/train/a b.csv writable", Verdict.ALLOWED),
        ("files /lyftlearn/inputs/train/a b.csv content", Verdict.BROKEN),
        ("files /lyftlearn/model uid", Verdict.ALLOWED),
        ("files /lyftlearn/secrets mode", Verdict.ALLOWED),
        ("files /lyftlearn/secrets/db/PASSWORD mode", Verdict.BROKEN),
        ("hyperparameters name with spaces", Verdict.BROKEN),
        ("exit 137 exit_code", Verdict.BROKEN),
        ("output long 100000", Verdict.BROKEN),
        ("output long 300000", Verdict.ALLOWED),
        ("machine cpus", Verdict.ALLOWED),
        ("command line 4", Verdict.UNKNOWN),
        ("nobody thought of this", Verdict.UNKNOWN),
    ],
)
def test_a_difference_is_judged_as_the_contract_has_it(path: str, verdict: Verdict) -> None:
    """The order of the rules decides, and a careless one would excuse the facts behind it."""
    facts = {"x": 1}
    assert verdicts(compared(facts | {path: 1}, facts | {path: 1}, new=facts | {path: 2}, rules=shipped_rules()))[
        path
    ] is (verdict)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [("tcp://10.0.0.7:6379", Verdict.ALLOWED), ("6379", Verdict.BROKEN), (6379, Verdict.BROKEN)],
)
def test_a_service_variable_is_one_by_its_value(value: object, verdict: Verdict) -> None:
    """REDIS_PORT may be Kubernetes' own, or one that the job was given and that another backend dropped."""
    facts = {"x": 1}
    there = facts | {"environment REDIS_PORT": value}
    assert verdicts(compared(there, there, new=facts, rules=shipped_rules()))["environment REDIS_PORT"] is verdict


def test_a_rule_with_values_judges_neither_value_that_it_does_not_know() -> None:
    """If the other side has something else there, it is no service variable on both."""
    rules = Rules((rule("a *", allowed=True, values=('"tcp://*"',)), rule("a **")))
    old = {"a b": "tcp://one"}
    assert verdicts(compared(old, old, new={"a b": "tcp://two"}, rules=rules)) == {"a b": Verdict.ALLOWED}
    assert verdicts(compared(old, old, new={"a b": "else"}, rules=rules)) == {"a b": Verdict.BROKEN}


def test_a_rule_with_backends_excuses_nobody_else() -> None:
    """What this machine cannot do is no excuse for a cluster; it is one whichever side the machine is."""
    rules = Rules((rule("a **", allowed=True, backends=("laptop",)), rule("a *")))
    parity = compared({"a b": 1}, {"a b": 1}, laptop={"a b": 2}, new={"a b": 2}, rules=rules)
    assert {name: cell.verdict for name, cell in parity.rows[0].cells.items()} == {
        "laptop": Verdict.ALLOWED,
        "new": Verdict.BROKEN,
    }
    rules = Rules((rule("a **", allowed=True, backends=("old",)), rule("a *")))
    assert verdicts(compared({"a b": 1}, {"a b": 1}, new={"a b": 2}, rules=rules)) == {"a b": Verdict.ALLOWED}


def test_a_star_stays_in_its_word_and_two_do_not() -> None:
    """`files * uid` must not reach into paths of other facts."""
    rules = Rules((rule("a * c"), rule("b ** c"), rule("d.e")))
    assert {path: bool(rules.matches(path)) for path in ("a x c", "a x y c", "b x y c", "d.e", "dxe", "d.e f")} == {
        "a x c": True,
        "a x y c": False,
        "b x y c": True,
        "d.e": True,
        "dxe": False,
        "d.e f": False,
    }


def test_the_first_rule_that_names_a_path_decides() -> None:
    """What may differ is a part of what may not, so order is meaning."""
    rules = Rules((rule("a b", allowed=True), rule("a *")))
    assert [match.pattern for match in rules.matches("a b")] == ["a b"]


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    """Who writes rules of their own mends them in one go."""
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        extra = 1
        [[rule]]
        class = "perhaps"
        [[rule]]
        class = "allowed"
        row = ""
        paths = ["a  b", "c"]
        [[rule]]
        class = "contract"
        row = "x"
        reason = "none"
        paths = ["c", 7]
        [[rule]]
        class = "allowed"
        row = "y"
        reason = "z"
        paths = ["d"]
        values = []
        [[rule]]
        class = "allowed"
        row = "y"
        reason = "z"
        paths = ["c"]
        unobserved = "why"
        """
    )
    with pytest.raises(InvalidJob) as caught:
        _rules.load(path)
    problems = {where.removeprefix(f"{path}: "): problem for where, problem in caught.value.faults}
    assert set(problems) == {
        "extra",
        "rule 1.class",
        "rule 2.row",
        "rule 2.reason",
        "rule 2.paths",
        "rule 3.reason",
        "rule 3.paths",
        "rule 4.values",
        "rule 5.unobserved",
        "rule 5.paths",
    }
    assert problems["rule 5.paths"] == "'c' stands in rule 2 already: keep one"


@pytest.mark.parametrize("text", ["rule = 3", "[[rule]]\nclass = [1]", "", "not toml"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    """A wrong path given by mistake says so, in one line."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(InvalidJob, match=r"rules\.toml"):
        _rules.load(path)
