"""The process that runs one job: detached from whoever submitted it, and fast to start."""

from __future__ import annotations

import errno
import json
import math
import os
import select
import signal
import sys
import time
from pathlib import Path

from lyftlearn_local.layouts import FINISH
from lyftlearn_local.layouts.layout import LaunchError, LaunchStopped, NodeContext
from lyftlearn_local.store import idle, start_mark
from lyftlearn_local.store.files import ASKED_TO_STOP, FINAL, JobFiles, Store, event, overdue_event, process_start
from lyftlearn_local.store.leftovers import remove_nodes, settle, sweep_containers
from lyftlearn_local.store.locks import Lock
from lyftlearn_local.store.trees import remove_tree
from lyftlearn_local.supervisor.handover import Program, Turn, next_turn, take_turn
from lyftlearn_local.supervisor.launch import launch, take_environment
from lyftlearn_local.supervisor.node import Node, free_port, read_report
from lyftlearn_local.supervisor.outcome import NodeOutcome, command_end, final_event, hang_words
from lyftlearn_local.supervisor.sandbox import MORE_STARTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lyftlearn_local.layouts.layout import ContainerLayout

SHORTEST_LOOK, LONGEST_LOOK = 0.005, 0.25
ASK_AGAIN = 0.5
AFTER_GRACE = 30.0
"""Seconds that a runtime has beyond the command's grace to keep what there is to keep."""
ASKED_TO_END = "its supervisor was asked to end, as when the machine shuts down; submit the job again"
_LOCK_TRIES = 20


class JobSupervisor:
    """Runs one job to its end."""

    def __init__(self, job: JobFiles, run: dict[str, Any]) -> None:
        self.job = job
        self.run_settings = run
        self._environment: dict[str, str] = {}
        self.nodes: list[tuple[Node, ContainerLayout]] = []
        self.outcomes: list[NodeOutcome] = []
        self.trouble: tuple[str, str] | None = None
        self.stop_requested = False
        self.interrupted = False
        self._port = 0
        self._starts_left = MORE_STARTS
        self.attempt = 1
        self.started_at: float | None = None
        self._ending_since: float | None = None
        self._asked_at = 0.0
        self._progress: dict[int, int] = {}
        self._wakeup, write_end = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write_end, False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(write_end)

    def supervise(self) -> None:
        """Start every node, follow them to their end, write the job's."""
        identity = [os.getpid(), process_start(os.getpid())]
        self.job.append(event("starting", supervisor=identity))
        self._try(self._launch)
        self._follow()
        final: dict[str, Any] = {**self._finish(self._final_event()), **command_end(self.outcomes)}
        remove_nodes(self.job.path)
        self._emit(**final)
        self._stop_listening()

    def _stop_listening(self) -> None:
        """The process may go on with another job."""
        for number, handler in ((signal.SIGCHLD, signal.SIG_DFL), (signal.SIGUSR1, signal.SIG_IGN)):
            signal.signal(number, handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(signal.set_wakeup_fd(-1))
        os.close(self._wakeup)

    def _try(self, launch_nodes: Callable[[], None]) -> None:
        """Start what is to start; why it cannot be started becomes the job's trouble."""
        try:
            launch_nodes()
        except LaunchError as error:
            self.trouble = (error.reason, str(error))
        except LaunchStopped:
            self._note_interruption()
        except OSError as error:
            self.trouble = ("platform", _disk_words(error, self.job.path))

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGTERM:
            self.trouble = self.trouble or ("platform", ASKED_TO_END)

    def _launch(self) -> None:
        self._environment = take_environment(self.job)
        self._port = free_port() if self.run_settings["nodes"] > 1 else 0
        for rank in range(self.run_settings["nodes"]):
            self.nodes.append(launch(self._context(rank)))

    def _context(self, rank: int) -> NodeContext:
        return NodeContext(
            self.job, self.run_settings, self._environment, rank=rank, port=self._port, is_ending=self._is_ending
        )

    def _is_ending(self) -> bool:
        return self.trouble is not None or self.job.stop_path.exists()

    def _note_interruption(self) -> None:
        """A stop, or trouble, came while the platform worked for the job."""
        self.interrupted = True
        self._note_stop_request()

    def _final_event(self) -> dict[str, Any]:
        return final_event(
            self.outcomes, trouble=self.trouble, stop_requested=self.stop_requested, interrupted=self.interrupted
        )

    def _finish(self, final: dict[str, Any]) -> dict[str, Any]:
        """What the platform does after success; its failure is the job's."""
        finish = FINISH.get(self.run_settings["layout"])
        if finish is None or final["status"] != "succeeded":
            return final
        try:
            finish(self._context(0))
        except LaunchError as error:
            self.trouble = (error.reason, str(error))
        except LaunchStopped:
            self._note_interruption()
        return self._final_event()

    def _follow(self) -> None:
        look = SHORTEST_LOOK
        while alive := [node for node, _ in self.nodes if not node.ended]:
            look = SHORTEST_LOOK if self._wait(alive, look) else min(look * 2, LONGEST_LOOK)
            self._note_progress()
            self._note_stop_request()
            for node in alive:
                self._note_end(node)
            self._note_hanging()
            self._end_if_needed()

    def _note_hanging(self) -> None:
        """A Python that hangs, in an image or on a disk that is away, would keep its slot, and hear of no timeout."""
        limit: float = self.run_settings.get("begin", math.inf)
        for node, layout in self.nodes:
            late = not node.ended and time.monotonic() - node.started > limit
            if late and layout.progress and not layout.progress.exists():
                self.trouble = self.trouble or hang_words(self.run_settings, limit)
                node.kill()

    def _wait(self, alive: list[Node], timeout: float) -> bool:
        """Sleep until something happens; move output to disk. Whether something did."""
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        for node in alive:
            if not node.drained:
                poller.register(node.output, select.POLLIN)
        ready = {descriptor for descriptor, _ in poller.poll(timeout * 1000)}
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
        for node in alive:
            if node.output in ready:
                self._keep_log(node.pump)
        return bool(ready)

    def _keep_log(self, keep: Callable[[], None]) -> None:
        try:
            keep()
        except OSError as error:
            self.trouble = self.trouble or ("platform", f"its log cannot be kept: {_disk_words(error, self.job.path)}")

    def _note_progress(self) -> None:
        for node, layout in self.nodes:
            for line in self._new_progress(node.rank, layout):
                self._note_start(line["attempt"], line["at"])

    def _new_progress(self, rank: int, layout: ContainerLayout) -> list[dict[str, Any]]:
        """What the runtime has line since the last look, whole lines only."""
        try:
            if layout.progress is None or layout.progress.stat().st_size <= self._progress.get(rank, 0):
                return []
        except FileNotFoundError:
            return []
        whole = layout.progress.read_bytes().rpartition(b"\n")[0]
        fresh = whole[self._progress.get(rank, 0) :]
        self._progress[rank] = len(whole) + 1
        return [json.loads(line) for line in fresh.split(b"\n") if line]

    def _note_start(self, attempt: int, at: float) -> None:
        first = self.started_at is None
        self.started_at = min(at, self.started_at or at)
        if (first or attempt > self.attempt) and not self.stop_requested:
            self.attempt = max(attempt, self.attempt)
            self._emit("running")

    def _note_stop_request(self) -> None:
        if not self.stop_requested and self.job.stop_path.exists():
            self.stop_requested = True
            self._emit("stopping", message=ASKED_TO_STOP)

    def _note_end(self, node: Node) -> None:
        if node.process.poll() is None:
            return
        node.end_leftovers()
        self._keep_log(node.pump)
        node.ended = True
        layout = next(layout for other, layout in self.nodes if other is node)
        report = _report(node, layout)
        if report is None and node.never_began() and self._starts_left and not self._is_ending():
            self._starts_left -= 1
            self._try(lambda: self._start_again(node))
            return
        self._keep_log(node.keep_held)
        outcome = NodeOutcome(node, report, ending=self._ending_since is not None)
        self.outcomes.append(outcome)
        self._note_progress()
        _release(node)

    def _start_again(self, node: Node) -> None:
        """Start a node anew that never began: what is mounted and unmounted meanwhile is not its business."""
        _release(node)
        remove_tree(self.job.node(node.rank))
        self.nodes[[other for other, _ in self.nodes].index(node)] = launch(self._context(node.rank))

    def _end_if_needed(self) -> None:
        """One node's failure, a wish or trouble of our own ends the other nodes: asked first, then killed."""
        if not (self.stop_requested or self.trouble or any(outcome.failed for outcome in self.outcomes)):
            return
        now = time.monotonic()
        self._ending_since = self._ending_since or now
        patience = self.run_settings["grace"] + AFTER_GRACE
        alive = [node for node, _ in self.nodes if not node.ended]
        if now - self._ending_since > patience:
            for node in alive:
                node.kill()
        elif now - self._asked_at > ASK_AGAIN:
            self._asked_at = now
            for node in alive:
                node.terminate()

    def _emit(self, status: str, **details: Any) -> None:
        # A node that succeeded in SageMaker's layout leaves no report, so its attempts are known from its lines alone.
        attempt = max(self.attempt, details.pop("attempt", 1))
        details = {"attempt": attempt, "started_at": self.started_at} | details
        try:
            self.job.append(event(status, **details))
        except OSError as error:
            if status in FINAL:
                raise
            self.trouble = self.trouble or ("platform", _disk_words(error, self.job.path))


def _release(node: Node) -> None:
    node.close()
    if node.group:
        node.group.remove()


def _report(node: Node, layout: ContainerLayout) -> dict[str, Any] | None:
    report = read_report(layout.report)
    if report is None and not layout.reports_success and node.process.returncode == 0:
        return {"exit_code": 0}
    return report


def _disk_words(error: OSError, path: Path) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = f"; free some space on the disk of {path} and submit the job again" if full else ""
    return f"{error.strerror or error}{remedy}"


def _detach(job: JobFiles) -> None:
    """Take nothing along from whoever started this: no signal dispositions, no mask, no directory."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    os.chdir("/")
    job.redirect_errors()


def run_if_first(job: JobFiles, record: dict[str, Any]) -> bool:
    """Run the job, or settle what a killed supervisor left; whether it was run.

    Whoever looks at a job holds its lock for a moment.
    """
    for _ in range(_LOCK_TRIES):
        lock = job.try_lock()
        if lock is None:
            time.sleep(0.01)
            continue
        with lock:
            if not job.has_begun():
                _begin(job, record)
                return True
            if (events := job.events()) and events[-1]["status"] not in FINAL:
                settle(job, events[-1])
        return False
    return False


def _begin(job: JobFiles, record: dict[str, Any]) -> None:
    if job.stop_path.exists():
        job.append(event("stopped", message=ASKED_TO_STOP))
        return
    if end := overdue_event(record):
        job.append(end)
        return
    JobSupervisor(job, record["run"]).supervise()


def supervise(directory: str, claim_descriptor: str | None = None) -> None:
    """Run the job in `directory`, in a slot; then the next that waits, or that comes within a while."""
    job = JobFiles(Path(directory))
    store, program = Store(job.path.parent.parent), Program(job.record()["run"]["supervisor"])
    turn: Turn | None = Turn(job, Lock.from_descriptor(int(claim_descriptor)) if claim_descriptor else None)
    while turn:
        start_mark.remove(turn.job)
        record = turn.job.record()
        _detach(turn.job)
        slot = take_turn(store, turn, record["run"], program)
        if isinstance(slot, Turn):
            turn = slot
            continue
        if slot:
            _run(store, turn, record, slot)
        if turn.claim:
            turn.claim.release()
        turn = (next_turn(store, program) if slot else None) or _await_turn(store, program)


def _run(store: Store, turn: Turn, record: dict[str, Any], slot: Lock) -> None:
    try:
        run_if_first(turn.job, record)
    except OSError as error:
        print(f"the job's end cannot be written: {error}", file=sys.stderr)
    finally:
        sweep_containers(store, record["run"])
        store.dequeue(turn.job.path.name, record["created_at"])
        slot.release()


def _await_turn(store: Store, program: Program) -> Turn | None:
    signal.signal(signal.SIGTERM, _leave)
    job = idle.wait_for_job(store, program.surroundings)
    return Turn(job) if job else None


def _leave(_number: int, _frame: object) -> None:
    sys.exit()
