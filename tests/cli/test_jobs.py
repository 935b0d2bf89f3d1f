"""Jobs from the command line, on the local backend: submitted, followed, stopped, fetched."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from unittest.mock import ANY

import pytest

from .conftest import PATIENCE, CommandLine, as_from_a_terminal, finished

STEADY = ("sh", "-c", "echo begun; sleep 300")  # outlives every test, and no machine


def until_running(lyftlearn: CommandLine, job_id: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while lyftlearn("status", job_id, "--json").json["status"] != "running":
        assert time.monotonic() < deadline, "the job never ran"
        time.sleep(0.2)


def test_a_job_trains_and_its_outputs_are_fetched(lyftlearn: CommandLine, tmp_path: Path) -> None:
    """The whole way of a newcomer: submit, wait, look, download."""
    (lyftlearn.directory / "train.py").write_text(
        "import json, os\n"
        "given = json.load(open(os.environ['LYFTLEARN_HYPERPARAMETERS']))\n"
        "open(os.path.join(os.environ['LYFTLEARN_MODEL_DIR'], 'model.json'), 'w').write(json.dumps(given))\n"
    )
    ran = lyftlearn(
        "train", "eta", "--source", ".", "-p", "origin=EWR", "-p", "depth:=8", "--label", "team=eta", "--wait",
        "--", "python3", "train.py",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.out == f"{ran.id}\n"
    assert "succeeded" in ran.err

    shown = lyftlearn("status", ran.id, "--json").json
    assert (shown["status"], shown["exit_code"], shown["labels"]) == ("succeeded", 0, {"team": "eta"})
    assert {"model", "output"} <= set(shown["outputs"])
    timings = lyftlearn("status", ran.id, "--timings", "--json").json["timings"]
    assert [phase["name"] for phase in timings["phases"]] == ["waiting", "fetching", "running", "uploading"]
    assert timings["warm"] is None
    assert "uploading" in lyftlearn("status", ran.id, "--timings").out

    fetched = lyftlearn("download", ran.id, tmp_path / "results")
    assert fetched.code == 0, fetched.err
    assert json.loads((tmp_path / "results/model/model.json").read_text()) == {"origin": "EWR", "depth": 8}


def test_following_prints_the_users_lines_and_nothing_else(lyftlearn: CommandLine) -> None:
    """`process --follow | tool` must give the tool what the command wrote."""
    ran = lyftlearn("process", "eta", "--follow", "--command", "echo one; echo; echo '  two\t[bold]'")
    assert (ran.code, ran.out) == (0, "one\n\n  two\t[bold]\n"), ran.err
    job_id = re.findall(r"\beta-\w+", ran.err)[0]
    assert lyftlearn("logs", job_id).out == ran.out


def test_a_failed_job_ends_with_1_and_says_why(lyftlearn: CommandLine) -> None:
    """The command's own code and last words are told; the exit code says only that it was the job."""
    ran = lyftlearn("train", "eta", "--wait", "--command", "echo no data >&2; exit 7")
    assert ran.code == 1
    assert "user-error" in ran.err
    assert "no data" in ran.err
    assert lyftlearn("wait", ran.id).code == 1
    assert lyftlearn("status", ran.id, "--json").json["exit_code"] == 7


def test_waiting_as_json_tells_states_and_exit_code(lyftlearn: CommandLine) -> None:
    """A program needs the states of all jobs, also when one failed."""
    good = lyftlearn("train", "good", "--", "true").id
    bad = lyftlearn("train", "bad", "--", "false").id
    ran = lyftlearn("wait", good, bad, "--json")
    assert ran.code == 1
    assert [job["status"] for job in ran.json] == ["succeeded", "failed"]
    error = json.loads(ran.err.splitlines()[-1])["error"]
    assert (error["type"], error["job_id"], error["exit_code"]) == ("JobFailed", bad, 1)


def test_stop_ends_the_job_and_waiting_tells_so(lyftlearn: CommandLine) -> None:
    """A stopped job is neither a success nor a failure."""
    job_id = lyftlearn("train", "eta", "--", *STEADY).id
    until_running(lyftlearn, job_id)
    ran = lyftlearn("stop", job_id, "--wait")
    assert (ran.code, ran.out) == (0, f"{job_id}  stopped\n"), ran.err
    assert lyftlearn("wait", job_id).code == 3
    assert lyftlearn("stop", job_id).code == 0


def test_a_wait_that_ends_leaves_the_job_running(lyftlearn: CommandLine) -> None:
    """A timeout is the waiter's, not the job's."""
    job_id = lyftlearn("train", "eta", "--", *STEADY).id
    ran = lyftlearn("wait", job_id, "--timeout", "1s", "--json")
    assert ran.code == 9
    assert json.loads(ran.err)["error"]["job_ids"] == [job_id]
    until_running(lyftlearn, job_id)
    assert lyftlearn("stop", job_id, "--wait").code == 0


@pytest.mark.parametrize("how", ["--wait", "--follow"])
def test_ctrl_c_leaves_the_job_running_and_says_how_to_attach(lyftlearn: CommandLine, how: str) -> None:
    """Who interrupts a wait wants the terminal back, not the job gone."""
    process = lyftlearn.start("train", "eta", how, "--", *STEADY)
    assert process.stdout is not None
    assert process.stdout.readline()  # the id, or the job's first line
    process.send_signal(signal.SIGINT)
    ran = finished(process)
    assert ran.code == 130
    assert "attach again with: lyftlearn" in ran.err
    assert "Traceback" not in ran.err
    job_id = ran.err.split()[-1]
    until_running(lyftlearn, job_id)
    assert lyftlearn("stop", job_id, "--wait").code == 0


def test_a_reader_that_goes_away_ends_it_quietly(lyftlearn: CommandLine) -> None:
    """`lyftlearn logs ID | head` is no error to be shown."""
    job_id = lyftlearn("train", "eta", "--wait", "--command", "seq 200000").id
    process = lyftlearn.start("logs", job_id)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.stdout.close()
    process.stdout = None
    ran = finished(process)
    assert (ran.code, ran.err) == (141, "")


def test_jobs_are_listed_and_filtered(lyftlearn: CommandLine) -> None:
    """The table is how a job is found again whose id was lost."""
    assert "no jobs" in lyftlearn("jobs").err
    eta = lyftlearn("train", "eta", "--label", "team=eta", "--wait", "--", "true").id
    clean = lyftlearn("process", "clean", "--wait", "--", "false").id
    table = lyftlearn("jobs").out.splitlines()
    assert table[0].split() == ["id", "name", "kind", "status", "created", "duration", "backend", "message"]
    assert [line.split()[0] for line in table[1:]] == [clean, eta]
    assert "user-error" in table[1]

    def found(*words: str) -> list[str]:
        return [job["id"] for job in lyftlearn("jobs", "--json", *words).json]

    assert found("--label", "team=eta") == [eta]
    assert found("--kind", "process", "--status", "failed") == [clean]
    assert found("--name", "eta", "--since", "1h") == [eta]
    assert found("--limit", "1") == [clean]


def test_prediction_takes_a_train_jobs_id(lyftlearn: CommandLine) -> None:
    """An id at the command line stands for the Job that Python code would pass."""
    (lyftlearn.directory / "in.txt").write_text("7")
    trained = lyftlearn("train", "eta", "--wait", "--command", "echo 6 > $LYFTLEARN_MODEL_DIR/weights")
    command = "cat $LYFTLEARN_MODEL_DIR/weights $LYFTLEARN_INPUTS_DIR/rides/in.txt"
    ran = lyftlearn(
        "predict", "eta", "--artifact", trained.id, "--input", "rides=in.txt", "--follow", "--command", command
    )
    assert (ran.code, ran.out) == (0, "6\n7\n"), ran.err


def test_a_key_gives_one_job_and_refuses_another(lyftlearn: CommandLine) -> None:
    """A script that is started again must find its job, and be told when it asks for a different one."""
    first = lyftlearn("train", "eta", "--key", "monday", "--", "true").id
    assert lyftlearn("train", "eta", "--key", "monday", "--", "true").id == first
    other = lyftlearn("train", "eta", "--key", "monday", "--", "false")
    assert other.code == 5
    assert first in other.err


def test_faults_are_listed_together(lyftlearn: CommandLine) -> None:
    """Three mistakes should not take three tries."""
    ran = lyftlearn("train", "e/ta", "--memory", "4G4", "--nodes", "0")
    assert ran.code == 2
    fields = ("model", "resources.memory", "nodes", "command")
    for field in fields:
        assert field in ran.err
    told = json.loads(lyftlearn("train", "e/ta", "--memory", "4G4", "--nodes", "0", "--json").err)["error"]
    assert {fault["path"] for fault in told["faults"]} == set(fields)


@pytest.mark.parametrize("words", [("status",), ("logs",), ("wait",), ("stop",), ("download", "here")])
def test_a_job_that_does_not_exist_is_not_found(lyftlearn: CommandLine, words: tuple[str, ...]) -> None:
    """A wrong id must never look like a finished or failed job."""
    command, *rest = words
    assert lyftlearn(command, "eta-tl22222222222", *rest).code == 4


def test_following_logs_ends_with_the_job(lyftlearn: CommandLine) -> None:
    """`logs --follow` from a second terminal gives every line and returns."""
    job_id = lyftlearn("process", "eta", "--command", "for i in 1 2 3; do echo $i; sleep 0.3; done").id
    ran = lyftlearn("logs", "--follow", job_id)
    assert (ran.code, ran.out) == (0, "1\n2\n3\n"), ran.err
    assert lyftlearn("logs", "--tail", "1", job_id).out == "3\n"
    documents = [json.loads(line) for line in lyftlearn("logs", "--json", job_id).out.splitlines()]
    assert documents == [{"line": text, "node": 0, "time": ANY} for text in "123"]


def test_output_that_the_encoding_lacks_is_escaped(lyftlearn: CommandLine) -> None:
    """One odd letter in a log must not end the printing of it."""
    job_id = lyftlearn("process", "eta", "--wait", "--command", "printf 'a\\303\\274\\342\\202\\254b\\n'").id
    ran = lyftlearn("logs", job_id, PYTHONIOENCODING="latin-1")
    assert ran.out.encode("utf-8", "surrogateescape") == b"a\xfc\\u20acb\n"


def test_what_a_backend_leaves_out_is_said_once(lyftlearn: CommandLine) -> None:
    """A job that asked for a GPU, and silently got none, trains for a week on one core."""
    (lyftlearn.directory / "lyftlearn.toml").write_text('[local]\ncontainers = "never"\n')
    words = ("train", "eta", "--gpu", "1", "--image", "rides/eta:1", "--wait")
    ran = lyftlearn(*words, "--", "true")
    assert ran.code == 0
    notes = [line for line in ran.err.splitlines() if line.startswith("lyftlearn: note: ")]
    assert len(notes) == len(set(notes)) >= 2
    assert any("image" in note for note in notes)
    assert any("gpu" in note for note in notes)
    assert "note" not in lyftlearn(*words, "--json", "--", "true").err


def test_a_script_is_told_once_however_often_it_submits(lyftlearn: CommandLine) -> None:
    """A loop over fifty regions has one thing to hear, not fifty."""
    (lyftlearn.directory / "lyftlearn.toml").write_text('[local]\ncontainers = "never"\n')
    code = "import lyftlearn\nfor name in 'abc': lyftlearn.train(name, command=['true'], image='rides/eta:1').wait()"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=lyftlearn.directory,
        env=dict(lyftlearn.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr.count("lyftlearn: note: image") == 1


def test_each_line_of_several_nodes_names_its_node(lyftlearn: CommandLine) -> None:
    """Of four nodes one hangs: whoever reads the lines, a person or a program, must see which."""
    command = "echo from $LYFTLEARN_NODE_RANK"
    ran = lyftlearn("process", "eta", "--nodes", "2", "--follow", "--json", "--command", command)
    assert ran.code == 0, ran.err
    *lines, last = map(json.loads, ran.out.splitlines())
    assert last["status"] == "succeeded"
    assert sorted((line["node"], line["line"]) for line in lines) == [(0, "from 0"), (1, "from 1")]
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in lines)

    assert sorted(lyftlearn("logs", last["id"]).out.splitlines()) == ["[node 0] from 0", "[node 1] from 1"]
    assert lyftlearn("logs", last["id"], "--node", "1").out == "from 1\n"
    stamp = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
    times = sorted(lyftlearn("logs", last["id"], "--timestamps").out.splitlines())
    assert all(re.fullmatch(rf"\[node {node}\] {stamp} from {node}", line) for node, line in enumerate(times))
    assert re.search(r"^nodes +2$", lyftlearn("status", last["id"]).out, re.MULTILINE)


def test_ctrl_c_in_a_script_says_how_to_come_back(lyftlearn: CommandLine) -> None:
    """The job goes on, and its id would be lost with the traceback."""
    code = "import lyftlearn; job = lyftlearn.train('eta', command=['sleep', '300']); print(job.id, flush=True); "
    for call, command in (("job.wait()", "wait"), ("list(job.logs(follow=True))", "logs --follow")):
        process = subprocess.Popen(
            [sys.executable, "-c", code + call],
            cwd=lyftlearn.directory,
            env=dict(lyftlearn.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=as_from_a_terminal,  # noqa: PLW1509 - one call, and no thread of ours holds a lock
        )
        assert process.stdout is not None
        job_id = process.stdout.readline().decode().strip()
        until_running(lyftlearn, job_id)
        process.send_signal(signal.SIGINT)
        ran = finished(process)
        assert f"Come back with lyftlearn.job('{job_id}'), or in a shell: lyftlearn {command} {job_id}" in ran.err
        assert lyftlearn("status", job_id, "--json").json["status"] == "running"
        lyftlearn("stop", job_id)


def test_one_job_that_cannot_be_stopped_does_not_keep_the_others_running(lyftlearn: CommandLine) -> None:
    """Whoever stops twenty jobs by a list has typed one of them wrong, and pays for those behind it."""
    ids = [lyftlearn("process", "eta", "--", *STEADY).id for _ in range(2)]
    for job_id in ids:
        until_running(lyftlearn, job_id)
    ran = lyftlearn("stop", "--wait", "nonsense", ids[0], "eta-tl22222222222", ids[1])
    assert ran.code == 4
    assert "nonsense" in ran.err
    assert "eta-tl22222222222" in ran.err
    assert [line.split() for line in ran.out.splitlines()] == [[job_id, "stopped"] for job_id in ids]


def test_a_submission_loads_nothing_of_what_operators_ask() -> None:
    """It was a quarter of what a command line did before the job was sent."""
    script = "import sys, lyftlearn.cli._submit_commands; sys.exit('lyftlearn.ops' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
