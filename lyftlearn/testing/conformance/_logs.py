"""Logs: every line, once, in order."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from lyftlearn.backend import LogLine
from lyftlearn.errors import LyftLearnError
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import JobStatus

MANY = 3000
LONG = 10 << 20
WHOLE_LINES = [
    "",
    "  ",
    "  indented ",
    "tab\there",
    "a\rb",
    "form\ffeed",
    "vertical\vtab",
    "file\x1cseparator",
    "next\u2028line",
    "",
]


_LAST_LINE_ON_STOP = """
    import signal, sys, time
    def leave(*_):
        print("new", flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    for number in range(5):
        print("old", number, flush=True)
    print("up", flush=True)
    while True:
        time.sleep(1)
"""
"""A test says when the last line comes, so that no machine is too busy for it."""


class LogsConformance(Fixtures):
    """`logs`: what people look at first, and what no other test would notice the loss of."""

    def test_every_line_once_and_in_order(self, harness: Harness) -> None:
        """Also when there are more than one page or buffer holds."""
        lines = harness.output_lines(harness.quiet(f"for number in range({MANY}): print('line', number)"))
        assert lines == [f"line {number}" for number in range(MANY)]

    def test_follow_from_before_the_start(self, harness: Harness) -> None:
        """People follow a job in the moment they submit it, when there is no log yet."""
        code = f"""
            import time
            for number in range({MANY}):
                print("line", number, flush=True)
                if number % 500 == 0:
                    time.sleep(0.1)
        """
        spec = harness.quiet(code)
        harness.submit(spec)
        assert harness.lines(spec.id, follow=True) == [f"line {number}" for number in range(MANY)]
        assert harness.backend.describe(spec.id).event.status is JobStatus.SUCCEEDED, "following ended before the job"

    def test_follow_does_not_end_in_a_silence(self, harness: Harness) -> None:
        """A command that computes for hours says nothing meanwhile; the end of a stream is not the job's."""
        code = "import time; print('before', flush=True); time.sleep(4); print('after')"
        spec = harness.quiet(code)
        harness.submit(spec)
        assert harness.lines(spec.id, follow=True) == ["before", "after"]

    def test_follow_shows_a_line_while_the_job_runs(self, harness: Harness) -> None:
        """WatchSet that waits for a buffer to fill, or for the end, is no following."""
        spec = harness.quiet("import time; print('up', flush=True); time.sleep(600)")
        harness.submit(spec)
        harness.until_line(spec.id, "up")
        assert not harness.backend.describe(spec.id).event.status.finished
        harness.backend.stop(spec.id)
        harness.wait(spec.id)

    def test_follow_after_the_end(self, harness: Harness) -> None:
        """Whoever comes late reads what everybody read, and is not kept waiting."""
        spec = harness.succeed(harness.quiet("print('one'); print('two')"))
        assert harness.lines(spec.id, follow=True) == ["one", "two"]
        assert harness.lines(spec.id) == ["one", "two"]

    def test_several_followers_see_the_same(self, harness: Harness) -> None:
        """Each stream has a place of its own."""
        spec = harness.succeed(harness.quiet(f"for number in range({MANY}): print(number)"))
        first, second = harness.lines(spec.id, follow=True), harness.lines(spec.id, follow=True)
        assert first == second
        assert len(first) == MANY

    def test_both_streams_keep_their_order(self, harness: Harness) -> None:
        """A warning on stderr belongs beside the line on stdout that it is about."""
        code = """
            import sys
            for number in range(50):
                print("out", number)
                print("err", number, file=sys.stderr)
        """
        wanted = [f"{stream} {number}" for number in range(50) for stream in ("out", "err")]
        assert harness.output_lines(harness.quiet(code)) == wanted

    def test_only_newlines_separate_lines(self, harness: Harness) -> None:
        """Empty lines, carriage returns of progress bars, and what Unicode calls a line break, arrive as they were."""
        code = "import os, sys; os.write(1, ('\\n'.join(sys.argv[1:]) + '\\n').encode())"
        assert harness.output_lines(harness.quiet(command=harness.python(code, *WHOLE_LINES))) == WHOLE_LINES

    def test_a_line_without_its_newline_is_a_line(self, harness: Harness) -> None:
        """The last words of a program that was killed often lack it."""
        assert harness.output_lines(harness.quiet("import os; os.write(1, b'first\\nlast')")) == ["first", "last"]

    def test_no_output_is_no_lines(self, harness: Harness) -> None:
        """Not one empty line."""
        assert harness.output_lines(harness.quiet("pass")) == []

    def test_bytes_that_are_no_text(self, harness: Harness) -> None:
        """A program that prints a tensor must not end the reading of its log."""
        code = "import os; os.write(1, b'a\\xff\\xfeb\\n' + 'caf\\u00e9 \\U0001f697'.encode() + b'\\nend\\n')"
        assert harness.output_lines(harness.quiet(code)) == ["a\ufffd\ufffdb", "café \U0001f697", "end"]

    def test_a_very_long_line(self, harness: Harness) -> None:
        """A service may cut what is longer than it can carry, but nothing is lost and what follows arrives."""
        spec = harness.quiet(f"print('x' * {LONG}); print('after')")
        lines = harness.output_lines(spec)
        assert lines[-1] == "after"
        assert sum(map(len, lines[:-1])) == LONG
        assert set("".join(lines[:-1])) == {"x"}

    def test_the_last_lines_of_a_failure(self, harness: Harness) -> None:
        """They say why, and come last: after what was printed before, also by a program that never flushes."""
        code = """
            for number in range(1000):
                print("line", number)
            raise KeyError("the last line")
        """
        spec = harness.quiet(code)
        harness.run(spec)
        lines = harness.lines(spec.id)
        assert lines[:1000] == [f"line {number}" for number in range(1000)]
        assert lines[-1] == "KeyError: 'the last line'"

    @pytest.mark.parametrize("follow", [False, True])
    def test_tail(self, harness: Harness, follow: bool) -> None:
        """The last lines of a long log, without reading it all."""
        spec = harness.succeed(harness.quiet("for number in range(100): print(number)"))
        assert harness.lines(spec.id, tail=3, follow=follow) == ["97", "98", "99"]
        assert harness.lines(spec.id, tail=0, follow=follow) == []
        assert len(harness.lines(spec.id, tail=1000, follow=follow)) == 100

    def test_tail_then_follow(self, harness: Harness) -> None:
        """`tail` cuts what was there; whatever comes afterwards is given."""
        spec = harness.quiet(_LAST_LINE_ON_STOP)
        harness.submit(spec)
        harness.until_line(spec.id, "up")
        lines = harness.lines_until_stop(spec.id, "up", tail=2)
        assert lines == ["old 4", "up", "new"]

    def test_since(self, harness: Harness) -> None:
        """Times of lines are comparable with what is asked, and the moment itself belongs to it."""
        spec = harness.quiet(_LAST_LINE_ON_STOP)
        harness.submit(spec)
        harness.until_line(spec.id, "up")
        time.sleep(3)  # at least so long: it is what lies between the two lines, however busy the machine is
        harness.backend.stop(spec.id)
        harness.wait(spec.id)
        early, late = (line for line in _settled_log(harness, spec.id) if line.text in ("up", "new"))
        assert late.at - early.at > timedelta(seconds=2)
        assert harness.lines(spec.id, since=late.at) == ["new"]
        assert harness.lines(spec.id, since=early.at + timedelta(seconds=1)) == ["new"]
        assert harness.lines(spec.id, since=early.at)[-2:] == ["up", "new"]
        assert harness.lines(spec.id, since=datetime.now(UTC) + timedelta(hours=1)) == []

    def test_times_of_lines(self, harness: Harness) -> None:
        """`timestamps=True` shows them: in UTC, within the job's life, and never going back."""
        spec = harness.quiet("import time\nfor number in range(3): print(number, flush=True); time.sleep(0.2)")
        state = harness.run(spec)
        times = [line.at for line in harness.log(spec.id)]
        slack = timedelta(seconds=2)
        assert state.finished_at is not None
        assert len(times) == 3
        assert times == sorted(times)
        assert all(at.utcoffset() == timedelta() for at in times)
        assert state.created_at - slack <= times[0] <= times[-1] <= state.finished_at + slack

    def test_of_one_node(self, harness: Harness) -> None:
        """A job of one node has the node 0."""
        spec = harness.succeed(harness.quiet("print('hello')"))
        assert harness.lines(spec.id, node=0) == ["hello"]
        assert [line.node for line in harness.log(spec.id)] == [0]

    def test_following_a_job_that_is_stopped_before_it_starts(self, harness: Harness) -> None:
        """There may never be a log, and the follower must not wait for one.

        Where the platform was faster than the stop, the job's log may have gone with it, and the follower is told.
        """
        spec = harness.quiet("import time; time.sleep(600)")
        harness.submit(spec)
        harness.backend.stop(spec.id)
        try:
            lines = harness.lines(spec.id, follow=True)
        except LyftLearnError:
            assert harness.wait(spec.id).started_at, "a job that never began has no log that could be lost"
        else:
            assert lines == []


def _settled_log(harness: Harness, job_id: str) -> list[LogLine]:
    """Return a log that is the same twice: once a job has ended, it may be read from another place, with its times."""
    before: list[LogLine] | None = None
    lines = harness.log(job_id)
    while lines != before:
        time.sleep(1)
        before, lines = lines, harness.log(job_id)
    return lines
