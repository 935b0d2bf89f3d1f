"""How a job ended, from how its nodes did."""

from __future__ import annotations

from lyftlearn_local.store.files import ASKED_TO_STOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lyftlearn_local.supervisor.node import Node

KILLED, TERMINATED = 137, 143
SIGNALLED = "a process in the job's container sent SIGTERM to process 1, which ends the job as a stop does"
MEMORY_WORDS = "killed by the kernel: the node needed more memory than resources.memory"


class NodeOutcome:
    """How one node ended. `ending`: it had been asked to."""

    def __init__(self, node: Node, report: dict[str, Any] | None, *, ending: bool) -> None:
        content = report or {}
        self.rank = node.rank
        self.stopped: bool = content.get("stopped", ending and report is None)
        self.exit_code: int | None = content.get("exit_code")
        self.attempt: int = content.get("attempt", 0)
        self.reason: str | None = content.get("reason")
        self.message: str = content.get("message", "")
        self.idle: bool = content.get("idle", False)
        self.command_ended_at: float | None = content.get("finished_at") if content.get("started_at") else None
        if report is None and not ending:
            killed = _is_out_of_memory(node)
            self.reason, self.message = ("out-of-memory", MEMORY_WORDS) if killed else node.silent_end()
        elif self.exit_code == KILLED and _is_out_of_memory(node):
            self.reason = "out-of-memory"

    @property
    def failed(self) -> bool:
        """By itself, not because it was asked to end."""
        return self.reason is not None


def final_event(
    outcomes: Sequence[NodeOutcome], *, trouble: tuple[str, str] | None, stop_requested: bool, interrupted: bool
) -> dict[str, Any]:
    """Return the job's final event: `outcomes` in the order in which the nodes ended.

    interrupted: the platform's own work for the job was broken off.
    """
    if trouble:
        return {"status": "failed", "reason": trouble[0], "message": trouble[1]}
    attempt = max([1, *(outcome.attempt for outcome in outcomes)])
    failure = next((outcome for outcome in outcomes if outcome.failed), None)
    if failure:
        details = {"reason": failure.reason, "message": failure.message, "exit_code": failure.exit_code}
        return {"status": "failed", **details, "attempt": attempt}
    idle = next((outcome for outcome in outcomes if outcome.idle), None)
    if idle and not stop_requested:
        return {"status": "stopped", "message": idle.message, "attempt": attempt}
    if stop_requested and (interrupted or any(outcome.stopped for outcome in outcomes)):
        return {"status": "stopped", "message": ASKED_TO_STOP, "attempt": attempt}
    if any(outcome.stopped for outcome in outcomes):  # and nobody wished it
        details = {"reason": "user-error", "message": SIGNALLED, "exit_code": TERMINATED}
        return {"status": "failed", **details, "attempt": attempt}
    return {"status": "succeeded", "exit_code": 0, "attempt": attempt}


def hang_words(run: Mapping[str, Any], seconds: float) -> tuple[str, str]:
    """Return reason and words for a runtime whose Python did not begin in time."""
    words = f"did not begin within {seconds:.0f} seconds"
    if container := run.get("container"):
        return "image", f"`python3` of {container['image']} {words}: use an image in which `python3 --version` answers"
    return "configuration", f"{run['runtime'][0]} {words}: submit the job again when its disk answers"


def command_end(outcomes: Sequence[NodeOutcome]) -> dict[str, float]:
    """Return when the last node's command ended, to be kept with the final event; nothing if no node tells."""
    times = [outcome.command_ended_at for outcome in outcomes if outcome.command_ended_at]
    return {"command_ended_at": max(times)} if times else {}


def _is_out_of_memory(node: Node) -> bool:
    return node.group is not None and node.group.has_killed()
