"""`parity run` as an operator types it, in processes of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lyftlearn import Client, Job
from tests.cli.conftest import PATIENCE, CommandLine, finished
from tests.cli.conftest import lyftlearn as lyftlearn  # noqa: PLC0414 - a fixture

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture
def breaking(lyftlearn: CommandLine) -> CommandLine:
    """A command line with the broken backend, whose way the test writes."""
    return CommandLine(lyftlearn.directory, {**lyftlearn.environment, "PYTHONPATH": str(PLUGIN)})


def configured(command_line: CommandLine, way: str) -> None:
    (command_line.directory / "lyftlearn.toml").write_text(f'[broken]\nway = "{way}"\n')


@pytest.mark.containers
def test_what_agrees_ends_with_0(lyftlearn: CommandLine) -> None:
    """A pipeline that moves a team's jobs asks first, and reads the exit code; and all layouts here do agree."""
    only = "arguments,environment,files,process,secrets,hyperparameters,inputs,artifacts,output,retries,exit 37"
    ran = lyftlearn("parity", "run", "--on", "local,local-kubernetes,local-sagemaker", "--only", only)
    assert ran.code == 0, ran.out + ran.err
    assert "parity holds" in ran.out
    assert "jobs after" in ran.err


def test_what_differs_ends_with_13_and_can_be_kept(breaking: CommandLine) -> None:
    """What was printed for programs is shown to a person later, and as a page, without running anything again."""
    configured(breaking, "SwallowsExitCodes")
    ran = breaking("parity", "run", "--on", "local,broken", "--only", "exit 37", "--html", "page.html", "--json")
    assert ran.code == 13, ran.err
    (breaking.directory / "kept.json").write_text(ran.out)
    shown = breaking("parity", "show", "kept.json", "--html", "again.html")
    assert shown.code == 13
    assert "exit 37 exit_code" in shown.out
    pages = [(breaking.directory / name).read_text() for name in ("page.html", "again.html")]
    assert pages[0] == pages[1]
    assert "exit 37 exit_code" in pages[0]


@pytest.mark.containers
def test_one_s_own_command_is_compared(breaking: CommandLine) -> None:
    """What would differ for this command is the question that users have."""
    configured(breaking, "CutsLines")
    code = "print('short'); print('x' * 60000); open('/lyftlearn/model/model.bin', 'w').write('weights')"
    words = ("--on", "local,broken", "--only", "command", "--env", "A=1", "--", "python3", "-c", code)
    ran = breaking("parity", "run", "--json", *words)
    assert ran.code == 13, ran.out + ran.err
    rows = {row["path"]: row for row in json.loads(ran.out)["rows"]}
    wrong = [path for path, row in rows.items() if row["cells"]["broken"]["verdict"] not in ("equal", "noise")]
    assert wrong == ["command line 2"]
    assert "command artifact model model.bin" in rows


@pytest.mark.containers
def test_a_command_that_fails_everywhere_ends_with_1(lyftlearn: CommandLine) -> None:
    """A slip in the command must not be read as leave to move the job."""
    words = ("--on", "local,local-kubernetes", "--only", "command", "--", "sh", "-c", "echo on its way; exit 3")
    ran = lyftlearn("parity", "run", *words)
    assert ran.code == 1, ran.out + ran.err
    assert "parity holds" not in ran.out
    assert "failed (user-error, exit code 3) on local, local-kubernetes" in ran.out


def test_every_fault_is_in_one_message(lyftlearn: CommandLine) -> None:
    """Each try at a command line that runs sixty jobs should not find one slip at a time."""
    words = ("--on", "locla", "--only", "exits", "--parallel", "0", "--patience", "soon", "--cpu", "0")
    ran = lyftlearn("parity", "run", *words, "--", "true")
    assert (ran.code, ran.out) == (2, "")
    for said in (
        "Did you mean 'local'?",
        "on: names locla alone",
        "only: 'exits'",
        "parallel: is 0",
        "patience:",
        "cpu",
    ):
        assert said in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--on", "local,local"), "twice"),
        ((), "names no backend"),
        (("--on", "local,local-kubernetes", "--only", "command"), "write one after `--`"),
        (("--on", "local,local-kubernetes", "--html", "/no/where/page.html"), "html: /no/where is no directory"),
    ],
)
def test_nothing_runs_before_the_line_is_right(lyftlearn: CommandLine, words: tuple[str, ...], said: str) -> None:
    """Sixty jobs later it is too late to learn that the page cannot be written."""
    ran = lyftlearn("parity", "run", *words)
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.containers
def test_ctrl_c_stops_what_was_started(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """Nobody else holds the ids of these jobs, so nobody else would ever stop them."""
    command = ("--on", "local,local-kubernetes", "--only", "command", "--", "sleep", "600")
    process = lyftlearn.start("parity", "run", *command)
    client = Client(config={"home": str(tmp_path / "home")})
    jobs = _running(client, 2)
    process.send_signal(signal.SIGINT)
    ran = finished(process)
    assert ran.code == 130
    assert "3 jobs were asked to stop" in ran.err
    assert [job.wait(check=False, progress=False).status for job in jobs] == ["stopped", "stopped"]


def _running(client: Client, count: int) -> list[Job]:
    """Wait until so many jobs of the local backend run, all told."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = list(client.jobs(status="running"))
        if len(found) == count:
            return found
        time.sleep(0.2)
    pytest.fail("the jobs did not start")


def test_a_job_that_does_not_start_is_given_up(breaking: CommandLine) -> None:
    """A full cluster must not hold up the answer for the others, and what waits there must not start afterwards."""
    configured(breaking, "NeverStarts")
    words = ("--on", "local,broken", "--only", "exit 37", "--patience", "2s")
    ran = breaking("parity", "run", *words)
    assert ran.code == 13, ran.out + ran.err
    assert "did not start within 2 s" in ran.out


def test_a_quota_is_waited_out(breaking: CommandLine) -> None:
    """More jobs at once than an account may have is no difference between platforms."""
    configured(breaking, "TakesOneAtATime")
    ran = breaking("parity", "run", "--on", "local,broken", "--only", "exit 37,exit 3,exit 2,exit 1")
    assert ran.code == 0, ran.out + ran.err


def test_an_import_of_lyftlearn_does_not_load_it() -> None:
    """What few people use costs the others nothing."""
    loaded = "any(name.startswith('lyftlearn.parity') for name in sys.modules)"
    code = f"import sys, lyftlearn, lyftlearn.ops; raise SystemExit({loaded})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
