"""Thousands of command lines that nobody means: whatever is typed gets a documented exit code, and no traceback."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import pytest

from lyftlearn.cli import main
from lyftlearn.cli._exit_codes import ExitCode

LINES = 4_000
SEED = 20_261_126
COMMANDS = (
    *(["plan", kind] for kind in ("train", "process", "predict")),
    *(["explain", kind] for kind in ("train", "process", "predict")),
    ["jobs"], ["status"], ["logs"], ["download"], ["stop"], ["config"], ["backends"], ["clean", "--dry-run"],
    ["parity", "show"], ["parity", "run", "--parallel", "0"], ["migration", "report"], ["migration", "guard"],
    ["completion"], ["train", "--nodes", "0"], ["predict", "--nodes", "0"], [],
)  # fmt: skip
OPTIONS = (
    *("--source", "--image", "--cpu", "--memory", "--gpu", "--gpu-type", "--disk", "--shared-memory", "--timeout"),
    *("--retries", "--label", "--key", "--env", "--secret", "--input", "--output", "-p", "--hyperparameters", "--html"),
    *("--command", "--artifact", "--backend", "--json", "--config", "--since", "--limit", "--tail", "--node", "--name"),
    *(
        "--kind",
        "--status",
        "--older-than",
        "--outputs",
        "--level",
        "--on",
        "--only",
        "--patience",
        "--overwrite",
        "-f",
    ),
)
VALUES = (
    *(
        "",
        " ",
        "eta",
        "a=b",
        "a:=1",
        "a:={",
        "=",
        "=x",
        "a=",
        "-1",
        "0",
        "1",
        "1.5",
        "1e400",
        "nan",
        "99999999999999999999",
    ),
    *(
        "2h",
        "0s",
        "-2h",
        "99999999999d",
        "2026-01-31",
        "0001-01-01",
        "9999-12-31",
        "2026-13-45",
        "soon",
        "/",
        ".",
        "..",
    ),
    *(
        "/dev/null",
        "/no/such",
        "s3://",
        "s3://b",
        "s3://b/k",
        "file:///",
        "file://%zz",
        "http://x/y",
        "nonsense://",
        "#",
        "?",
    ),
    *(
        "eta-tl22222222222",
        "\x1b[2J",
        "\u202ex",
        "\udcff",
        "日本語",
        "x" * 5_000,
        "[" * 500,
        "*",
        "~",
        "$HOME",
        "-",
        "--",
    ),
    *("512Mi", "64Gi", "-1Gi", "1e9Gi", "local", "local,local-kubernetes", "train", "failed", "environment", "exit 37"),
)


def line(chance: random.Random) -> list[str]:
    words = list(chance.choice(COMMANDS))
    for _ in range(chance.randrange(7)):
        words += [chance.choice(OPTIONS)] * (chance.random() < 0.6) + [chance.choice(VALUES)] * (chance.random() < 0.8)
    return words


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("share", range(4))
def test_no_line_ends_in_a_traceback(share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not foreseen here is met by somebody within a month."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LYFTLEARN_HOME", str(tmp_path / "home"))
    for name in ("LYFTLEARN_BACKEND", "LYFTLEARN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    chance = random.Random(SEED + share)
    for _ in range(LINES // 4):
        words = line(chance)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = main(words)
            except SystemExit as exit_:
                code = int(exit_.code or 0)
        assert code in {int(known) for known in ExitCode} - {70}, f"{words} ended with {code}:\n{said.getvalue()}"
        assert "Traceback" not in said.getvalue(), words
