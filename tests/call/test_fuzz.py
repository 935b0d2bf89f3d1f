"""Whatever a person gives to a function, a configuration or the command line: an answer, and never a traceback."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import lyftlearn
from lyftlearn import Choice, IntUniform, Objective, Resources, Uniform, ops
from lyftlearn.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CALLS = 20_000
HUGE = 10**5000
_LONGEST = 50_000  # characters of a message


class Unprintable:
    """Breaks whoever looks at it."""

    def __repr__(self) -> str:
        raise RuntimeError("not even this")


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**70, HUGE, -HUGE, 0.5, float("nan"), float("inf"), 1e308, "", " ", "eta", "a b",
    "\0", "é", "\ud800", "x" * 300, "1h", "-1h", "9" * 500 + "s", "∞", "1e999", "512Mi", "s3://b/k", "s3://", "s3:///x",
    "s3://B/x", "file:///", "file://host/x", "file:///%zz", "http://x", "~", "~nobody/x", ".", "..", "/", "/dev/null",
    "$(X)", "#", "a#b", "?", b"x", bytearray(b"x"), (), ("a",), [], ["a"], [None], [[]], {}, {"a": "b"}, {"a": None},
    {None: "x"}, {5: 5}, {HUGE: HUGE}, {"": ""}, {"a": {"b": [1]}}, {"\ud800": "x"}, {"team": "x"}, set(), {"a"},
    frozenset({"a"}), range(3), iter(()), object(), Unprintable(), lambda: 1, Path("/"), Path(), timedelta.max,
    timedelta.min, timedelta(), timedelta(seconds=5), datetime.max, datetime(2026, 1, 1), MappingProxyType({"a": 1}),
    _endless(), Resources(), Resources(cpu=HUGE), Resources(cpu=float("nan")), Resources(memory="0"),
    Resources(memory=5), Resources(gpu=HUGE, gpu_type="x"), Resources(gpu="1"), Resources(cpu=Unprintable()),  # type: ignore[arg-type]
    Resources(disk="9" * 400), Resources(shared_memory=b"1"), Uniform(low=0, high=1), Uniform(low=HUGE, high=0.5),  # type: ignore[arg-type]
    Uniform(low="a", high=None), IntUniform(low=0, high=HUGE), Choice([1]), Choice(5), Choice("ab"), Choice([object()]),  # type: ignore[arg-type,list-item]
    Objective(name="x", goal="minimize", pattern="(x)"), Objective(name=5, goal=5, pattern=5),  # type: ignore[arg-type]
    Objective(name="x", goal="maximize", pattern="("), lyftlearn.JobKind.TRAIN, lyftlearn.JobStatus.FAILED,
]  # fmt: skip
LEAST: dict[str, dict[str, Any]] = {
    "train": {"model": "eta", "command": "true"},
    "process": {"name": "clean", "command": "true"},
    "predict": {"model": "eta", "command": "true", "artifact": "s3://bucket/m.tar.gz", "inputs": {"x": "s3://b1c/x"}},
    "tune": {
        "model": "eta", "command": "true", "space": {"x": Uniform(low=0, high=1)}, "trials": 2,
        "objective": Objective(name="x", goal="minimize", pattern="(x)"),
    },
    "notebook": {"name": "nb"},
}  # fmt: skip
OPTIONAL = (
    "image", "source", "hyperparameters", "inputs", "outputs", "env", "secrets", "resources", "nodes", "timeout",
    "retries", "labels", "key", "strategy", "parallel", "space", "objective", "trials", "artifact", "idle_timeout",
)  # fmt: skip
FOLLOWING = {
    "jobs": ("name", "kind", "status", "labels", "since", "limit"),
    "wait": ("jobs", "timeout", "check", "on_update", "progress"),
    "job": ("job_id",),
}


def said(call: Callable[[], object], given: object) -> None:
    """Make a call, and bear what is documented of it; everything else is a fault of lyftlearn."""
    try:
        call()
    except lyftlearn.LyftLearnError as error:
        if len(str(error)) < _LONGEST:
            return
        raise AssertionError(_described(given)) from error
    except Exception as error:
        message = f"{type(error).__name__} for {_described(given)}"
        raise AssertionError(message) from error


def _described(given: object) -> str:
    try:
        return repr(given)[:2000]
    except Exception:  # noqa: BLE001 - that is what it is for
        return "something that cannot be printed"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lyftlearn.Client:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return lyftlearn.Client(config={"home": str(tmp_path / "home"), "project": "fuzz"})


def parameters(function: str) -> list[str]:
    return list(inspect.signature(getattr(lyftlearn, function)).parameters)


def test_the_functions(client: lyftlearn.Client) -> None:
    """Plans are made of what was accepted, so that whatever a backend makes of odd values is tried, too."""
    chance = random.Random(1)
    for _ in range(CALLS // 2):
        function = chance.choice(list(LEAST))
        known = parameters(function)
        given = dict(LEAST[function])
        for name in chance.sample(known, chance.randint(1, min(3, len(known)))):
            value = chance.choice(ODD)
            given[name] = chance.choice([value, [value], {"x": value}, {"x": [value]}])
        said(lambda: ops.plan(function, client=client, **given), (function, given))  # noqa: B023 - called at once
    for _ in range(CALLS // 4):
        function = chance.choice(list(FOLLOWING))
        names = FOLLOWING[function]
        given = {"jobs": []} if function == "wait" else {"job_id": "x"} if function == "job" else {}
        given |= {name: chance.choice(ODD) for name in chance.sample(names, chance.randint(1, len(names)))}
        said(lambda: list(getattr(client, function)(**given) or ()), (function, given))  # noqa: B023 - as above


def test_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of every table with every odd value: named, or used."""
    from lyftlearn.config.keys import TABLES, TOP

    monkeypatch.chdir(tmp_path)
    chance = random.Random(2)
    plain = [value for value in ODD if isinstance(value, str | int | float | bool | list | dict | None)]
    tables = {name: [option.key for option in options] for name, options in TABLES.items()}
    tables |= {"local": ["metrics", "secrets", "concurrent"], "kubernetes": ["namespace", "metrics", "volumes"]}
    tables |= {"sagemaker": ["role", "image", "metrics", "log_settle"], "images": ["x"], "nonsense": ["x"]}
    for _ in range(CALLS // 8):
        config: dict[str, Any] = {"home": str(tmp_path / "home")}
        for name in chance.sample([*tables, *(option.key for option in TOP)], 2):
            value = chance.choice(plain)
            config[name] = {chance.choice(tables[name]): value} if name in tables and chance.random() < 0.9 else value
        config["home"] = str(tmp_path / "home") if chance.random() < 0.9 else chance.choice(plain)
        backend = chance.choice(["local", "kubernetes", "sagemaker", None])

        def use(config: dict[str, Any] = config, backend: str | None = backend) -> None:
            made = lyftlearn.Client(config=config)
            ops.plan("train", client=made, backend=backend, model="eta", command="true", image="x", key="k")
            ops.explain("train", "eta", client=made)

        said(use, (backend, config))


WORDS = [
    "train", "process", "predict", "plan", "explain", "jobs", "status", "logs", "wait", "stop", "download", "config",
    "--wait", "--json", "--name", "--limit", "--since", "--label", "-p", "--nodes", "--timeout", "--input", "--output",
    "--source", "--env", "--key", "--config", "--", "true", "eta", "eta-tlaaaaaaaaaaa", "x=1", "a=b=c", "=", "-1", "",
]  # fmt: skip


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Words in any order: an exit code that is documented, never 70, and no traceback."""
    from lyftlearn._call import checks  # noqa: F401 - loaded before the directory is left

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LYFTLEARN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("lyftlearn._submission.submitter.JobSubmitter.submit", _refuse)
    chance = random.Random(3)
    strings = [value for value in ODD if isinstance(value, str) and "\0" not in value and value.isprintable()]
    for _ in range(CALLS // 8):
        words = [chance.choice(WORDS if chance.random() < 0.8 else strings) for _ in range(chance.randint(0, 6))]
        code = _run(words)
        shown = capsys.readouterr()
        assert code != 70, (words, shown.err[-2000:])
        assert "Traceback" not in shown.err, (words, shown.err[-2000:])


def _refuse(*_: object) -> Any:
    raise lyftlearn.QuotaExceeded("this is a test")


def _run(words: list[str]) -> int:
    try:
        return int(main(words) or 0)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
