"""A real Airflow on this machine: a database, and api server, scheduler, triggerer and dag processor as processes.

`make airflow` runs this with the DAGs of examples/airflow; the tests run it with theirs, and kill what they like.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[2]
BIN = Path(os.environ.get("LYFTLEARN_TEST_AIRFLOW") or ROOT / ".airflow" / "bin")
COMMAND = "make .airflow/ready"
NAMES = ("api-server", "scheduler", "triggerer", "dag-processor")
_PATIENCE = 900.0
_QUICK = {  # how soon what was lost is noticed: seconds, so that tests and people need not wait for minutes
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "WORKERS__MAX_FAILED_HEARTBEATS": "60",  # an api server that is started again may be away for so long
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "DAG_PROCESSOR__PARSING_PROCESSES": "1",
}


class Airflow:
    """One Airflow below `home`, whose address is on the loopback alone."""

    def __init__(self, home: Path, dags: Path, environment: Mapping[str, str] | None = None, port: int = 0) -> None:
        self.home = home
        self.port = port or _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._environment = {**os.environ, **self._settings(dags), **(environment or {})}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()
        self._session = requests.Session()
        home.mkdir(parents=True, exist_ok=True)
        self.passwords = home / "passwords.json"
        if not self.passwords.exists():
            self.passwords.touch(0o600)
            self.passwords.write_text(json.dumps({"admin": secrets.token_urlsafe(9)}))

    @property
    def password(self) -> str:
        """The password of the one user, `admin`."""
        return str(json.loads(self.passwords.read_text())["admin"])

    def start(self) -> None:
        """Make the database, start every process, and wait until the api server answers."""
        self.run("db", "migrate")
        for name in NAMES:
            self.start_process(name)
        self.wait_for_answer()

    def start_process(self, name: str) -> None:
        options = {"api-server": ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]}
        quiet = ["--skip-serve-logs"] if name in ("scheduler", "triggerer") else []
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [BIN / "airflow", name, *options.get(name, []), *quiet],
                env=self._environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._sessions.add(self._processes[name].pid)

    def kill(self, name: str) -> None:
        """End a process and its children at once, by SIGKILL: none of them runs a line more."""
        process = self._processes.pop(name)
        for pid in [process.pid, *descendants(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def kill_alone(self, name: str) -> None:
        """End a process by SIGKILL, and leave its children behind, as the kernel's memory killer does."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End every process of this Airflow, also those whose parents were killed, and the jobs that still run."""
        for name in list(self._processes):
            self.kill(name)
        for pid in self._everyone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _everyone(self) -> list[int]:
        """Return who has this home, or is of a session that was started here: a worker's title hides its variables."""
        mine = f"AIRFLOW_HOME={self.home}".encode()
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                pid = int(environ.parent.name)
                if os.getsid(pid) in self._sessions or mine in environ.read_bytes().split(b"\0"):
                    found.append(pid)
        return found

    def run(self, *arguments: str) -> str:
        """Run a command of Airflow's, and return what it prints."""
        done = subprocess.run(
            [BIN / "airflow", *arguments],
            env=self._environment, cwd=self.home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"airflow {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def wait_for_answer(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                if requests.get(f"{self.address}/api/v2/version", timeout=30).ok:
                    return
            assert time.monotonic() < deadline, (self.home / "api-server.log").read_text()[-3000:]
            time.sleep(0.5)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the public API, as the user."""
        answer = self._ask(method, path, body)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:1000]}")
        return answer.json() if answer.text else None

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> requests.Response:
        """Ask until there is an answer, also while the api server starts again or its database is locked."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                if "Authorization" not in self._session.headers:
                    given = {"username": "admin", "password": self.password}
                    token = requests.post(f"{self.address}/auth/token", json=given, timeout=60).json()["access_token"]
                    self._session.headers["Authorization"] = f"Bearer {token}"
                answer = self._session.request(method, f"{self.address}/api/v2{path}", json=body, timeout=60)
                if answer.status_code < 500 or time.monotonic() > deadline:
                    return answer
            assert time.monotonic() < deadline, path
            time.sleep(1)

    def has_dag(self, dag_id: str) -> bool:
        return any(dag["dag_id"] == dag_id for dag in self.call("GET", "/dags?limit=100")["dags"])

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any] | None = None) -> None:
        body = {"dag_run_id": run_id, "conf": conf or {}, "logical_date": None}
        answer = self._ask("POST", f"/dags/{dag_id}/dagRuns", body)
        assert answer.ok or answer.status_code == requests.codes.conflict, answer.text  # it may be there from before

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def _settings(self, dags: Path) -> dict[str, str]:
        settings = {
            "API__SECRET_KEY": secrets.token_hex(16),
            "API__BASE_URL": self.address,
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "CORE__DAGS_FOLDER": str(dags),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.address}/execution/",
            "CORE__FERNET_KEY": "",
            "CORE__PARALLELISM": "8",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
            **_QUICK,
        }
        own = {f"AIRFLOW__{name}": value for name, value in settings.items()}
        path = f"{BIN}:{os.environ['PATH']}"
        return {"AIRFLOW_HOME": str(self.home), "PATH": path, "NO_PROXY": "127.0.0.1", "PYTHONWARNINGS": "ignore"} | own


def descendants(pid: int) -> list[int]:
    """Return the processes below one, those nearest to it first, without local jobs: their machine is another."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(one) for task in tasks for one in (task / "children").read_text().split()]
        ours = [child for child in children if b"lyftlearn_local" not in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []
    return ours + [below for child in ours for below in descendants(child)]


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def main() -> int:
    """Run Airflow with the example until it is interrupted."""
    home = ROOT / ".airflow" / "home"
    dags = ROOT / "examples" / "airflow"
    airflow = Airflow(home, dags, {"LYFTLEARN_HOME": str(home / "lyftlearn")}, port=int(os.environ.get("PORT", "0")))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print("starting Airflow ...", flush=True)
        airflow.start()
        print(f"Airflow is at {airflow.address}, user admin, password {airflow.password}", flush=True)
        print(f"its logs are in {home}; Ctrl-C ends it, and leaves its database", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        airflow.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
