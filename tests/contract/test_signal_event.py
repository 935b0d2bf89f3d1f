"""An event that a signal's handler may set."""

from __future__ import annotations

import subprocess
import sys
import time

from lyftlearn._contract.signal_event import SignalEvent

AT_EVERY_LINE = """
import sys
from lyftlearn._contract.signal_event import SignalEvent
event, lines = SignalEvent(), set()
def trace(frame, what, argument):
    if frame.f_lineno not in lines:
        lines.add(frame.f_lineno)
        sys.settrace(None)
        event.notify()  # as a handler would, between any two lines of what this thread is doing
        sys.settrace(trace)
    return trace
sys.settrace(trace)
for _ in range(3):
    event.clear()
    event.wait(0.01)
sys.settrace(None)
event.notify()
print(len(lines) > 5, event.is_set())
"""


def test_it_is_set_until_it_is_cleared() -> None:
    """As of any event."""
    event = SignalEvent()
    event.wait(0.01)
    assert not event.is_set()
    event.notify()
    event.notify()
    began = time.monotonic()
    event.wait(600)
    assert time.monotonic() - began < 30
    assert event.is_set()
    event.clear()
    event.wait(0.01)
    assert not event.is_set()


def test_a_handler_sets_it_wherever_its_thread_is() -> None:
    """A handler runs in the midst of what its thread is doing: the lock of a `threading.Event` would never be free."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EVERY_LINE], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout.split() == ["True", "True"], done.stderr
