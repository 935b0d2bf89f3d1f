"""Runs the runtime in a pod and keeps what it printed: a pod that is deleted takes its own log with it.

Standard library and the runtime beside it, Python 3.8 and newer. Lines are kept as the kubelet gives them, each after its
time, so that they read the same from either place.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RUNTIME = os.path.join(HERE, "runtime.pyz")
LOG_VARIABLE = "LYFTLEARN_SUBSTRATE_LOG"
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
CHUNK = 1 << 16
MOST_PODS = 1000


class Lines:
    """A file of lines with times."""

    def __init__(self, file):
        self._file = file
        self._within = False

    def write(self, chunk):
        """Append what was printed just now."""
        for part in _split(chunk):
            if not self._within:
                self._file.write(timestamp(time.time_ns()) + b" ")
            self._file.write(part)
            self._within = not part.endswith(b"\n")


def _split(chunk):
    parts = chunk.split(b"\n")
    whole = [part + b"\n" for part in parts[:-1]]
    return whole + ([parts[-1]] if parts[-1] else [])


def timestamp(nanoseconds):
    """RFC 3339 in UTC with nanoseconds."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


def main():
    """Run, keep, and exit as the runtime did."""
    with tempfile.TemporaryFile(dir=_writable()) as file:
        code = _run(Lines(file))
        try:
            _keep(file)
        except Exception as error:  # the job's end is told whatever becomes of its log
            print("lyftlearn: the log was not kept: %s" % error, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


def _writable():
    return "/lyftlearn" if os.access("/lyftlearn", os.W_OK) else None


def _run(lines):
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    child = subprocess.Popen(
        [sys.executable, "-I", RUNTIME, "run"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_unblock,
    )
    for number in FORWARDED:
        signal.signal(number, lambda received, _: child.send_signal(received))
    _unblock()
    while True:
        chunk = os.read(child.stdout.fileno(), CHUNK)
        if not chunk:
            break
        _print(chunk)
        lines.write(chunk)
    code = child.wait()
    return 128 - code if code < 0 else code


def _unblock():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _print(chunk):
    view = memoryview(chunk)
    while view:
        try:
            view = view[os.write(1, view) :]
        except OSError:  # nobody reads any more: the job goes on
            return


def _keep(file):
    directory = os.environ.get(LOG_VARIABLE)
    if not directory:
        return
    sys.path.insert(0, RUNTIME)
    from lyftlearn_runtime.storage import store_for

    sink = store_for(directory).sink(_free(store_for(directory), directory))
    file.seek(0)
    for chunk in iter(lambda: file.read(CHUNK), b""):
        sink.write(chunk)
    sink.commit()


def _free(store, directory):
    """A name of this node's that no earlier pod took."""
    node = os.environ.get("JOB_COMPLETION_INDEX") or "0"
    for number in range(MOST_PODS):
        uri = "%s/%s-%d.log" % (directory, node, number)
        if not store.find(uri):
            return uri
    raise RuntimeError("%d pods have run already" % MOST_PODS)


if __name__ == "__main__":
    main()
