"""The matrix as a page of text."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.parity.suites import FAILED, LACKING, PASSED, parts_of_the_suite

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "callsites" / "scripts"
SUITE = ROOT / "lyftlearn" / "testing" / "conformance"
Document = Mapping[str, Any]

_HEAD = """\
# Parity, measured

`make parity` runs the conformance suite, every call site, and the probe on each backend. It writes this page and
[parity.json](parity.json), which names every test. Nothing here is written by hand. If the code is newer than the page,
`make release-check` fails, and no release is made.

**{platforms}**

- *Conformance* is what [every backend must do](../how-to/writing-a-backend.md), from the contract between core and
  backend up to the public API.
- *Call sites* are scripts as users write them, in `tests/callsites/scripts`. One environment variable chooses the
  backend. Output, errors, exit code, metrics and files must equal those of the script's transcript in
  `tests/callsites/transcripts`, byte for byte. [Masks](../../tests/callsites/masks.py) hide ids, times and the
  library's own lines in tracebacks.
- The *probe* is a program that looks at everything around it. The comparison holds what it saw against what it saw on
  `{reference}` ([how to read a comparison](comparisons.md)). If two runs there disagree about a fact, the fact is
  noise, and is counted with those that agree.
"""
_TEST_PLATFORMS = """\
`kubernetes` and `sagemaker` are the tests' own cluster and service here: servers on a socket that run the containers. \
No real cluster and no real account was used."""
_REAL_PLATFORMS = "Run on real platforms."
_NOT_RUN = """\
## What was not run
- **A real cluster and a real account.** There was none. This page says nothing about their schedulers, registries,
  disks and networks, about IAM, and about how long anything takes.
- **Reasons `preempted` and `platform`, and AccessDenied, QuotaExceeded and BackendUnavailable.** No call
  site can cause them on every platform. Each backend's own tests do, with faults of their test service.
- **GPUs.** There was none.

## Run it on your platforms
    LYFTLEARN_TEST_CONFIG=lyftlearn.toml make parity BACKENDS=kubernetes,sagemaker

`lyftlearn.toml` configures both backends, and `[storage]`. The image in `[jobs] image` needs `python3` 3.8 or newer, a
POSIX shell, and boto3. Put two secrets where each platform keeps them: `warehouse`, with WAREHOUSE_USER (`eta`) and
WAREHOUSE_PASSWORD (28 characters), and `maps`, with MAPS_TOKEN (9 characters) and a key `1st-a-file` (11 characters).
The jobs are small, and each runs for seconds. Metrics are not compared, because the gateway cannot be read.
`make parity` then writes the results to `parity-results/`, and a page with every value to `build/parity.html`. Without
`LYFTLEARN_TEST_CONFIG`, `BACKENDS` chooses two or more of the backends in the table above.

The conformance suite has variables of its own: LYFTLEARN_TEST_KUBECONFIG ([Kubernetes](../how-to/kubernetes.md#tests))
and LYFTLEARN_TEST_SAGEMAKER_ROLE ([SageMaker](../how-to/sagemaker.md#tests)). For your own command in your own image,
use `lyftlearn parity run` ([guide](../how-to/compare-backends.md)).
"""


def render(document: Document) -> str:
    """Return the page."""
    probe = document["probe"]
    platforms = _TEST_PLATFORMS if document["platforms"] == "test" else _REAL_PLATFORMS
    parts = [
        _HEAD.format(platforms=platforms, reference=probe["reference"]),
        _summary(document),
        _conformance(document),
        _call_sites(document),
        _probe(probe),
        _NOT_RUN,
        f"Code: `{document['code']}`\n",
    ]
    return "\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _summary(document: Document) -> str:
    names = list(document["conformance"])
    rows = [
        [title, *(_counted(document[kind][name]) for name in names)]
        for title, kind in (("conformance", "conformance"), ("call sites", "call sites"))
    ]
    rows.append(["probe", *(_probed(document["probe"], name) for name in names)])
    return _table(["", *names], rows)


def _counted(tests: Mapping[str, list[str]]) -> str:
    counts = Counter(result[0] for result in tests.values())
    words = {PASSED: "✓ {}", LACKING: "◇ {} lacking", FAILED: "✗ {} failed"}
    return ", ".join(text.format(counts[outcome]) for outcome, text in words.items() if counts[outcome]) or "not run"


def _probed(probe: Document, name: str) -> str:
    if name == probe["reference"]:
        return "reference"
    one = probe["backends"].get(name)
    if one is None:
        return "not run"
    allowed, differ = sum(one["allowed"].values()), len(one["differ"])
    told = f"✓ {sum(one['agree'].values())}"
    return told + (f", ◇ {allowed} allowed" if allowed else "") + (f", ✗ {differ} differ" if differ else "")


def _conformance(document: Document) -> str:
    results = document["conformance"]
    measured = {test.partition(".")[0] for tests in results.values() for test in tests}
    parts = sorted(measured | set(parts_of_the_suite().values()))
    purposes = _docstrings(SUITE, ast.ClassDef)
    rows = [
        [
            f"{part.removesuffix('Conformance')}: {_first_words(purposes[part])}",
            *(_counted(_within(tests, part)) for tests in results.values()),
        ]
        for part in parts
    ]
    lines = ["## Conformance, by class", _table(["", *results], rows)]
    return "\n".join([*lines, *_reasons(results, "What a backend says that it lacks, and shows that it refuses:")])


def _within(tests: Mapping[str, list[str]], part: str) -> dict[str, list[str]]:
    return {test: result for test, result in tests.items() if test.partition(".")[0] == part}


def _reasons(results: Document, title: str) -> Iterator[str]:
    """Yield the reasons of all that did not pass, the same ones together."""
    found: dict[str, dict[str, int]] = {}
    for backend, tests in results.items():
        for result in tests.values():
            if result[0] in (LACKING, FAILED):
                seen = found.setdefault(": ".join(result[1:]) or result[0], {})
                seen[backend] = seen.get(backend, 0) + 1
    if found:
        rows = [
            [reason.replace("|", "\\|"), ", ".join(f"{backend} ({number})" for backend, number in seen.items())]
            for reason, seen in sorted(found.items())
        ]
        yield f"{title}\n\n{_table(['reason', 'backend (tests)'], rows)}"


def _call_sites(document: Document) -> str:
    results = document["call sites"]
    names = sorted(
        {name for tests in results.values() for name in tests} | {path.stem for path in SCRIPTS.glob("*.py")}
    )
    purposes = {path.stem: _first_words(_docstring(path)) for path in SCRIPTS.glob("*.py")}
    rows = [
        [
            f"[{name}](../../tests/callsites/scripts/{name}.py): {purposes[name]}",
            *(_sign(tests.get(name, [""])) for tests in results.values()),
        ]
        for name in names
    ]
    lines = ["## Call sites", _table(["", *results], rows)]
    return "\n".join([*lines, *_reasons(results, "Not run, or not alike:")])


def _sign(result: list[str]) -> str:
    return {PASSED: "✓", LACKING: "◇", FAILED: "✗"}.get(result[0], "not run")


def _probe(probe: Document) -> str:
    backends = probe["backends"]
    subjects = sorted({subject for one in backends.values() for subject in one["agree"]})
    agree = [[subject, *(str(one["agree"].get(subject, 0)) for one in backends.values())] for subject in subjects]
    reasons = sorted({reason for one in backends.values() for reason in one["allowed"]})
    allowed = [
        [reason.replace("|", "\\|"), *(str(one["allowed"].get(reason, "")) for one in backends.values())]
        for reason in reasons
    ]
    parts = [
        "## Probe",
        f"Facts that are as on `{probe['reference']}`, by subject:\n",
        _table(["", *backends], agree),
        "Facts that differ, and may, by the [reason](container-contract.md#differences-that-remain) of each:\n",
        _table(["", *backends], allowed),
        *_differ(backends),
    ]
    return "\n".join(parts)


def _differ(backends: Document) -> Iterator[str]:
    rows = [
        [f"`{path}`", name, found["verdict"], f"`{found['reference']}`", f"`{found['here']}`"]
        for name, one in backends.items()
        for path, found in one["differ"].items()
    ]
    if rows:
        yield "Facts that differ, and must not:\n"
        yield _table(["fact", "backend", "", "reference", "here"], rows)


def _docstrings(directory: Path, kind: type[ast.ClassDef]) -> dict[str, str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in directory.glob("*.py")]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, kind)]
    return {node.name: ast.get_docstring(node) or "" for node in nodes}


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


_SENTENCE: Callable[[str], list[str]] = re.compile(r"(?<=\.)\s").split


def _first_words(text: str) -> str:
    return _SENTENCE(text.replace("\n", " ").replace("|", "\\|"))[0].rstrip(".")
