"""Work beside submissions: a queue with one thread."""

from __future__ import annotations

import logging
import os

import pytest

from lyftlearn.history.background import Background


def test_a_forked_child_leaves_its_parents_work_alone() -> None:
    """Servers fork after they have submitted: a child that did the parent's work again would shadow twice."""
    background, done = Background(), os.pipe()
    gate_read, gate_write = os.pipe()
    background.do(lambda: os.read(gate_read, 1))  # type: ignore[arg-type]
    background.do(lambda: os.write(done[1], b"p"))  # type: ignore[arg-type]
    child = os.fork()
    if child == 0:
        background.do(lambda: os.write(done[1], b"c"))  # type: ignore[arg-type]
        os._exit(0 if background.drain(30) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.write(gate_write, b"x")
    assert background.drain(30)
    assert os.read(done[0], 10) == b"cp"
    for end in (*done, gate_read, gate_write):
        os.close(end)


def test_a_full_queue_drops_and_says_so(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that hangs for an hour must not eat the memory of a service that submits all the time."""
    monkeypatch.setattr("lyftlearn.history.background._MOST_WAITING", 2)
    background = Background()
    gate_read, gate_write = os.pipe()
    with caplog.at_level(logging.WARNING, "lyftlearn"):
        for _ in range(5):
            background.do(lambda: os.read(gate_read, 1))  # type: ignore[arg-type]
    os.write(gate_write, b"x" * 5)
    assert background.drain(30)
    assert "dropped" in caplog.text
    os.close(gate_write)
    os.close(gate_read)
