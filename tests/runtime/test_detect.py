"""Where a container runs, from evidence that may be ambiguous."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lyftlearn.runtime.detect import detect

TOKEN = "var/run/secrets/kubernetes.io/serviceaccount/token"
PROJECTED = "var/run/lyftlearn/bundle.json"
RESOURCES = "opt/ml/input/config/resourceconfig.json"
STUDIO = "opt/ml/metadata/resource-metadata.json"
CASES = [
    ("a laptop", {}, [], "local"),
    ("a pod", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, [TOKEN, PROJECTED], "kubernetes"),
    ("a pod without a service account", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, [], "kubernetes"),
    ("a pod whose image has /opt/ml", {"KUBERNETES_SERVICE_HOST": "1"}, ["opt/ml/code/train.py"], "kubernetes"),
    ("a pod whose image has SageMaker's files", {"KUBERNETES_SERVICE_HOST": "1"}, [RESOURCES], "kubernetes"),
    ("both, in full", {"KUBERNETES_SERVICE_HOST": "1", "TRAINING_JOB_NAME": "x"}, [TOKEN, RESOURCES], "kubernetes"),
    ("a training job", {"TRAINING_JOB_NAME": "x"}, [RESOURCES], "sagemaker-training"),
    ("a tuning child, told by its file", {}, [RESOURCES], "sagemaker-training"),
    ("Studio", {"KUBERNETES_SERVICE_HOST": "1"}, [STUDIO], "sagemaker-studio"),
    ("a serving pod", {"KUBERNETES_SERVICE_HOST": "1", "K_SERVICE": "fares"}, [TOKEN], "kubernetes-serving"),
    (
        "a job that a serving system started",
        {"KUBERNETES_SERVICE_HOST": "1", "K_SERVICE": "f"},
        [PROJECTED],
        "kubernetes",
    ),
    ("K_SERVICE alone", {"K_SERVICE": "fares"}, [], "local"),
    ("forced", {"LYFTLEARN_SUBSTRATE": "local", "KUBERNETES_SERVICE_HOST": "1"}, [TOKEN], "local"),
]


@pytest.mark.contract("C-WHERE-1")
@pytest.mark.parametrize(
    ("environ", "paths", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_evidence(tmp_path: Path, environ: dict[str, str], paths: list[str], expected: str) -> None:
    """The stated order decides what contradicts itself, and the evidence is told."""
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text('{"AppType": "JupyterLab"}')
    found = detect(environ, str(tmp_path))
    assert found.substrate == expected
    assert found.evidence


def test_studio_s_file_must_say_what_it_is(tmp_path: Path) -> None:
    """A damaged or foreign file is no evidence, and no reason to fail."""
    (tmp_path / STUDIO).parent.mkdir(parents=True)
    for content in ("{", "[]", '{"AppType": ""}'):
        (tmp_path / STUDIO).write_text(content)
        assert detect({}, str(tmp_path)).substrate == "local"


def test_the_command_prints_evidence(archive: Path) -> None:
    """Whoever debugs an image asks it."""
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(archive), "detect", "--json"],
        env={"LYFTLEARN_SUBSTRATE": "local"},
        capture_output=True,
        check=True,
        timeout=600,
    )
    assert json.loads(answer.stdout) == {"substrate": "local", "evidence": ["variable LYFTLEARN_SUBSTRATE=local"]}


@pytest.mark.contract("C-WHERE-2")
def test_without_a_bundle_the_command_line_is_the_command(archive: Path) -> None:
    """The same image serves, opens notebooks and is tried out by hand."""
    arguments = [sys.executable, "-I", "-S", str(archive), "run", "/bin/echo", "served"]
    answer = subprocess.run(
        arguments, env={"LYFTLEARN_SUBSTRATE": "local"}, capture_output=True, check=True, timeout=600
    )
    assert answer.stdout == b"served\n"
    empty = subprocess.run(
        arguments[:5], env={"LYFTLEARN_SUBSTRATE": "local"}, capture_output=True, check=False, timeout=600
    )
    assert (empty.returncode, b"no bundle" in empty.stderr) == (78, True)
