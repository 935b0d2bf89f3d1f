"""The matrix: what was run on which backend, and what came of it.

It writes docs/reference/parity.json, and docs/reference/parity.md to read.

Nothing in them is written by hand, and nothing in them is a time, a machine or a path: the same code gives the same
files. The page with every observed value is for whoever ran it, and stays out of the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.doubles.platforms import ALL, BACKENDS, IN_IMAGE
from tests.parity import probing, suites
from tests.parity.code_digest import digest
from tests.parity.pages import render

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "reference"
NAME = "parity"
TESTS_OWN = ("LYFTLEARN_TEST_", "LYFTLEARN_PLATFORM_CONFIG")
PROBED = tuple(name for name in BACKENDS if name != IN_IMAGE)
"""What an image holds is compared on each backend; one that tests make holds other packages than the reference's."""
KEPT = ("PATH", "HOME", "TMPDIR")
"""Of this shell's variables; jobs on this machine are given the rest, too, and would tell of it."""


def main() -> None:
    """Run everything, and write what came of it; or only check or render what was written before."""
    arguments = parser().parse_args()
    if arguments.check:
        sys.exit("\n".join(release_faults(committed())) or None)
    if arguments.render:
        write(DOCS / f"{NAME}.md", render(committed()))
        return
    if arguments.again:
        sys.exit(decide_failed())
    whole = not real() and BACKENDS == ALL
    results = arguments.results or (DOCS if whole else ROOT / "parity-results")
    results.mkdir(parents=True, exist_ok=True)
    if not real():
        forget_this_shell()
    code = digest()
    conformance, call_sites = suites.run(arguments.workers)
    page = ROOT / "build" / "parity.html"
    document = {
        "code": code,
        "platforms": "real" if real() else "test",
        "conformance": plain(conformance),
        "call sites": plain(call_sites),
        "probe": probing.run(PROBED, page, parallel=arguments.workers),
    }
    write(results / f"{NAME}.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    write(results / f"{NAME}.md", render(document))
    print(f"{results / NAME}.md; every value: {page}")
    if digest() != code:
        sys.exit("the code changed meanwhile: run it again")
    if wrong := bad(document):
        sys.exit("\n".join(["not alike:", *wrong]))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Put every backend under the instrument.")
    made.add_argument("--workers", type=int, default=4, help="tests, and jobs of a backend, at once")
    made.add_argument("--results", type=Path, help="directory; docs/reference, or parity-results for a part")
    made.add_argument("--check", action="store_true", help="run nothing; fail where a release may not be made")
    made.add_argument("--again", action="store_true", help="run what failed in the last run alone; that decides")
    made.add_argument(
        "--render", action="store_true", help="run nothing; write the page again from docs/reference/parity.json"
    )
    return made


def decide_failed() -> str | None:
    """Let what failed in the whole run of this very code decide alone; return why a release may not be made."""
    document = committed()
    if document["code"] != digest():
        return "the code changed since: run `make parity`"
    forget_this_shell()
    for part, results in zip(("conformance", "call sites"), suites.run_failed(), strict=True):
        for backend, tests in plain(results).items():
            document[part][backend] |= tests
    write(DOCS / f"{NAME}.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    write(DOCS / f"{NAME}.md", render(document))
    return "\n".join(release_faults(document)) or None


def real() -> bool:
    """Whether real platforms are asked for."""
    return bool(os.environ.get("LYFTLEARN_TEST_CONFIG"))


def forget_this_shell() -> None:
    """Keep what any machine has."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(TESTS_OWN)}
    os.environ.clear()
    os.environ.update(kept, LANG="C.UTF-8")


def plain(results: suites.Results) -> dict[str, dict[str, list[str]]]:
    """Results as JSON has them: of each test the outcome, and the reason where there is one."""
    return {
        backend: {test: [part for part in (result.outcome, result.why) if part] for test, result in tests.items()}
        for backend, tests in results.items()
    }


def committed() -> dict[str, Any]:
    """What docs/reference/parity.json holds."""
    return dict(json.loads((DOCS / f"{NAME}.json").read_text(encoding="utf-8")))


def release_faults(document: dict[str, Any]) -> list[str]:
    """Return why no release may be made with this document: it is older than the code, or a part was left out."""
    faults = [*_coverage_faults(document)]
    if document["code"] != digest():
        faults.insert(0, "docs/reference/parity.json is older than the code: run `make parity`")
    return [*faults, *bad(document)]


def _coverage_faults(document: dict[str, Any]) -> Iterator[str]:
    classes = suites.parts_of_the_suite()
    scripts = len(list((ROOT / "tests" / "callsites" / "scripts").glob("*.py")))
    for backend in ALL:
        conformance, call_sites = (document[part].get(backend, {}) for part in ("conformance", "call sites"))
        whole = {test.partition(".")[0] for test in conformance} == set(classes.values())
        if not whole or len(conformance) < len(classes):
            yield f"docs/reference/parity.json lacks a part of the conformance suite on {backend}: run `make parity`"
        if len(call_sites) != scripts:
            yield f"docs/reference/parity.json lacks call sites on {backend}: run `make parity`"
    if {*document["probe"]["backends"], document["probe"]["reference"]} != set(ALL) - {IN_IMAGE}:
        yield "docs/reference/parity.json lacks the probe of a backend: run `make parity`"


def bad(document: dict[str, Any]) -> list[str]:
    """Return what failed, is broken, or is unknown."""
    failed = [
        f"{kind}, {backend}: {test}: {': '.join(result)}"
        for kind in ("conformance", "call sites")
        for backend, tests in document[kind].items()
        for test, result in tests.items()
        if result[0] == suites.FAILED
    ]
    differ = [
        f"probe, {backend}: {path}: {found}"
        for backend, one in document["probe"]["backends"].items()
        for path, found in one["differ"].items()
    ]
    return failed + differ


def write(path: Path, text: str) -> None:
    """Put a file in place in one step."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    main()
