"""Conformance and call sites on every backend, as pytest tells them."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree.ElementTree import Element, parse

from lyftlearn.testing import BackendConformance, ClientConformance
from tests.doubles.platforms import BACKENDS, IN_IMAGE

ROOT = Path(__file__).parents[2]
PASSED, LACKING, IDLE, FAILED = "passed", "lacking", "idle", "failed"
"""lacking: the backend says that it cannot, or a reason stands in the call sites. idle: there is nothing to refuse."""
CLASSES = {
    "local": ("tests/backends/local", "TestLocal", "TestLocalThroughTheClient"),
    "local-kubernetes": ("tests/backends/local", "TestLocalKubernetes", "TestLocalKubernetesThroughTheClient"),
    "local-sagemaker": ("tests/backends/local", "TestLocalSageMaker", "TestLocalSageMakerThroughTheClient"),
    IN_IMAGE: ("tests/backends/local", "TestLocalInItsImage", "TestLocalInItsImageThroughTheClient"),
    "kubernetes": ("tests/backends/kubernetes", "TestKubernetes", "TestKubernetesThroughTheClient"),
    "sagemaker": ("tests/backends/sagemaker", "TestSageMaker", "TestSageMakerThroughTheClient"),
}
"""Which classes of `<directory>/test_conformance.py` hold a backend to the suite."""
CALL_SITES = "tests/callsites/test_callsites.py"
LAST_FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"
"""Where pytest keeps it. Its own option runs all of a suite where only the other one has failed."""
_LACKS = re.compile(r"lacks [a-z ]+: ")
_CASE = re.compile(r"test_the_same_comes_of_it\[(?P<backend>[a-z-]+)-(?P<name>[a-z_]+)\]")


@dataclass(frozen=True)
class Result:
    """How one test ended. why: what the backend lacks, or the first line of the failure."""

    outcome: str
    why: str = ""


Results = Mapping[str, Mapping[str, Result]]
"""Backend, test, result."""


def run_failed() -> tuple[Results, Results]:
    """Run what failed in the last run once more, one after the other; return as `run` does."""
    failed = json.loads(LAST_FAILED.read_text()) if LAST_FAILED.exists() else {}
    call_sites = [test for test in failed if test.startswith(CALL_SITES)]
    return _results([test for test in failed if test.partition("::")[0] in _modules(BACKENDS)], call_sites, 1, BACKENDS)


def run(workers: int, names: tuple[str, ...] = BACKENDS) -> tuple[Results, Results]:
    """Run the suites; return conformance, by `<class of the suite>.<test>`, and call sites, by name."""
    return _results(_modules(names), [CALL_SITES], workers, names)


def _modules(names: tuple[str, ...]) -> list[str]:
    return sorted({f"{CLASSES[name][0]}/test_conformance.py" for name in names})


def _results(
    conformance: list[str], call_sites: list[str], workers: int, names: tuple[str, ...]
) -> tuple[Results, Results]:
    """Run these tests of both suites: apart, for the former's test services must not reach real platforms' jobs."""
    cases, others = (_cases(tests, workers, names) if tests else [] for tests in (conformance, call_sites))
    return (
        {name: dict(sorted(_conformance(cases, name))) for name in names},
        {name: dict(sorted(_call_sites(others, name))) for name in names},
    )


def _cases(words: list[str], workers: int, names: tuple[str, ...]) -> list[Element]:
    with TemporaryDirectory() as place:
        told = Path(place) / "told.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), f"--junitxml={told}", *words]
        subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, "LYFTLEARN_TEST_BACKENDS": ",".join(names)})
        return list(parse(told).iter("testcase"))


def _conformance(cases: list[Element], backend: str) -> Iterator[tuple[str, Result]]:
    directory, *classes = CLASSES[backend]
    wanted = {f"{directory.replace('/', '.')}.test_conformance.{name}" for name in classes}
    parts = parts_of_the_suite()
    for case in cases:
        if case.get("classname") in wanted:
            name = case.get("name", "")
            result = _result(case)
            idle = result.outcome == LACKING and not _LACKS.match(result.why)
            yield f"{parts[name.partition('[')[0]]}.{name}", Result(IDLE, result.why) if idle else result


def _call_sites(cases: list[Element], backend: str) -> Iterator[tuple[str, Result]]:
    for case in cases:
        found = _CASE.fullmatch(case.get("name", ""))
        if found and found["backend"] == backend:
            yield found["name"], _result(case)


def parts_of_the_suite() -> dict[str, str]:
    """Test to the class of the suite that has it."""
    classes = [one for whole in (BackendConformance, ClientConformance) for one in inspect.getmro(whole)]
    return {test: one.__name__ for one in classes for test in vars(one) if test.startswith("test_")}


def _result(case: Element) -> Result:
    skipped = case.find("skipped")
    if skipped is not None:
        return Result(LACKING, skipped.get("message", ""))
    broken = case.find("failure") if case.find("failure") is not None else case.find("error")
    if broken is not None:
        return Result(FAILED, broken.get("message", "").partition("\n")[0])
    return Result(PASSED)
