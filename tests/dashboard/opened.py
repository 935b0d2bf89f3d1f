"""A dashboard that runs, and a visitor with a cookie jar."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests


@dataclass
class Dashboard:
    """Where it runs. token: in the address that it printed, if there was one."""

    address: str
    token: str
    session: requests.Session = field(default_factory=requests.Session)

    def enter(self) -> requests.Response:
        """Open the printed address, as a person does."""
        return self.get("/", {"token": self.token})

    def get(
        self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        return self.session.get(f"{self.address}{path}", params=query, headers=headers, timeout=600)

    def post(self, path: str, data: Mapping[str, str], headers: Mapping[str, str] | None = None) -> requests.Response:
        url = f"{self.address}{path}"
        return self.session.post(url, data=data, headers=headers, timeout=600, allow_redirects=False)


@contextmanager
def running(home: Path, *options: str, config: str = "") -> Iterator[Dashboard]:
    """Run `lyftlearn dashboard` on a free port."""
    home.mkdir(parents=True, exist_ok=True)
    file = home.parent / "lyftlearn.toml"
    file.write_text(f'home = "{home}"\n{config}', encoding="utf-8")
    command = [sys.executable, "-m", "lyftlearn", "dashboard", "--port", "0", "--config", str(file), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LYFTLEARN_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=home, env=environment) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"(http://(?:127\.0\.0\.1|\[::1\]):\d+)/(?:\?token=(\S+))?", line)
            assert found, line + process.stderr.read()
            yield Dashboard(found[1], found[2] or "")
        finally:
            process.terminate()
            process.wait(600)
