"""The call site of the README, and those of the quick start, run twice where they stand, on every backend."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.platforms import BACKENDS, Platforms, platforms

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
(CALL_SITE,) = re.findall(r"^## The call site\n+```python\n(.*?)```", README, re.DOTALL | re.MULTILINE)
QUICK_START = (ROOT / "docs" / "tutorial" / "quick-start.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'```python title="(\S+)"\n(.*?)```', QUICK_START, re.DOTALL))
SESSIONS = dict(re.findall(r"^    \$ python (\S+)\n((?:    .*\n)+)", QUICK_START, re.MULTILINE))
LONG = ("search.py", "explore.py")
"""Four jobs, and a JupyterLab."""
TRAIN = """
import json, os, pathlib
given = json.loads(pathlib.Path(os.environ["LYFTLEARN_HYPERPARAMETERS"]).read_text())
pathlib.Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.json").write_text(json.dumps(given))
"""
NOTHING = "print('nothing is left')"
LOOP = CALL_SITE.replace('    key="nightly-2026-11-22",\n', "").replace('"out")', '"out", overwrite=True)')
QUICK = ("local", "local-sagemaker")


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """Every platform."""
    with platforms(tmp_path_factory.mktemp("platforms")) as running:
        yield running


def run(everywhere: Platforms, backend: str, directory: Path, script: str) -> str:
    """Run a script in a directory; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env=everywhere.variables(backend),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def case(backend: str) -> Any:
    """One backend. The quick ones need no double of a service, and have the layouts that differ most."""
    return pytest.param(backend, marks=() if backend in QUICK else pytest.mark.slow)


@pytest.mark.parametrize("train", [TRAIN, NOTHING], ids=["a model", "nothing"])
@pytest.mark.parametrize("backend", [case(name) for name in BACKENDS])
def test_the_call_site_is_repeated_with_its_key(
    everywhere: Platforms, backend: str, train: str, tmp_path: Path
) -> None:
    """A cron job that is started again has the same job and the same files, and no Conflict with its own download."""
    (tmp_path / "train.py").write_text(train)
    script = CALL_SITE.replace("nightly-2026-11-22", f"{tmp_path.name}-{backend}")
    for _ in range(2):
        run(everywhere, backend, tmp_path, script)
        assert {path.name for path in tmp_path.iterdir()} == {"train.py", "out"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"model", "output"}
    assert (tmp_path / "out/model/model.json").exists() == (train == TRAIN)


@pytest.mark.parametrize("backend", [case(name) for name in BACKENDS])
def test_the_call_site_is_repeated_without_a_key(everywhere: Platforms, backend: str, tmp_path: Path) -> None:
    """A notebook's cell is run again after an edit, and the newer model replaces the older one."""
    for rate in (0.1, 0.2):
        (tmp_path / "train.py").write_text(TRAIN)
        run(everywhere, backend, tmp_path, LOOP.replace('"learning_rate": 0.1', f'"learning_rate": {rate}'))
        assert str(rate) in (tmp_path / "out/model/model.json").read_text()


@pytest.mark.parametrize("backend", [case(name) for name in BACKENDS])
def test_the_quick_start_is_repeated(everywhere: Platforms, backend: str, tmp_path: Path) -> None:
    """A newcomer types each command again, and it prints what the page says again."""
    repeat(everywhere, backend, tmp_path, [script for script in SESSIONS if script not in LONG])


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_its_search_and_its_notebook_are_repeated(everywhere: Platforms, backend: str, tmp_path: Path) -> None:
    """A search is a new one, with the same answer; a notebook that was stopped opens again."""
    repeat(everywhere, backend, tmp_path, LONG)


def repeat(everywhere: Platforms, backend: str, directory: Path, scripts: Iterable[str]) -> None:
    """Run scripts of the quick start twice; each prints what the page says, where `...` stands for anything."""
    for name, content in FILES.items():
        (directory / name).write_text(content)
    for script in [*scripts] * 2:
        expected = re.escape(re.sub("^    ", "", SESSIONS[script], flags=re.MULTILINE)).replace(r"\.\.\.", ".+")
        printed = run(everywhere, backend, directory, FILES[script])
        assert re.fullmatch(expected, printed), printed


EMPTY = """
import lyftlearn, os
first = lyftlearn.train("eta", command="true")
first.wait()
first.download("nothing")
assert sorted(str(path) for _, names, files in os.walk("nothing") for path in names + files) == ["model", "output"]
show = "ls -A $LYFTLEARN_MODEL_DIR/ $LYFTLEARN_INPUTS_DIR/from/ | grep -v : | grep ."
second = lyftlearn.predict("eta", artifact=first, command=f"! {show}", inputs={"from": first.outputs["output"]})
second.wait()
third = lyftlearn.process("half", command="echo 1 > $LYFTLEARN_OUTPUTS_DIR/a/x", outputs=["a", "b"])
third.wait()
third.download("half")
assert os.listdir("half/a") == ["x"] and os.listdir("half/b") == []
check = "cd $LYFTLEARN_INPUTS_DIR; test $(cat a/x) = 1 && test -d b && test -z $(ls -A b)"
lyftlearn.process("reads", command=check, inputs=dict(third.outputs)).wait()
"""


@pytest.mark.parametrize("backend", [case(name) for name in BACKENDS])
def test_outputs_with_nothing_in_them_are_empty(everywhere: Platforms, backend: str, tmp_path: Path) -> None:
    """Not every platform makes an archive of nothing; no call site can tell."""
    run(everywhere, backend, tmp_path, EMPTY)


KEYS = """
import lyftlearn, sys
place = "s3://lyftlearn-test/" + sys.argv[1]
write = "echo {0} > $LYFTLEARN_OUTPUTS_DIR/o/{0}"
for name in ("run", "run#1", "run#1%20x y"):
    out = {"o": f"{place}/{name}/"}
    file = name[3:].replace(" ", "").replace("#", "n") or "plain"
    lyftlearn.process("write", command=write.format(file), outputs=out).wait()
inputs = {"i": f"{place}/run#1/", "j": f"{place}/run#1"}
job = lyftlearn.process("read", command="ls $LYFTLEARN_INPUTS_DIR/i $LYFTLEARN_INPUTS_DIR/j", inputs=inputs)
job.wait()
found = [line for line in job.logs() if line and not line.endswith(":")]
assert found == ["n1", "n1"], found
"""


@pytest.mark.parametrize("backend", [case(name) for name in BACKENDS])
def test_keys_of_any_name(everywhere: Platforms, backend: str, tmp_path: Path) -> None:
    """A `#` is a character of a key, and what stands beside it is another directory."""
    run(everywhere, backend, tmp_path, KEYS.replace("sys.argv[1]", repr(f"{tmp_path.name}/{backend}")))


def test_the_readme_says_it() -> None:
    """If the call site changes its form, the tests above must not run something else."""
    assert 'key="nightly-2026-11-22"' in CALL_SITE
    assert "overwrite=True" in LOOP
    assert 'source="."' in LOOP
    assert set(SESSIONS) == {"submit.py", "fails.py", "refused.py", "nightly.py", *LONG}
