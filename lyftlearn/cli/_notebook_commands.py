"""`notebook`: opened in a browser, started, stopped."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from lyftlearn._client import Client
from lyftlearn._submission import notes
from lyftlearn.cli import _output, _waiting
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.errors import BackendUnavailable, InvalidJob, JobNotFound

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Notebook
    from lyftlearn.cli._invocation import Invocation

ACTIONS = ("open", "start", "stop")
_LOOK = 0.2  # seconds between two looks for a port that is about to be forwarded


def notebook(invocation: Invocation) -> ExitCode:
    """Do what the words say: a name alone opens the notebook."""
    arguments = dict(invocation.arguments)
    action, name = _action_and_name(arguments.pop("words"))
    if invocation.json:
        notes.silence()
    client = Client(config=invocation.config)
    if action == "open":
        return _open(invocation, client, name, arguments)
    if arguments:
        raise InvalidJob([(", ".join(arguments), f"belongs to `open`, and not to `{action}`: leave it out")])
    return _start(invocation, _last_run(client, name)) if action == "start" else _stop(_last_run(client, name))


def _action_and_name(words: list[str]) -> tuple[str, str]:
    if len(words) == 1 and words[0] not in ACTIONS:
        return "open", words[0]
    if len(words) == 2 and words[0] in ACTIONS:
        return words[0], words[1]
    raise InvalidJob([("NAME", f"write `lyftlearn notebook NAME`, or one of {', '.join(ACTIONS)} and then the name")])


def _last_run(client: Client, name: str) -> Notebook:
    job_id = client._session.notebooks.find(name)  # noqa: SLF001 - the client's other half
    if job_id is None:
        raise JobNotFound(f"you have no notebook {name!r}: `lyftlearn notebook {shlex.quote(name)}` makes one")
    return cast("Notebook", client.job(job_id))


def _start(invocation: Invocation, found: Notebook) -> ExitCode:
    found.start()
    if invocation.json:
        _output.document(_output.job_document(found))
    else:
        _output.say(found.id)
    return ExitCode.DONE


def _stop(found: Notebook) -> ExitCode:
    found.stop()
    return ExitCode.DONE


def _open(invocation: Invocation, client: Client, name: str, arguments: dict[str, Any]) -> ExitCode:
    browses = not arguments.pop("no_browser", False)
    with _waiting.submitting(name):
        opened = client.notebook(name, **arguments)
    if not invocation.json:
        _output.note(f"opening {opened.id}")
    with _waiting.detachable([opened], "notebook"):
        address = opened._address()  # noqa: SLF001 - with what must run for it, and without a warning
    if invocation.json:
        _output.document({**_output.job_document(opened), "url": address.url, "forward": address.forward})
        return ExitCode.DONE
    if address.forward is None:
        _show(address.url, browses=browses)
        return ExitCode.DONE
    with _forwarding(address.forward, address.url) as forwarding:
        _show(address.url, browses=browses)
        _output.note("the port is forwarded until you press Ctrl-C; the notebook goes on")
        forwarding.wait()
    return ExitCode.DONE


def _show(url: str, *, browses: bool) -> None:
    print(url, flush=True)
    if browses:
        webbrowser.open(url)


@contextmanager
def _forwarding(command: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command until what it forwards was left. Raises BackendUnavailable where it ends before."""
    if _answers(url):  # else that would be opened, and be told the token
        taken = urlsplit(url).netloc
        remedy = "end that first, or open the URL that was printed where this notebook's port is forwarded already"
        raise BackendUnavailable(f"the port cannot be forwarded, because something listens on {taken}: {remedy}")
    arguments = shlex.split(command)
    try:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    except OSError as exc:
        remedy = f"install {arguments[0]}, or run: {command}"
        raise BackendUnavailable(f"the port cannot be forwarded ({exc}): {remedy}") from exc
    try:
        while not _answers(url):
            if process.poll() is not None:
                raise BackendUnavailable(
                    f"the port cannot be forwarded; this ended with {process.returncode}: {command}"
                )
            time.sleep(_LOOK)
        yield process
    except KeyboardInterrupt:
        pass
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname or "", address.port or 80), timeout=1):
            return True
    except OSError:
        return False
