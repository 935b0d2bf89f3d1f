"""`plan`, `explain`, `backends`, `doctor` and `completion`."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lyftlearn import ops
from lyftlearn._client import Client
from lyftlearn._jobs import views
from lyftlearn._text.display import printable, printable_lines
from lyftlearn._text.redaction import HIDDEN, redact_document
from lyftlearn.backend import Capability, Verdict
from lyftlearn.cli import _next_steps, _output, _submit_commands, _yaml
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.errors import InvalidJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lyftlearn._submission.preparation import Submission
    from lyftlearn.backend import Check, Plan, Request
    from lyftlearn.cli._invocation import Invocation
    from lyftlearn.ops import Estimate, Installed
    from lyftlearn.rollout import Decision

_KEEPING = "plan_"  # begins the names of what is about the file, not about the job
_HIDDEN_NOTE = f"credentials in URLs are sent, and not printed: {HIDDEN} stands for them. A secret may hold such a URL"
_NOTHING: tuple[Any, ...] = (None, (), [], {})
_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red"}
_SIGNS = {Verdict.OK: "ok", Verdict.WARNING: "!!", Verdict.FAILED: "XX"}


def plan(invocation: Invocation) -> ExitCode:
    """Show the requests for a job that is not sent, and what stands against it."""
    client, given = Client(config=invocation.config), invocation.arguments
    keeping = {name.removeprefix(_KEEPING): value for name, value in given.items() if name.startswith(_KEEPING)}
    given = {name: value for name, value in given.items() if not name.startswith(_KEEPING)}
    if invocation.function == "serve":
        made, estimate = ops.plan_server(**given, backend=invocation.backend, client=client), None
        made = ops.with_image_notes(made, client)
    else:
        arguments = _submit_commands.complete(client, given)
        submission = ops.plan(str(invocation.function), client=client, backend=invocation.backend, **arguments)
        submission = submission._replace(plan=ops.with_image_notes(submission.plan, client))
        if keeping:
            return _keep_plan(submission, client, keeping)
        made, estimate = submission.plan, ops.estimate(submission.plan, client=client)
    if invocation.json:
        cost = {"cost": dataclasses.asdict(estimate)} if estimate else {}
        _output.document({**_plan_document(made), **cost, **_next(_next_steps.of_plan(made))})
    else:
        _show_plan(made, estimate)
    return ExitCode.USAGE if made.faults else ExitCode.DONE


def _keep_plan(submission: Submission, client: Client, options: dict[str, Any]) -> ExitCode:
    if "out" not in options:
        raise InvalidJob([("out", "is missing: --expires and --for are about a plan that is kept with --out FILE")])
    path = options.pop("out")
    ops.write_plan(path, ops.plan_document(submission, client=client, **options))
    _output.note(f"kept for `lyftlearn apply {shlex.quote(path)}`")
    _output.say(submission.spec.id)
    return ExitCode.DONE


def explain(invocation: Invocation) -> ExitCode:
    """Say where a job would run, and why."""
    subject = invocation.arguments.get("model", invocation.arguments.get("name", ""))
    others = {name: value for name, value in invocation.arguments.items() if name not in ("model", "name")}
    decision = ops.explain(str(invocation.function), subject, client=Client(config=invocation.config), **others)
    if invocation.json:
        _output.document(decision.as_dict())
    else:
        _show_decision(decision)
    return ExitCode.DONE


def backends(invocation: Invocation) -> ExitCode:
    """List installed backends."""
    found = ops.backends(Client(config=invocation.config))
    if invocation.json:
        _output.document([dataclasses.asdict(installed) for installed in found])
        return ExitCode.DONE
    for installed in found:
        _show_backend(installed)
    return ExitCode.DONE


def config(invocation: Invocation) -> ExitCode:
    """Show every setting that counts, and where it comes from."""
    settings = ops.configuration(invocation.config)
    if invocation.json:
        _output.document([setting._asdict() for setting in settings])
        return ExitCode.DONE
    for origin in dict.fromkeys(setting.origin for setting in settings):
        _comment(printable(origin))
        for setting in settings:
            if setting.origin == origin and setting.value not in _NOTHING:
                value = json.dumps(setting.value, default=_output.to_plain, ensure_ascii=False)
                _output.say(printable(f"{setting.key} = {value}"))
        _output.say()
    return ExitCode.DONE


def doctor(invocation: Invocation) -> ExitCode:
    """Run the checks, each shown when it is done."""
    checks = []
    with _output.transient_line() as show:
        for check in _checks(invocation, show):
            checks.append(check)
            show("")
            if not invocation.json:
                _output.say_styled(_check_line(check), _SIGNS[check.verdict], _STYLES[check.verdict])
    if invocation.json:
        _output.document([{**dataclasses.asdict(check), **_next(_next_steps.of_check(check))} for check in checks])
    return ExitCode.BACKEND if any(check.verdict is Verdict.FAILED for check in checks) else ExitCode.DONE


def _next(steps: list[str]) -> dict[str, list[str]]:
    return {_output.NEXT_STEPS: steps}


def _checks(invocation: Invocation, show: Callable[[str], None]) -> Iterator[Check]:
    image = invocation.arguments.get("image")
    if image is None:
        return ops.doctor(invocation.config, on_wait=lambda name: show(f"looking at {name} ..."))
    show(f"looking at {printable(image)} ...")
    return ops.image_checks(image, invocation.config)


def _check_line(check: Check) -> str:
    return f"{_SIGNS[check.verdict]}  {check.name}: {printable(check.detail)}"


def clean(invocation: Invocation) -> ExitCode:
    """Remove old jobs and caches of this machine."""
    removed = []
    for one in ops.clean(**invocation.arguments, client=Client(config=invocation.config)):
        removed.append(one)
        if not invocation.json:
            _output.say(printable(f"{one.kind}  {one.name}  {_size_text(one.size)}"))
    if invocation.json:
        _output.document([dataclasses.asdict(one) for one in removed])
        return ExitCode.DONE
    done = "would be free" if invocation.arguments.get("dry_run") else "are free now"
    _output.note(f"{_size_text(sum(one.size for one in removed))} {done}")
    return ExitCode.DONE


def _size_text(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"


def completion(invocation: Invocation) -> ExitCode:
    """Print a completion script, or the words that one asks for."""
    from lyftlearn.cli import _completion  # noqa: PLC0415 - loads shtab

    shell = invocation.arguments["shell"]
    if shell in _completion.WORDS:
        _output.say("\n".join(_completion.words(shell, invocation.config)))
    else:
        _output.say(_completion.script(shell))
    return ExitCode.DONE


def _plan_document(made: Plan) -> dict[str, Any]:
    return {
        "id": made.spec.id,
        "backend": made.backend,
        "decision": json.loads(made.spec.decision),
        "faults": _output.fault_documents(made.faults),
        "notes": made.notes,
        "requests": [{"operation": one.operation, "body": _redacted_copy(one.body)} for one in made.requests],
    }


def _redacted_copy(value: Any) -> Any:
    """Return plain data without credentials in URLs, such as a package index's in a job's `env`."""
    if isinstance(value, Mapping):
        return {key: _redacted_copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted_copy(item) for item in value]
    return redact_document(value) if isinstance(value, str) else value


def _show_plan(made: Plan, estimate: Estimate | None) -> None:
    """Print the requests as YAML that the substrate's own tool takes, and all else as comments."""
    short = sys.stdout.isatty()
    decision = json.loads(made.spec.decision)
    facts = {"id": made.spec.id, "backend": made.backend, "because": decision.get("reason", "")}
    _comment("\n".join(views.align([(name, printable(value)) for name, value in facts.items() if value])))
    if estimate:
        _comment(f"cost: {_estimate_text(estimate)}")
    for path, problem in made.faults:
        _comment(f"fault in {path}: {problem}")
    for note in made.notes:
        _comment(f"note: {note}")
    if short:
        _comment("long texts are cut for the terminal; in a pipe or a file they are whole")
    if any(HIDDEN in json.dumps(_redacted_copy(one.body), default=str) for one in made.requests):
        _comment(f"note: {_HIDDEN_NOTE}")
    for at, request in enumerate(made.requests, start=1):
        _show_request(f"request {at}: {request.operation}", request, short=short, sent=not made.faults)


def _estimate_text(estimate: Estimate) -> str:
    hourly = estimate.hourly
    if hourly.amount is None:
        return f"not known: {printable(hourly.basis)}"
    parts = [f"{views.money(hourly.amount, hourly.currency)} an hour ({printable(hourly.basis)})"]
    if estimate.usual is not None:
        usual = views.money(estimate.usual, hourly.currency)
        parts.append(f"usually {usual}, by {estimate.runs} earlier {'job' if estimate.runs == 1 else 'jobs'}")
    if estimate.at_most is not None:
        parts.append(f"at most {views.money(estimate.at_most, hourly.currency)} until its timeout")
    return ", ".join(parts)


def _show_request(title: str, request: Request, *, short: bool, sent: bool) -> None:
    body = _redacted_copy(request.body)
    if sent and not request.upload:
        _output.say("---")
        _comment(title)
        _output.say(_yaml.document(body, short=short).rstrip("\n"))
    else:
        _comment(f"{title}\n{_yaml.document(body, short=True)}")


def _comment(text: str) -> None:
    for line in printable_lines(text):
        _output.say(f"# {line}".rstrip())


def _show_decision(decision: Decision) -> None:
    attributes = {name: value for name, value in decision.attributes.items() if value not in (None, {})}
    facts = {
        "backend": decision.backend,
        "because": decision.reason,
        "stage": str(decision.stage or ""),
        "falls back": f"yes: {decision.other} would refuse it" if decision.fell_back else "",
        "other side": decision.other or "",
        "flag was told": ", ".join(f"{name}={_output.value_text(value)}" for name, value in attributes.items()),
    }
    _output.facts(facts)
    _output.say()
    _output.say("asked:")
    for name, said in decision.sources:
        first, *more = said.splitlines() or [""]
        _output.say(f"  {printable(name)}: {printable(first)}".rstrip())
        for line in more:
            _output.say(f"    {printable(line)}")


def _show_backend(installed: Installed) -> None:
    if installed.problem:
        _output.say(f"{installed.name}: cannot be used: {printable(str(installed.problem))}")
        return
    _output.say(f"{installed.name}: {', '.join(installed.offers)}")
    for capability in Capability:
        if capability in installed.lacks:
            _output.say(f"  not {capability}: {installed.lacks[capability]}")
