"""One job in this container: prepared, run, kept, reported."""

from __future__ import annotations

import gc
import os
import sys
import time

from . import bundle as bundles
from . import layout as layouts
from . import nodes as all_nodes
from .detect import KUBERNETES, LOCAL, SUBSTRATES, TRAINING, detect
from .environment import Environment, initial_environment
from .faults import (
    ENDED_BY_PLATFORM,
    EXIT_CODES,
    EXIT_STOPPED,
    PLATFORM,
    PREEMPTED,
    TIMEOUT,
    USER_ERROR,
    DeadlinePassed,
    RuntimeFailure,
    StopRequested,
    configuration_failure,
)
from .json_text import dumps
from .log_marks import EscapedSigns, is_marked, note_end
from .output import BlankLines, Pump
from .redaction import FreshLine, RedactedStream, Redactor
from .report import note_begin, note_start, report_for
from .signals import Signals
from .spawn import Command
from .supervisor import CommandSupervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .bundle import Bundle
    from .capacity import Capacity
    from .report import Report
    from .supervisor import CommandOutcome


def run_job(arguments: list[str], received: list[int]) -> int:
    """Run the job that the bundle describes; without one, `arguments` as they are: the same image serves, too.

    received: the signals that have come since the process began, which its first handlers append to.
    """
    environ = initial_environment()
    layout = layouts.Layout.from_environ(environ)
    if arguments and bundles.find_location(environ, layout.ml) is None:
        signals = Signals(received)
        signals.install(environ)
        return EXIT_STOPPED if signals.stop_requested else _pass_through(arguments)
    return start_run(JobRun, received)


def start_run(kind: type[JobRun], received: list[int]) -> int:
    """Run what the bundle describes, to the end of this process."""
    environ = initial_environment()
    signals = Signals(received)
    signals.install(environ)
    note_begin(environ)
    layout = layouts.Layout.from_environ(environ)
    location = bundles.find_location(environ, layout.ml)
    redactor = Redactor(environ)
    sys.stderr = RedactedStream(sys.stderr, redactor)
    substrate = detect(environ).substrate
    report = report_for(substrate, environ, layout, redactor)
    code = kind(location, environ, substrate, layout, signals=signals, report=report).run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a transfer that was given up may hold threads that would be waited for


def _pass_through(arguments: list[str]) -> int:
    try:
        os.execvp(arguments[0], arguments)  # noqa: S606 - nothing of a shell is wanted
    except OSError as error:
        print(f"lyftlearn: {arguments[0]}: {error.strerror}", file=sys.stderr)
    return 127


class JobRun:
    """Everything that lasts from the container's start to its end."""

    def __init__(
        self,
        location: str | None,
        environ: Mapping[str, str],
        substrate: str,
        layout: layouts.Layout,
        *,
        signals: Signals,
        report: Report,
    ) -> None:
        self._location = location
        self._environ = environ
        self._substrate = substrate
        self._layout = layout
        self._signals = signals
        self._report = report
        self._cleanups: list[Callable[[], None]] = []
        self._outcome: CommandOutcome | None = None
        self._relay: Any = None
        self._checkpoints: Any = None
        self._log: Any = None
        self._jupyter: Any = None
        self._followers: list[Callable[[CommandSupervisor], Callable[[], None]]] = []
        self._before: set[str] = set()

    def run(self) -> int:
        """The exit code of the container."""
        code, facts, message = self._end()
        self._clean_up()
        self._report.write({"exit_code": None, "reason": None, **facts, **self._times()}, message)
        if self._log:
            self._log.keep()
        note_end(self._environ)
        return code

    def _end(self) -> tuple[int, dict[str, Any], str]:
        """Exit code, facts for the report, and message."""
        try:
            outcome = self._run()
        except StopRequested:
            return EXIT_STOPPED, {"stopped": True}, ""
        except RuntimeFailure as failure:
            print(f"lyftlearn: {failure}", file=sys.stderr, flush=True)
            return failure.exit_code, {"reason": failure.reason}, str(failure)
        except Exception as error:  # noqa: BLE001 - the report says it, and the log has the rest
            import traceback

            traceback.print_exc()
            text = f"the runtime failed: {type(error).__name__}: {error}"
            return EXIT_CODES[PLATFORM], {"reason": PLATFORM}, text
        facts: dict[str, Any] = {"exit_code": outcome.exit_code, "reason": outcome.reason}
        facts.update({"stopped": True} if outcome.was_stopped else {})
        facts.update({"idle": True} if outcome.was_idle else {})
        return self._container_exit_code(outcome), facts, outcome.message

    def _container_exit_code(self, outcome: CommandOutcome) -> int:
        """Kubernetes takes some codes for its own doing, and runs the job again: a command's own are told apart.

        SageMaker reads the report of nothing but a failure, so an idle end looks like one to it.
        """
        if self._substrate == TRAINING and outcome.was_idle:
            return EXIT_STOPPED
        if self._substrate == KUBERNETES and outcome.exit_code in ENDED_BY_PLATFORM:
            return EXIT_CODES[USER_ERROR]
        return outcome.runtime_exit_code

    def _run(self) -> CommandOutcome:
        with self._signals.interruptible():
            bundle, environment = self._load()
        gc.enable()
        outcome = self._supervise(bundle, environment)
        if outcome.message[-1:] not in ("", "\n"):
            sys.stderr = FreshLine(sys.stderr)
        self._keep(bundle, environment, outcome)
        if outcome.reason == PREEMPTED and environment.capacity:
            outcome.message = environment.capacity.MESSAGE
            self._await_end_of(environment.capacity)
        return outcome

    def _await_end_of(self, capacity: Capacity) -> None:
        """Until the platform takes the machine away, which starts the job anew on other capacity, or stops it.

        An end of the container's own would be a failure of the job instead.
        """
        while time.time() < capacity.expires_at and not self._signals.stop_requested:
            self._signals.wait(capacity.expires_at - time.time())

    def _load(self) -> tuple[Bundle, Environment]:
        if self._substrate not in SUBSTRATES:
            raise configuration_failure(f"LYFTLEARN_SUBSTRATE: {self._substrate!r} is none of {', '.join(SUBSTRATES)}")
        if self._location is None:
            raise configuration_failure(
                "there is no bundle: neither in a variable, nor projected, nor in the channel 'lyftlearn'"
            )
        bundle = bundles.load(self._location)
        return bundle, self._prepare(bundle)

    def _prepare(self, bundle: Bundle) -> Environment:
        layout = self._layout
        nodes = all_nodes.find(bundle["nodes"], self._environ, self._substrate, layout.ml)
        self._open_log(bundle, nodes)
        layouts.check_user(bundle)
        layouts.check_shared_memory(bundle["resources.shared_memory"])
        self._check_outputs(bundle, nodes.rank)
        layouts.build(layout, bundle, self._substrate)
        environment = Environment(bundle, layout, nodes, self._environ, self._substrate)
        self._prepare_serving(bundle, environment)
        self._write_hyperparameters(bundle)
        self._fetch_secrets(bundle, environment)
        self._fetch_files(bundle, nodes)
        layouts.give_to_user(layout, bundle)
        environment.choose_home()
        self._install_packages(bundle, environment)
        all_nodes.wait_for(nodes)
        self._start_relay(bundle, environment)
        self._prepare_notebook(bundle, environment)
        self._prepare_spark(bundle, environment)
        self._before = self._files_at_hand(bundle, environment)
        return environment

    def _prepare_notebook(self, bundle: Bundle, environment: Environment) -> None:
        if not bundle["notebook"]:
            return
        from .notebook import Jupyter

        self._jupyter = Jupyter(bundle, self._layout)
        self._report.redactor.add([self._jupyter.token])
        environment.directory = self._jupyter.directory
        environment.notebook = {"LYFTLEARN_NOTEBOOK_DIR": self._jupyter.directory}
        self._jupyter.check_program(bundle["command"], environment.variables(1))

    def _prepare_spark(self, bundle: Bundle, environment: Environment) -> None:
        if not bundle["spark"]:
            return
        from .spark import prepare

        spark = prepare(bundle, self._layout, environment)
        if spark:
            environment.spark = spark.variables
            self._cleanups += filter(None, [spark.clean_up])
        if spark and (follow := spark.follow):
            self._followers.append(lambda supervisor: follow(supervisor.stop_misconfigured))

    def _prepare_serving(self, bundle: Bundle, environment: Environment) -> None:
        if not bundle["serving"]:
            return
        from .serving import Server

        server = Server(bundle, self._layout)
        self._followers.append(lambda supervisor: server.follow(supervisor.stop_unfit))
        environment.serving = server.prepare()

    def _install_packages(self, bundle: Bundle, environment: Environment) -> None:
        if not bundle["packages"]:
            return
        from .packages import install

        environment.packages = install(bundle, self._layout, environment.variables(1))

    def _check_outputs(self, bundle: Bundle, rank: int) -> None:
        from .mounts import check_outputs

        check_outputs(bundle, rank)

    def _files_at_hand(self, bundle: Bundle, environment: Environment) -> set[str]:
        """Files of the working directory, if that goes with the container; of one of the image, those at the top."""
        if not bundle["source"] and self._substrate == LOCAL:
            return set()
        top = environment.directory
        names: set[str] = set()
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if bundle["source"] and name != "__pycache__"]
            names.update(os.path.relpath(os.path.join(folder, name), top) for name in files)
        return names

    def _open_log(self, bundle: Bundle, nodes: all_nodes.Nodes) -> None:
        if not bundle["log"]:
            return
        from .log import TeeStream, open_log

        self._log = open_log(bundle["log"], nodes.rank, self._layout.root, self._environ)
        if self._log:
            sys.stderr = RedactedStream(TeeStream(sys.stderr, self._log), self._report.redactor)

    def _write_hyperparameters(self, bundle: Bundle) -> None:
        temporary = f"{self._layout.hyperparameters}.{os.urandom(4).hex()}"
        with open(temporary, "wb") as file:
            file.write(dumps(bundle["hyperparameters"]).encode("ascii"))
        os.chmod(temporary, 0o644)
        os.replace(temporary, self._layout.hyperparameters)

    def _fetch_secrets(self, bundle: Bundle, environment: Environment) -> None:
        own = bundle["secrets.names"]
        names = [*own, *(name for name in environment.files_only if name not in own)]
        if not names:
            return
        from . import secrets
        from .secrets.secret_files import SecretFiles

        fetched = secrets.fetch(names, bundle["secrets.provider"], self._environ)
        tag = f"{bundle['job.id']}.{environment.nodes.rank}"
        self._report.redactor.add(secrets.secret_values(fetched))
        files = SecretFiles(self._layout.at("secrets"), tag, bundle["user"])
        self._cleanups.append(files.remove)
        files.write(fetched)
        environment.secrets = secrets.environment_variables({name: fetched[name] for name in own})

    def _fetch_files(self, bundle: Bundle, nodes: all_nodes.Nodes) -> None:
        if bundle["inputs"] or bundle["artifact"] or bundle["source"]:
            from . import transfer

            transfer.fetch_inputs(bundle, self._layout)
            transfer.fetch_artifact(bundle, self._layout)
            transfer.fetch_source(bundle, self._layout)
        self._restore_checkpoints(bundle, nodes)

    def _restore_checkpoints(self, bundle: Bundle, nodes: all_nodes.Nodes) -> None:
        if not bundle["checkpoints"]:
            return
        from .checkpoints import checkpoints_of

        checkpoints = checkpoints_of(bundle, self._layout, copied=self._substrate == TRAINING)
        checkpoints.restore()
        if nodes.rank == 0:
            self._checkpoints = checkpoints

    def _start_relay(self, bundle: Bundle, environment: Environment) -> None:
        if not bundle["metrics.relay"]:
            return
        from .statsd import Relay

        self._relay = Relay(bundle["metrics.gateway"], bundle["metrics.socket"])
        environment.statsd_port = self._relay.port
        self._cleanups.append(self._relay.close)

    def _supervise(self, bundle: Bundle, environment: Environment) -> CommandOutcome:
        def command_for(attempt: int) -> Command:
            variables = environment.variables(attempt)
            arguments = environment.command(variables)
            if self._jupyter:
                variables = self._jupyter.own_variables(variables)
                arguments = self._jupyter.command(arguments)
            return Command(arguments, bundle["command"][0], variables, environment.directory, bundle["user"])

        supervisor = CommandSupervisor(
            command_for,
            self._signals,
            timeout=bundle["timeout"],
            grace=bundle["grace"],
            retries=bundle["retries"],
            new_pump=self._pump,
            first_start=self._first_start(),
            capacity=environment.capacity,
            ends_daemons=not (self._substrate == LOCAL and bundle["job.kind"] == "tune"),  # they run its trials
        )
        self._outcome = supervisor.outcome
        if self._checkpoints:
            self._checkpoints.start()
        if self._jupyter:
            self._cleanups.append(self._jupyter.follow(supervisor.stop_idle))
        self._cleanups += [follow(supervisor) for follow in self._followers]
        return supervisor.run(lambda attempt, at: self._note_start(attempt, at, supervisor.outcome.message))

    def _first_start(self) -> float | None:
        if self._substrate == TRAINING:
            from .sagemaker_paths import first_start

            return first_start(self._layout)
        return self._checkpoints.first_start if self._checkpoints else None

    def _note_start(self, attempt: int, at: float, output: str) -> None:
        note_start(self._environ, attempt, at, output)
        if self._substrate == TRAINING:
            from .sagemaker_paths import note_first_start

            note_first_start(self._layout, at)

    def _pump(self) -> Pump:
        blank = (BlankLines(),) if self._substrate == TRAINING else ()
        signs = (EscapedSigns(),) if is_marked(self._environ) else ()
        return Pump(log=self._log, carriers=(*signs, *blank))

    def _keep(self, bundle: Bundle, environment: Environment, outcome: CommandOutcome) -> None:
        """Checkpoints always, whatever else comes; the model and the outputs of a command that succeeded."""
        succeeded = outcome.reason is None and not outcome.was_stopped
        self._keep_checkpoints()
        if not succeeded:
            return
        from .artifacts import keep, report_losses

        deadline = None if outcome.deadline is None else outcome.deadline + bundle["grace"]
        try:
            with self._signals.interruptible(deadline):
                if environment.nodes.rank == 0:
                    report_losses(bundle, self._layout, self._files_at_hand(bundle, environment) - self._before)
                keep(bundle, self._layout, environment.nodes.rank)
        except DeadlinePassed:
            outcome.cause = TIMEOUT
            outcome.message = "the timeout passed while the model and the outputs were kept"
            print(f"lyftlearn: {outcome.message}", file=sys.stderr, flush=True)

    def _keep_checkpoints(self) -> None:
        if not self._checkpoints:
            return
        try:
            self._checkpoints.finish()
        except Exception as error:  # noqa: BLE001 - whatever it is, the command has ended as it has
            print(f"lyftlearn: checkpoints were not copied: {error}", file=sys.stderr, flush=True)

    def _clean_up(self) -> None:
        for step in reversed(self._cleanups):
            try:
                step()
            except OSError as error:
                print(f"lyftlearn: {error}", file=sys.stderr)

    def _times(self) -> dict[str, Any]:
        outcome = self._outcome
        times: dict[str, Any] = {
            "attempt": outcome.attempt if outcome else 0,
            "started_at": outcome.started_at if outcome else None,
            "finished_at": (outcome.finished_at if outcome else None) or time.time(),
        }
        if self._relay and self._relay.lost:
            times["metrics_lost"] = self._relay.lost
        return times
