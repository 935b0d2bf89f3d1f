"""JupyterLab as a job's command: how it is started, when it is ready, and when nobody uses it any more."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from .faults import IMAGE, RuntimeFailure
from .layout import NOTEBOOK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .bundle import Bundle
    from .layout import Layout

GENERATED = "generate"
OPTIONS = (
    "--no-browser",
    "--ServerApp.allow_root=True",
    "--ServerApp.open_browser=False",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
)
SHORTEST_LOOK, LONGEST_LOOK = 0.2, 15.0
LOOKS_PER_TIMEOUT = 10
ANSWER_SECONDS = 10.0
RESTING = ("idle", "dead")
"""States of a kernel that computes nothing. Others are `busy`, `starting`, `restarting`, `autorestarting`."""
MISSING = "JupyterLab is not in the image: take one that has it, or add `pip install 'lyftlearn[notebook]'` to this one"


class Jupyter:
    """JupyterLab in this container.

    A look asks its REST API, as a browser would. The server tells its port in a file of its own, for it may have taken
    another than the one it was given.
    """

    def __init__(self, bundle: Bundle, layout: Layout) -> None:
        self._settings: dict[str, Any] = bundle["notebook"]
        self._user = bundle["user"]
        self.directory = layout.at(NOTEBOOK)
        self._servers = layout.at("tmp", ".jupyter-runtime")
        self._token_path = self._settings.get("token")
        if self._token_path == GENERATED:
            self._token_path = layout.at("config", "jupyter-token")
            self._make_token(self._token_path)
        self.token = _read(self._token_path) if self._token_path else ""
        self._has_failed = False

    def own_variables(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The command's variables with what decides where it is found, and by whom, whatever the job's `env` says.

        The token is in a file: no listing of processes shows it.
        """
        own = {"JUPYTER_RUNTIME_DIR": self._servers}
        if self._token_path:
            own["JUPYTER_TOKEN_FILE"] = self._token_path
        return {name: value for name, value in variables.items() if name != "JUPYTER_TOKEN"} | own

    def command(self, command: list[str]) -> list[str]:
        """The command that starts it, with its options."""
        return [*command, *OPTIONS, *self._settings.get("options", ()), f"--ServerApp.root_dir={self.directory}"]

    def check_program(self, command: list[str], variables: Mapping[str, str]) -> None:
        """Refuse an image without JupyterLab, in words that say so."""
        import shutil

        names = [command[0], *([f"{command[0]}-{command[1]}"] if command[0] == "jupyter" else [])]
        if not all(shutil.which(name, path=variables.get("PATH")) for name in names):
            raise RuntimeFailure(IMAGE, MISSING)

    def follow(self, stop: Callable[[str], None]) -> Callable[[], None]:
        """Tell when it is ready, and call `stop` with the reason once it was idle for too long; the end of both."""
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(stop, ended), name="lyftlearn-notebook", daemon=True)
        thread.start()
        return ended.set

    def _follow(self, stop: Callable[[str], None], ended: threading.Event) -> None:
        limit = self._settings["idle_timeout"]
        pause = LONGEST_LOOK if limit is None else min(LONGEST_LOOK, max(SHORTEST_LOOK, limit / LOOKS_PER_TIMEOUT))
        while not ended.wait(SHORTEST_LOOK):
            if self._ask("api") is not None:
                break
        active, told = time.time(), self._tell_ready()
        while not (told and limit is None) and not ended.wait(pause):
            told = told or self._tell_ready()
            seen = self._last_activity()
            active = max(active, time.time() if seen is None else seen)
            if limit is not None and time.time() - active >= limit:
                stop(f"idle for {readable(limit)}, so it was stopped; its files are kept, and `start()` opens it again")
                return

    def _last_activity(self) -> float | None:
        """Seconds since 1970, 0.0 where no kernel ever ran; None where it is active now, or does not answer.

        Nobody knows whether one that does not answer rests. A running cell, an open terminal and a busy kernel are
        activity. An open page of a browser is none.
        """
        kernels, terminals = self._ask("api/kernels"), self._ask("api/terminals")
        if kernels is None or terminals or any(one.get("execution_state") not in RESTING for one in kernels):
            return None
        return max([0.0, *(_seconds(one.get("last_activity")) for one in kernels)])

    def _tell_ready(self) -> bool:
        """Whether it is told where it is reached, for the eyes of its owner alone, if somebody outside asks for it.

        A disk that is full may have room later, and until then the idle stop must go on.
        """
        path, server = self._settings.get("state"), self._server()
        if not path or server is None:
            return not path
        address = {"port": server["port"], "path": f"{server['base_url']}lab?token={self.token}"}
        temporary = f"{path}.{os.urandom(4).hex()}"
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(address, file)
            os.replace(temporary, path)
        except OSError as error:
            if not self._has_failed:
                print(f"lyftlearn: nobody can be told yet where this notebook is: {error}", file=sys.stderr, flush=True)
            self._has_failed = True
            _remove(temporary)
            return False
        return True

    def _ask(self, path: str) -> Any:
        """What the REST API answers; None where it does not."""
        import http.client

        server = self._server()
        if server is None:
            return None
        connection = http.client.HTTPConnection("127.0.0.1", server["port"], timeout=ANSWER_SECONDS)
        try:
            headers = {"Authorization": f"token {self.token}"} if self.token else {}
            connection.request("GET", f"{server['base_url']}{path}", headers=headers)
            answer = connection.getresponse()
            return json.loads(answer.read()) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def _server(self) -> dict[str, Any] | None:
        """What the server itself tells of its port and its paths."""
        try:
            names = [
                name for name in os.listdir(self._servers) if name.startswith("jpserver-") and name.endswith(".json")
            ]
            newest = max(names, key=lambda name: os.stat(os.path.join(self._servers, name)).st_mtime)
            server: dict[str, Any] = json.loads(_read(os.path.join(self._servers, newest)))
            return {"port": int(server["port"]), "base_url": str(server["base_url"])}
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _make_token(self, path: str) -> None:
        import secrets

        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400), "w") as file:
            file.write(secrets.token_urlsafe(32))
        if self._user and os.geteuid() == 0:
            os.chown(path, self._user["uid"], self._user["gid"])


def readable(seconds: float) -> str:
    """A duration as a person would write it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        pass  # it was never there


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _seconds(moment: Any) -> float:
    """A time as Jupyter writes it, `2026-01-31T08:00:00.000000Z`."""
    import calendar

    try:
        return calendar.timegm(time.strptime(str(moment)[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0
