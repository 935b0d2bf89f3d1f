"""`parity run --serve`: servers of models, compared."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._jobs import views
from lyftlearn._submission import notes
from lyftlearn._text.display import printable
from lyftlearn.cli import _output, _tables
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.errors import InvalidJob
from lyftlearn.parity._model import Verdict

if TYPE_CHECKING:
    from lyftlearn.cli._invocation import Invocation
    from lyftlearn.parity._serving import ServingParity, TestAnswer

_TAKEN = frozenset(("serve", "on", "command", "image", "resources", "patience"))


def compare(invocation: Invocation) -> ExitCode:
    """Serve models, ask each server the same, and say what differs."""
    arguments = dict(invocation.arguments)
    others = sorted(arguments.keys() - _TAKEN)
    if others:
        raise InvalidJob([(name, "is not taken with --serve: a server has what its train job had") for name in others])
    found = _run(invocation, arguments)
    if invocation.json:
        _output.document({"holds": found.holds, "agrees": found.agrees, **dataclasses.asdict(found)})
    else:
        _show(found)
    if found.holds:
        return ExitCode.DONE
    return ExitCode.JOB_FAILED if found.agrees else ExitCode.DIFFERENT


def _run(invocation: Invocation, arguments: dict[str, Any]) -> ServingParity:
    models, on = arguments.pop("serve"), arguments.pop("on")
    if invocation.json:
        notes.silence()
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave a server behind either
        signal.signal(number, signal.default_int_handler)
    client = Client(config=invocation.config)
    with _output.transient_line() as show:
        return ops.served_parity(
            models, on=on, **arguments, on_side=lambda name: show(f"serving {name}"), client=client
        )


def _show(found: ServingParity) -> None:
    names = [server.name for server in found.servers]
    rows = [[printable(row.name), row.model, *(_word(row.answers[name]) for name in names)] for row in found.tests]
    _tables.show(_tables.Table(heads=["self-test", "of", *names], rows=rows, dispensable=["of"]))
    for line in _reasons(found):
        _output.say(line)
    _output.say()
    _output.say(_conclusion(found))


def _word(answer: TestAnswer) -> str:
    if answer.verdict is Verdict.NOT_OBSERVED:
        return str(answer.verdict)
    word = "differs" if answer.verdict is Verdict.BROKEN else "same"
    return f"{word}, not as expected" if answer.problem else f"{word}, as expected"


def _reasons(found: ServingParity) -> Iterator[str]:
    """Yield a line for each server that was not asked, and for each answer that something stands against."""
    said = [(server.name, server.problem) for server in found.servers if server.problem]
    for row in found.tests:
        for name, answer in row.answers.items():
            against = answer.difference if answer.verdict is Verdict.BROKEN else answer.problem
            said += [(f"{row.name} on {name}", against)] if against else []
    if said:
        yield ""
    for where, why in said:
        yield f"{where}: {printable(why)}"


def _conclusion(found: ServingParity) -> str:
    tests = f"{len(found.tests)} self-test{'s' if len(found.tests) > 1 else ''}"
    servers = f"{len(found.servers)} server{'s' if len(found.servers) > 1 else ''}"
    after = f"{tests}, {servers}, in {views.time_text(found.seconds)}"
    if found.holds:
        return f"parity holds: every answer is the same, and as expected ({after})"
    if found.agrees:
        return f"parity holds, but the model fails its own tests everywhere alike ({after})"
    return f"parity does not hold ({after})"
