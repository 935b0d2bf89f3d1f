"""Notebooks on this machine: real JupyterLab, spoken to as a browser does."""

from __future__ import annotations

import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

import lyftlearn
from lyftlearn import backend
from lyftlearn_local.planning import planner
from tests.jupyter import PATIENCE, Lab
from tests.spark import spark_packages

SECRET = "hunter2-hunter2"
CELL = """
import json, os, pathlib
print(json.load(open(os.environ["LYFTLEARN_HYPERPARAMETERS"])), os.environ["PASSWORD"] == {secret!r})
print(pathlib.Path(os.environ["LYFTLEARN_SECRETS_DIR"], "db", "PASSWORD").read_text() == {secret!r})
print(os.environ["LYFTLEARN_JOB_KIND"], os.environ["STATSD_HOST"], os.environ["REGION"], "JUPYTER_TOKEN" in os.environ)
print(os.path.samefile(".", os.environ["LYFTLEARN_NOTEBOOK_DIR"]))
pathlib.Path("kept.txt").write_text("from the first run")
import time; time.sleep({seconds})
"""


IDLE = 15
"""Seconds: longer than a kernel takes to start on a busy machine, which is no activity."""


def client(home: Path, **changes: Any) -> lyftlearn.Client:
    (home / "secrets" / "db").mkdir(parents=True, exist_ok=True)
    (home / "secrets" / "db" / "PASSWORD").write_text(SECRET)
    return lyftlearn.Client(config={"home": str(home), "backend": "local", "jobs": {"grace": "10s"}} | changes)


def holders(home: Path, text: str) -> list[Path]:
    """Return every file that holds `text`."""
    return [path for path in home.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.mark.contract("C-NOTEBOOK-1", "C-NOTEBOOK-2", "C-NOTEBOOK-3", "C-NOTEBOOK-4")
@pytest.mark.timeout(2 * PATIENCE)
def test_a_notebook_from_its_first_cell_to_its_second_run(tmp_path: Path) -> None:
    """A cell sees a job's contract, no idle stop ends it while it runs, and what it wrote is there in the next run."""
    home = tmp_path / "home"
    env = {"REGION": "eu", "JUPYTER_TOKEN": "of the job's own"}
    notebook = client(home).notebook("explore", env=env, secrets=["db"], idle_timeout=f"{IDLE}s")
    lab = Lab(notebook.url())
    assert requests.get(f"{lab.base}api/kernels", timeout=PATIENCE).status_code == 403
    first, token = notebook.id, lab.token
    state = home / "local" / "jobs" / first / "nodes" / "notebook.json"
    assert state.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 32
    holding = {re.sub(r"[0-9]+", "N", path.name) for path in holders(home, token)}
    assert holding <= {"notebook.json", "jupyter-token", "jpserver-N.json", "jpserver-N-open.html"}
    kernel = lab.kernel()
    printed = lab.run(kernel, CELL.format(secret=SECRET, seconds=IDLE + 3))
    assert printed.split("\n")[:5] == ["{} True", "True", "notebook 127.0.0.1 eu False", "True", ""]
    assert notebook.status == "running", "a cell that runs is activity"
    ended = notebook.wait(timeout=f"{PATIENCE}s", check=False, progress=False)
    assert (ended.status, ended.reason, ended.exit_code) == ("stopped", None, None)
    assert ended.message == (f"idle for {IDLE}s, so it was stopped; its files are kept, and `start()` opens it again")
    with pytest.raises(lyftlearn.JobStopped, match=f"idle for {IDLE}s"):
        notebook.url()
    notebook.start()
    again = Lab(notebook.url())
    assert notebook.id != first
    assert again.token != token
    assert again.ask("GET", "contents/kept.txt")["content"] == "from the first run"
    notebook.stop(wait=True)
    assert notebook.status == "stopped"
    assert holders(home, token) == holders(home, again.token) == []


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
@pytest.mark.parametrize(
    ("backend", "table"),
    [("local", {"namespaces": "never"}), ("local-kubernetes", {}), ("local-sagemaker", {})],
    ids=["paths-by-variables", "pod", "studio"],
)
def test_it_is_the_same_in_every_layout(tmp_path: Path, backend: str, table: dict[str, Any]) -> None:
    """Whichever platform is imitated, a cell sees the same and files stay."""
    home = tmp_path / "home"
    notebook = client(home, backend=backend, **{backend: table}).notebook(
        "explore", env={"REGION": "eu"}, secrets=["db"]
    )
    lab = Lab(notebook.url())
    printed = lab.run(lab.kernel(), CELL.format(secret=SECRET, seconds=0))
    assert printed.split("\n")[:5] == ["{} True", "True", "notebook 127.0.0.1 eu False", "True", ""]
    notebook.stop()
    notebook.start()
    assert Lab(notebook.url()).ask("GET", "contents/kept.txt")["content"] == "from the first run"
    notebook.stop(wait=True)


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
def test_an_open_terminal_is_activity_and_a_port_in_use_is_none_of_its_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work in a shell is work, too; and where somebody has its port, a notebook takes another."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(backend, "notebook_port", lambda _: port)
        notebook = client(tmp_path / "home").notebook("explore", idle_timeout=f"{IDLE}s")
        lab = Lab(notebook.url())
    assert f":{port}/" not in lab.base
    name = lab.ask("POST", "terminals")["name"]
    time.sleep(IDLE + 3)
    assert notebook.status == "running", "an open terminal is activity"
    lab.ask("DELETE", f"terminals/{name}")
    assert notebook.wait(timeout=f"{PATIENCE}s", check=False, progress=False).message.startswith(f"idle for {IDLE}s")


def test_without_jupyterlab_the_plan_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra, so its absence is the first thing that many people meet."""
    monkeypatch.setattr(planner, "clean_environment", lambda _: {"PATH": str(tmp_path)})
    with pytest.raises(lyftlearn.InvalidJob, match=r"pip install 'lyftlearn\[notebook\]'") as refused:
        client(tmp_path / "home").notebook("explore")
    assert sys.executable in str(refused.value)


@pytest.mark.contract("C-NOTEBOOK-5")
def test_an_image_without_jupyterlab_fails_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plan cannot see, such as another image, the run's own end says: the reason and what to do."""
    monkeypatch.setattr("lyftlearn._submission.preparation.JUPYTER", ("jupyter", "nolab"))
    notebook = client(tmp_path / "home").notebook("explore")
    with pytest.raises(lyftlearn.JobFailed, match="JupyterLab is not in the image") as failed:
        notebook.url()
    assert failed.value.state.reason == "image"


COUNT = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print(spark.range(1000).selectExpr("sum(id)").collect()[0][0], spark.sparkContext.master)
print(spark.sparkContext.getConf().get("spark.driver.memory"))
spark.stop()
"""


@pytest.mark.slow
@pytest.mark.timeout(8 * PATIENCE)
@pytest.mark.parametrize("backend", ["local", "local-kubernetes", "local-sagemaker"])
def test_a_kernel_has_a_session_of_spark(tmp_path: Path, backend: str) -> None:
    """With `getOrCreate()` alone, in a cell as in a job, and in the next cell once more."""
    asked = lyftlearn.Resources(cpu=1, memory="2Gi")
    notebook = client(tmp_path / "home", backend=backend, spark={}).notebook(
        "explore", env={"PYTHONPATH": spark_packages()}, resources=asked
    )
    try:
        lab = Lab(notebook.url())
        kernel = lab.kernel()
        for _ in range(2):
            printed = lab.run(kernel, COUNT)
            assert "499500 local[1]\n1462m\n" in printed
    finally:
        notebook.stop(wait=True)
