"""Who gets in, and what they see."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lyftlearn
from lyftlearn.types import JobStatus

from . import samples
from .opened import Dashboard, running

ACCESS = '[dashboard.access]\n"*" = ["root"]\npricing = ["ada", "bob"]\nmaps = ["bob"]\n'


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("door") / "home"
    samples.fill(home, 12)
    with running(home) as found:
        yield found


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("proxy") / "home"
    samples.fill(home, 12)
    with running(home, "--user-header", "X-User", config=ACCESS) as found:
        yield found


def test_the_printed_address_opens_the_door_and_no_other_does(dashboard: Dashboard) -> None:
    """Whoever is on the same machine finds the port; a token in an address ends in histories and logs."""
    stranger = Dashboard(dashboard.address, "wrong")
    for path in ("/", "/jobs/eta-tk00000000000", "/models", "/doctor", "/jobs/eta-tk00000000000/log"):
        answer = stranger.get(path)
        assert answer.status_code == 403
        assert "eta-" not in answer.text
    assert stranger.enter().status_code == 403
    entered = Dashboard(dashboard.address, dashboard.token)
    page = entered.enter()
    assert page.status_code == 200
    assert dashboard.token not in page.url
    cookie = page.history[0].headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert dashboard.token not in cookie
    assert entered.get("/models").status_code == 200


def test_another_hosts_name_is_refused(dashboard: Dashboard) -> None:
    """A page of somebody else could point its own name at this machine, and read what its visitor may see."""
    assert dashboard.get("/", {"token": dashboard.token}, headers={"Host": "rebound.example"}).status_code == 421


def test_pages_cannot_be_framed_nor_load_from_elsewhere(dashboard: Dashboard) -> None:
    """What a value cannot do by escaping, it could not do either if escaping failed."""
    headers = Dashboard(dashboard.address, dashboard.token).enter().headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("user", "teams"), [("root", {"pricing", "maps"}), ("bob", {"pricing", "maps"}), ("ada", {"pricing"})]
)
def test_a_user_sees_the_jobs_of_their_teams(behind_proxy: Dashboard, user: str, teams: set[str]) -> None:
    """And by their ids neither: an id is no secret."""
    page = behind_proxy.get("/", headers={"X-User": user})
    seen = {number for number in range(12) if samples.job_name(number) in page.text}
    assert seen == {number for number in range(12) if ("pricing" if number % 4 else "maps") in teams}
    for path in ("", "/log", "/log.txt"):
        answer = behind_proxy.get(f"/jobs/{samples.job_name(4)}{path}", headers={"X-User": user})
        assert (answer.status_code == 200) == ("maps" in teams), path
    for path in ("/migration", "/parity", "/doctor"):
        assert (behind_proxy.get(path, headers={"X-User": user}).status_code == 200) == (user == "root"), path


def test_nobody_and_strangers_see_nothing(behind_proxy: Dashboard) -> None:
    """And are told who can change that."""
    assert "X-User" in behind_proxy.get("/").text
    stranger = behind_proxy.get("/", headers={"X-User": "<b>eve</b>"})
    assert stranger.status_code == 403
    assert "&lt;b&gt;eve" in stranger.text
    assert "[dashboard.access]" in stranger.text


def test_it_is_not_opened_to_others_by_mistake(tmp_path: Path) -> None:
    """A token is no login: whoever sees the address has it."""
    done = command(tmp_path, "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "--user-header" in done.stderr


def test_an_address_of_version_six_opens_as_it_was_printed(tmp_path: Path) -> None:
    """Without brackets, its last part would be read as the port."""
    with running(tmp_path / "home", "--host", "::1") as dashboard:
        assert dashboard.enter().status_code == 200


def test_a_port_in_use_is_said(tmp_path: Path, dashboard: Dashboard) -> None:
    """It is the commonest thing that goes wrong."""
    done = command(tmp_path, "--port", dashboard.address.rpartition(":")[2])
    assert done.returncode != 0
    assert "choose another with --port" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_not_installed_is_named_with_its_command(tmp_path: Path) -> None:
    """The server is an extra."""
    (tmp_path / "uvicorn.py").write_text("raise ImportError('no uvicorn')")
    done = command(tmp_path)
    assert "pip install 'lyftlearn[dashboard]'" in done.stderr


def command(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "lyftlearn", "dashboard", *options]
    environment = {"HOME": str(directory), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(directory)}
    return subprocess.run(words, capture_output=True, text=True, cwd=directory, env=environment, check=False)


def test_a_job_is_stopped_by_its_own_form_alone(tmp_path: Path) -> None:
    """Another site's page must not stop the jobs of whoever has this one open."""
    client = lyftlearn.Client(config={"home": str(tmp_path / "home")})
    job = client.process("eta", command="sleep 600")
    page = f"/jobs/{job.id}"
    try:
        with running(tmp_path / "home") as read_only:
            read_only.enter()
            assert "Stop this job" not in read_only.get(page).text
            assert read_only.post(f"{page}/stop", {"token": "x"}).status_code == 403
        with running(tmp_path / "home", "--allow-stop") as dashboard:
            dashboard.enter()
            token = wait_for_form(dashboard, page)
            for forged in ({}, {"token": ""}, {"token": "0" * 64}):
                assert dashboard.post(f"{page}/stop", forged).status_code == 403
            assert dashboard.post(f"{page}/stop", {"token": token}, {"Sec-Fetch-Site": "cross-site"}).status_code == 403
            stranger = Dashboard(dashboard.address, "wrong")
            assert stranger.post(f"{page}/stop", {"token": token}).status_code == 403
            assert not job.refresh().status.finished
            assert dashboard.post(f"{page}/stop", {"token": token}).status_code == 303
            job.wait("2m", check=False, progress=False)
            assert job.state.status is JobStatus.STOPPED
    finally:
        job.stop()


def wait_for_form(dashboard: Dashboard, page: str) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = re.search(r'name="token" value="(\w+)"', dashboard.get(page).text)
        if found:
            return found[1]
    raise AssertionError(dashboard.get(page).text)
