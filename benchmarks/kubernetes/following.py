"""Follows jobs to their end, in an interpreter of its own: `python -m benchmarks.kubernetes.following JOBS DIRECTORY`.

Prints its peak memory, and for each job the seconds from its last change on the server to the change of its handle.
"""

from __future__ import annotations

import http.client
import json
import resource
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import measure
from benchmarks.kubernetes.contenders import COMMAND, IMAGE, address, client


def ask(directory: Path, question: str) -> Any:
    """Ask the benchmark's server one of its own questions."""
    connection = http.client.HTTPConnection(urlsplit(address(directory)).netloc, timeout=600)
    with closing(connection):
        connection.request("GET", f"/bench/{question}")
        return json.load(connection.getresponse())


def wait_until_watched(directory: Path) -> None:
    """Wait until both watches stand, and nothing more is asked for: who follows has caught up."""
    before: Any = None
    while True:
        time.sleep(1)
        calls = ask(directory, "calls")["calls"]
        if calls == before and calls.get("watch pods") and calls.get("watch jobs"):
            return
        before = calls


def main() -> None:
    import lyftlearn

    count, directory = int(sys.argv[1]), Path(sys.argv[2])
    own = client(directory)
    jobs, rate = measure.submit_from_threads(lambda: own.train("bench", command=COMMAND, image=IMAGE), count)
    before, ended, ends = ask(directory, "calls")["calls"], {}, {}

    def note(job: lyftlearn.Job, state: lyftlearn.JobState) -> None:
        if state.status.finished:
            ended[job.id] = time.monotonic()

    def end() -> None:
        wait_until_watched(directory)
        ends.update(ask(directory, "end"))

    ending = threading.Thread(target=end)
    ending.start()
    own.wait(jobs, "600s", on_update=note, progress=False)
    ending.join()
    after = ask(directory, "calls")["calls"]
    calls = {call: number - before.get(call, 0) for call, number in after.items() if number != before.get(call, 0)}
    of_self, of_writers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        json.dumps(
            {
                "peak MB": of_self.ru_maxrss / 1024,
                "writer's peak MB": of_writers.ru_maxrss / 1024,
                "submitted a second": rate,
                "calls": calls,
                "delays": [ended[job.id] - ends[job.id] for job in jobs],
            }
        )
    )


if __name__ == "__main__":
    main()
