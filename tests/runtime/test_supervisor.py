"""Signals, clocks, attempts, orphans and output: what a proper init owes to the command."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime import capacity
from lyftlearn.runtime.memory import out_of_memory_kills

SUBSTRATES = ["kubernetes", "sagemaker", "local"]


def interrupt(container: Any, number: int = signal.SIGTERM, times: int = 1) -> Any:
    """Start, wait for the command's first line, send signals, wait for the end."""
    process = container.start()
    first = process.stdout.readline()
    for _ in range(times):
        os.kill(runtime_pid(process), number)
        time.sleep(0.2)
    output, _ = process.communicate(timeout=600)
    return container.result(process.returncode, first + output)


def runtime_pid(process: Any) -> int:
    """PID 1 of the sandbox, seen from outside: bubblewrap's child."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0])


@pytest.mark.contract("C-END-6", "C-STOP-1", "C-REPORT-3")
@pytest.mark.parametrize("substrate", SUBSTRATES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_gives_the_whole_group_its_grace(containers: Any, substrate: str, number: int) -> None:
    """A shell dies of SIGTERM at once; the program it started is still to write its checkpoint."""
    program = "import os, signal, sys, time\n"
    program += "def leave(*_):\n    time.sleep(0.3)\n    os.write(1, b'saved\\n')\n    sys.exit(0)\n"
    program += "signal.signal(signal.SIGTERM, leave)\nos.write(1, b'ready\\n')\ntime.sleep(60)\n"
    container = containers.make(substrate, ["/bin/sh", "-c", f'python3 -c "{program}"; true'], grace=20)
    result = interrupt(container, number)
    assert result.output == b"ready\nsaved\n"
    assert result.exit_code == 143
    assert result.facts["stopped"] is True
    assert (result.facts["reason"], result.facts["exit_code"]) == (None, None)


def test_what_ignores_sigterm_is_killed_after_grace(containers: Any) -> None:
    """A stop that depends on the command's good will is none; asking again must not shorten or lengthen it."""
    script = "trap 'echo term' TERM; echo ready; while true; do sleep 0.1; done"
    result = interrupt(containers.make("local", ["/bin/sh", "-c", script], grace=1.5), times=3)
    assert result.output.count(b"term") == 1
    assert (result.exit_code, result.facts["stopped"]) == (143, True)


@pytest.mark.contract("C-STOP-3")
def test_a_stop_is_never_success_nor_retried(containers: Any) -> None:
    """A command that exits 0 on SIGTERM was stopped all the same, and its model is not the job's."""
    script = "trap 'exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    container = containers.make("local", ["/bin/sh", "-c", script], retries=3, model=True)
    result = interrupt(container)
    assert (result.exit_code, result.facts["stopped"], result.facts["attempt"]) == (143, True, 1)
    assert not container.artifacts.exists()


@pytest.mark.contract("C-TIME-1")
def test_timeout_counts_from_the_first_start_over_all_attempts(containers: Any) -> None:
    """Otherwise a job that fails slowly would run for `retries` times its limit."""
    result = containers.make("local", ["/bin/sh", "-c", "sleep 0.6; exit 1"], timeout=1.5, retries=50).run()
    assert result.exit_code == 124
    assert result.facts["reason"] == "timeout"
    assert 2 <= result.facts["attempt"] <= 3
    assert "stopped" not in result.facts


@pytest.mark.contract("C-RETRY-1")
def test_a_failing_command_is_repeated_and_told_which_attempt_it_is(containers: Any) -> None:
    """Retries are the runtime's; the substrate never repeats a command."""
    script = 'echo "attempt $LYFTLEARN_ATTEMPT"; [ $LYFTLEARN_ATTEMPT = 3 ]'
    container = containers.make("local", ["/bin/sh", "-c", script], retries=5)
    result = container.run()
    assert result.output == b"attempt 1\nattempt 2\nattempt 3\n"
    assert (result.exit_code, result.facts["attempt"], result.facts["reason"]) == (0, 3, None)
    events = [json.loads(line) for line in (container.directory / "progress").read_text().splitlines()]
    assert [event["attempt"] for event in events] == [1, 2, 3]
    assert events[0]["at"] == result.facts["started_at"]


@pytest.mark.parametrize("ending", ["", "echo"])
def test_further_attempts_are_noted_on_lines_of_their_own(containers: Any, ending: str) -> None:
    """SageMaker reads the attempt out of the log, so a note must not run into what a command was still writing."""
    script = f'printf "attempt $LYFTLEARN_ATTEMPT"; {ending}; [ $LYFTLEARN_ATTEMPT = 3 ]'.replace("; ;", ";")
    container = containers.make("sagemaker", ["/bin/sh", "-c", script], retries=5)
    container.variables["LYFTLEARN_SUBSTRATE_PROGRESS"] = "-"
    lines = container.run().output.decode().splitlines()
    assert lines[::2] == ["attempt 1", "attempt 2", "attempt 3"]
    assert [json.loads(line)["attempt"] for line in lines[1::2]] == [2, 3]


def test_a_start_that_cannot_be_noted_fails_no_job(containers: Any) -> None:
    """Whoever reads the notes learns less; the command runs all the same."""
    container = containers.make("local", ["/bin/echo", "ran"])
    container.variables["LYFTLEARN_SUBSTRATE_PROGRESS"] = "/no/such/directory/progress"
    result = container.run()
    assert result.exit_code == 0
    assert b"ran" in result.output.splitlines()


@pytest.mark.contract("C-END-3")
@pytest.mark.parametrize(("script", "code"), [("kill -9 $$$$", 137), ("kill -SEGV $$$$", 139), ("exit 255", 255)])
def test_signals_become_exit_codes(containers: Any, script: str, code: int) -> None:
    """128+n is what Kubernetes tells, so it is what everybody is told; `$$$$` is the shell's `$$` by its rules."""
    result = containers.make("local", ["/bin/sh", "-c", script]).run()
    assert (result.exit_code, result.facts["exit_code"], result.facts["reason"]) == (code, code, "user-error")


def test_orphans_are_reaped_and_leftovers_ended(containers: Any) -> None:
    """A daemon that left its session must neither keep the job alive nor outlive it."""
    program = "import os, time\n"
    program += "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(100)\n    os._exit(0)\n"
    program += "for _ in range(20):\n    if os.fork() == 0:\n        os._exit(os.fork() and 0)\n"
    program += "time.sleep(0.5)\nimport glob\n"
    program += "mine = [open(p).read().split(') ')[1][:1] for p in glob.glob('/proc/[0-9]*/stat')]\n"
    program += "print(os.getppid(), flush=True)\n"
    started = time.monotonic()
    result = containers.make("local", ["python3", "-c", program]).run()
    assert result.exit_code == 0
    assert result.output == b"1\n"
    assert time.monotonic() - started < 60


def test_leftovers_end_without_a_pid_namespace_too(archive: Path, tmp_path: Path) -> None:
    """Where the runtime is not PID 1 it adopts orphans, so a local job without namespaces leaves none either."""
    script = "(setsid sleep 1234.5 &) ; (sleep 1234.5 &) ; exit 0"
    document = {"contract": 1, "job": {"id": "j", "name": "j", "kind": "process"}, "command": ["/bin/sh", "-c", script]}
    environ = {"PATH": os.environ["PATH"], "LYFTLEARN_SUBSTRATE": "local", "LYFTLEARN_ROOT": str(tmp_path / "root")}
    environ["LYFTLEARN_BUNDLE"] = json.dumps(document)
    subprocess.run([sys.executable, "-I", "-S", str(archive), "run"], env=environ, check=True, timeout=600)
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if b"1234.5" in command]


def test_a_killed_runtime_takes_the_command_with_it(containers: Any) -> None:
    """What is left is what a dead node leaves: nothing runs on."""
    container = containers.make("local", ["/bin/sh", "-c", "echo ready; sleep 4321.5"])
    process = container.start()
    process.stdout.readline()
    os.kill(runtime_pid(process), signal.SIGKILL)
    process.communicate(timeout=600)
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if b"4321.5" in command]


@pytest.mark.contract("C-OUT-1")
def test_output_keeps_every_byte_and_the_order_of_both_streams(containers: Any) -> None:
    """Binary output and lines of 10 MB are somebody's log; stderr explains the line of stdout before it."""
    program = "import os\n"
    program += "for i in range(2000):\n    os.write(1, b'o%d\\n' % i); os.write(2, b'e%d\\n' % i)\n"
    program += "os.write(1, bytes(range(256)))\n"
    program += "import sys; sys.stdout.write('x' * 10_000_000); sys.stdout.flush()\n"
    result = containers.make("local", ["python3", "-c", program]).run()
    expected = b"".join(b"o%d\ne%d\n" % (i, i) for i in range(2000)) + bytes(range(256)) + b"x" * 10_000_000
    assert hashlib.sha256(result.output).digest() == hashlib.sha256(expected).digest()


def test_output_comes_while_the_command_runs(containers: Any) -> None:
    """A log that arrives at the end is no log."""
    process = containers.make("local", ["/bin/sh", "-c", "printf now; sleep 3; echo later"]).start()
    started = time.monotonic()
    assert process.stdout.read(3) == b"now"
    first = time.monotonic() - started
    process.communicate(timeout=600)
    assert time.monotonic() - started - first > 1


@pytest.mark.contract("C-OUT-2")
def test_last_words_fit_every_platform(containers: Any) -> None:
    """SageMaker cuts at 1024 characters and Kubernetes at 4096 bytes: from the end, where a traceback says why."""
    program = "print('début ' * 2000); raise SystemExit('é' * 1000 + ' the cause')"
    report = containers.make("sagemaker", ["python3", "-c", program]).run()
    assert len(report.report) <= 1024
    assert len(report.report.encode()) <= 4096
    assert len(report.last_words) == 700
    assert report.last_words.endswith("é the cause")


def test_a_program_may_open_its_own_streams_again(containers: Any) -> None:
    """`echo > /dev/stderr` is in every shell script, and fails where the pipe belongs to another user."""
    result = containers.make("sagemaker", ["/bin/sh", "-c", "echo one > /dev/stderr; echo two > /dev/stdout"]).run()
    assert (result.exit_code, result.output) == (0, b"one\ntwo\n")


@pytest.mark.contract("C-END-7")
@pytest.mark.parametrize("command", [["no-such-program"], ["/etc/passwd"]])
def test_a_command_that_cannot_start_blames_the_image(containers: Any, command: list[str]) -> None:
    """It is not in the image: repeating it changes nothing."""
    result = containers.make("local", command, retries=3).run()
    assert (result.exit_code, result.facts["reason"]) == (127, "image")
    assert command[0] in result.last_words


def test_too_large_an_environment_is_said_so(containers: Any) -> None:
    """The kernel's own answer names neither the variable nor the limit."""
    result = containers.make("local", ["/bin/true"], env={"BIG": "x" * 200_000}).run()
    assert (result.exit_code, result.facts["reason"]) == (78, "configuration")
    assert "longer than the kernel passes" in result.last_words


@pytest.mark.contract("C-REPORT-5")
def test_its_own_last_words_are_kept(containers: Any) -> None:
    """Programs of both platforms write their failure where the platform documents it."""
    script = "echo 'quota of rides exceeded' > /dev/termination-log; echo noise; exit 9"
    result = containers.make("kubernetes", ["/bin/sh", "-c", script]).run()
    assert (result.facts["exit_code"], result.last_words) == (9, "quota of rides exceeded")


@pytest.mark.parametrize("version", [1, 2])
def test_out_of_memory_is_told_from_the_control_group(tmp_path: Path, version: int) -> None:
    """Exit code 137 alone is also a plain SIGKILL."""
    membership = tmp_path / "cgroup"
    if version == 2:
        membership.write_text("0::/pod/container\n")
        path = tmp_path / "memory.events"
    else:
        membership.write_text("4:memory:/pod\n3:cpu,cpuacct:/\n")
        path = tmp_path / "memory/pod/memory.oom_control"
    assert out_of_memory_kills(str(tmp_path), str(membership)) == 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("low 0\noom 3\noom_kill 2\n")
    assert out_of_memory_kills(str(tmp_path), str(membership)) == 2


@pytest.mark.contract("C-END-4", "C-RETRY-2")
def test_an_out_of_memory_kill_is_the_reason_and_not_retried(containers: Any) -> None:
    """More of the same memory ends the same way; the reason tells the user what to raise."""
    container = containers.make("local", ["/bin/sh", "-c", "echo oom_kill 1 > $EVENTS; kill -9 $$$$"], retries=2)
    events = container.directory / "root/tmp/memory.events"
    events.parent.mkdir(parents=True)
    events.write_text("oom_kill 0\n")
    events.chmod(0o666)
    container.document["env"] = {"EVENTS": "/lyftlearn/tmp/memory.events"}
    container.mounts = ["--tmpfs", "/sys/fs/cgroup", "--bind", str(events), "/sys/fs/cgroup/memory.events"]
    result = container.run()
    assert (result.exit_code, result.facts["reason"]) == (137, "out-of-memory")
    assert result.facts["attempt"] == 1


@pytest.mark.contract("C-STOP-2")
def test_stop_while_inputs_are_prepared(containers: Any) -> None:
    """SIGTERM before the command's start is a stop as well, and the command never starts."""
    hosts = "first.invalid,second.invalid"
    container = containers.make("local", ["/bin/echo", "started"], nodes=2)
    container.variables |= {"LYFTLEARN_SUBSTRATE_HOSTS": hosts, "LYFTLEARN_SUBSTRATE_RANK": "0"}
    process = container.start()
    while not (container.root / "home").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(runtime_pid(process), signal.SIGTERM)
    output, _ = process.communicate(timeout=600)
    result = container.result(process.returncode, output)
    assert (result.exit_code, result.facts["stopped"], result.facts["attempt"]) == (143, True, 0)
    assert not re.search(b"started", output)


def test_the_runtime_s_own_failure_is_reported(containers: Any) -> None:
    """Whatever was not foreseen is the platform's fault and said so: a backend never waits for a report in vain."""
    result = containers.make("local", ["/bin/true"], metrics={"relay": True, "socket": "/nowhere/statsd.sock"}).run()
    assert (result.exit_code, result.facts["reason"], result.facts["attempt"]) == (70, "platform", 0)
    assert "FileNotFoundError" in result.last_words


def _reserve(container: Any, seconds: float, unit: float = 1000) -> None:
    """Let the platform say that the machine may be taken away in so many seconds."""
    expires = time.time() + capacity.RECLAIMED_BEFORE + seconds
    container.variables[capacity.VARIABLE] = str(int(expires * unit))


@pytest.mark.contract("C-ENV-10")
@pytest.mark.parametrize("substrate", SUBSTRATES)
@pytest.mark.parametrize("unit", [1, 1000])
def test_the_end_of_reserved_capacity_is_told(containers: Any, substrate: str, unit: float) -> None:
    """In seconds on every platform; AWS's guide has milliseconds, and a program of its users reads seconds."""
    container = containers.make(substrate, ["/bin/sh", "-c", "echo $LYFTLEARN_CAPACITY_ENDS_AT"])
    _reserve(container, 3600, unit)
    assert abs(int(container.run().output) - time.time() - 3600) < 120


@pytest.mark.contract("C-ENV-10")
@pytest.mark.parametrize("text", ["", "0", "soon", "-1", "1700000000000", "1e999", "nan"])
def test_capacity_without_a_believable_end_is_not_told(containers: Any, text: str) -> None:
    """A job must not be ended by a variable that somebody left in an image, and no other LYFTLEARN_ name passes."""
    container = containers.make("sagemaker", ["/bin/sh", "-c", "echo [$LYFTLEARN_CAPACITY_ENDS_AT]"])
    container.variables |= {capacity.VARIABLE: text, "LYFTLEARN_CAPACITY_ENDS_AT": "5"}
    result = container.run()
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, b"[]")


@pytest.mark.contract("C-END-10")
@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_a_command_is_ended_before_its_reserved_capacity(containers: Any, substrate: str) -> None:
    """It saves what it has in its grace. The container stays, so that the platform starts the job anew elsewhere."""
    script = "trap 'echo saved; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    container = containers.make(substrate, ["/bin/sh", "-c", script], retries=3, model=True, grace=1)
    _reserve(container, 8)
    process = container.start()
    lines = list(iter(process.stdout.readline, b"saved\n"))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    os.kill(runtime_pid(process), signal.SIGTERM)
    output, _ = process.communicate(timeout=600)
    result = container.result(process.returncode, output)
    assert lines[0] == b"ready\n"
    assert (result.exit_code, result.facts["reason"], result.facts["attempt"]) == (143, "preempted", 1)
    assert result.last_words == capacity.Capacity.MESSAGE
    assert not container.artifacts.exists()
