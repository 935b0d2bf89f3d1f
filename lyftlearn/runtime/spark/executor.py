"""An executor's container: the job's own surroundings, and in them what Spark's image would start.

The command line and its variables are those of `entrypoint.sh` in Spark's own images.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import time

from ..faults import IMAGE, RuntimeFailure, configuration_failure
from ..job import JobRun, start_run
from .executors import is_reached
from .home import find_spark
from .local import SESSIONS
from .template import SPARK_DIRECTORY, SPARK_SECRET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..bundle import Bundle
    from ..environment import Environment

PATIENCE = 30.0
"""Seconds in which a driver answers, or cannot be reached."""
PAUSE = 0.5
MAIN_CLASS = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
IMAGE_CONF = "LYFTLEARN_SUBSTRATE_SPARK_CONF"
"""What SPARK_CONF_DIR is in the image: Spark puts the path of a volume of its own into that variable."""
NO_OUTPUTS = (
    "Executors write to object storage or a mounted file system: what they leave in their containers is lost.\n"
)
AUTHENTICATION = (
    "-Dspark.master=k8s://driver",
    f"-Dspark.authenticate.secret.file={SPARK_DIRECTORY}/{SPARK_SECRET}",
)
"""By which an executor asks for its settings, before it has them. Spark reads the file with such a master alone, and
looks for `secret.executor.file` only afterwards (SecurityManager, CoarseGrainedExecutorBackend)."""
_OPTION = re.compile(r"SPARK_JAVA_OPT_([0-9]+)")
_DRIVER = re.compile(r"spark://[^@]+@\[?([^]]+?)\]?:([0-9]+)")
_ARGUMENTS = (
    ("--driver-url", "SPARK_DRIVER_URL"),
    ("--executor-id", "SPARK_EXECUTOR_ID"),
    ("--cores", "SPARK_EXECUTOR_CORES"),
    ("--app-id", "SPARK_APPLICATION_ID"),
    ("--hostname", "SPARK_EXECUTOR_POD_IP"),
    ("--resourceProfileId", "SPARK_RESOURCE_PROFILE_ID"),
    ("--podName", "SPARK_EXECUTOR_POD_NAME"),
)


def run_executor(arguments: list[str], received: list[int]) -> int:
    """Run an executor, as Spark asks for one with the argument `executor`."""
    if arguments != ["executor"]:
        print(f"lyftlearn: spark {' '.join(arguments)}: expected `spark executor`", file=sys.stderr)
        return 64
    return start_run(ExecutorRun, received)


class ExecutorRun(JobRun):
    """A run whose command is Java."""

    def _prepare(self, bundle: Bundle) -> Environment:
        check_way_back(self._environ)
        environment = super()._prepare(bundle)
        self._refuse_outputs()
        variables = environment.variables(1)
        home = find_spark(variables, environment.directory, bundle["user"])
        if home is None:
            raise RuntimeFailure(IMAGE, "spark: the image of executors has no Spark: name one that has, [spark] image")
        environment.spark = {"SPARK_HOME": home}
        command = java_command({**variables, **environment.spark}, environment.directory, self._environ)
        bundle.document["command"] = [word.replace("$", "$$") for word in command]
        return environment

    def _refuse_outputs(self) -> None:
        """Nothing keeps what an executor leaves in its container, so it can write no output: a file is in the way."""
        for name in ("outputs", "model", "checkpoints"):
            path = self._layout.at(name)
            shutil.rmtree(path, ignore_errors=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(NO_OUTPUTS)


def java_command(variables: Mapping[str, str], directory: str, own: Mapping[str, str]) -> list[str]:
    """What starts the executor. own: the container's variables, with those of the runtime."""
    java = os.path.join(variables["JAVA_HOME"], "bin", "java") if variables.get("JAVA_HOME") else "java"
    if shutil.which(java, path=variables.get("PATH")) is None:
        raise RuntimeFailure(IMAGE, f"spark: {java} is not in the image of executors: Spark needs Java")
    options = sorted((int(match[1]), name) for name in variables for match in [_OPTION.fullmatch(name)] if match)
    home, memory = variables["SPARK_HOME"], variables["SPARK_EXECUTOR_MEMORY"]
    parts = [
        variables.get("SPARK_CONF_DIR"),
        own.get(IMAGE_CONF) or f"{home}/conf",
        variables.get("HADOOP_CONF_DIR"),
        variables.get("SPARK_CLASSPATH"),
        f"{home}/jars/*",
        *(variables.get(name) for name in ("SPARK_EXTRA_CLASSPATH", "SPARK_DIST_CLASSPATH")),
        directory,
    ]
    return [
        java,
        *(variables[name] for _, name in options),
        *AUTHENTICATION,
        f"-Xms{memory}",
        f"-Xmx{memory}",
        "-cp",
        ":".join(filter(None, parts)),
        MAIN_CLASS,
        *(word for option, name in _ARGUMENTS for word in (option, variables[name])),
    ]


def check_way_back(environ: Mapping[str, str], seconds: float = PATIENCE) -> None:
    """Raise RuntimeFailure, with reason configuration, where packets to the driver get no answer.

    Java would only say that it timed out, minutes later, in the log of a pod that is gone by then.
    """
    match = _DRIVER.fullmatch(environ.get("SPARK_DRIVER_URL", ""))
    if match is None:
        raise configuration_failure("spark: SPARK_DRIVER_URL is not set: executors are started by a driver")
    host, port = match[1], int(match[2])
    silent = [place for place in (port, _block_manager(environ)) if place and not _answers(host, place, seconds)]
    if not silent:
        return
    own, first = _own_address(host, port), _first_port(environ, port)
    ports = " and ".join(map(str, silent))
    raise configuration_failure(
        f"executors cannot reach their driver: TCP from this executor ({own}) to the driver at {host}, port {ports}, "
        f"gets no answer within {seconds:.0f} s. Allow TCP {first}-{first + 2 * SESSIONS - 1} from executors' pods to "
        "the driver, in security groups, network policies and firewalls"
    )


def _answers(host: str, port: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        if is_reached(host, port, left):
            return True
        time.sleep(min(PAUSE, max(0.0, deadline - time.monotonic())))


def _option(environ: Mapping[str, str], name: str) -> int | None:
    prefix = f"-D{name}="
    options = (value for key, value in environ.items() if _OPTION.fullmatch(key))
    values = (option[len(prefix) :] for option in options if option.startswith(prefix))
    return next((int(value) for value in values if value.isdigit() and int(value)), None)


def _block_manager(environ: Mapping[str, str]) -> int | None:
    return _option(environ, "spark.driver.blockManager.port")


def _first_port(environ: Mapping[str, str], port: int) -> int:
    """Where the driver's ports begin: this session may be one of several in its container."""
    block_manager = _block_manager(environ)
    return block_manager - SESSIONS if block_manager else port


def _own_address(host: str, port: int) -> str:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return "its pod"
