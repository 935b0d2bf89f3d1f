"""The base images are built, and a job finds in them what the contract promises."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import Backend, BackendSettings
from lyftlearn_local import create
from tests.backends.local.test_conformance import InItsImage
from tests.callsites.running import HERE, CallSite
from tests.doubles.platforms import Platforms, platforms
from tests.images import building

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
MIB = 1 << 20
BUDGETS = {"lyftlearn": 240 * MIB, "lyftlearn-distributed": 900 * MIB}
"""Bytes beyond Debian and Python, unpacked. Spark alone is 400 MiB."""
CALL_SITES = ("hyperparameters", "predict_from_train", "shell_command", "what_a_job_finds", "with_secrets")
LAYOUTS = ("local", "local-kubernetes", "local-sagemaker")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    building.require_builder()
    building.make_debian()
    building.build_wheel()
    directory = tmp_path_factory.mktemp("packages")
    building.fetch_packages(directory)
    return directory


@pytest.fixture(scope="module")
def base(packages: Path) -> str:
    return building.build("lyftlearn", packages, "--build-arg", f"BASE={building.DEBIAN}")


@pytest.fixture(scope="module")
def distributed(base: str, packages: Path) -> str:
    assert base
    building.fetch_spark(packages, "3.5.6")
    return building.build("lyftlearn-distributed", packages, "--build-arg", "JARS=none")


@pytest.fixture(params=["base", "distributed"])
def either(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(request.param)
    return name


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A container of its own."""
    command = ["podman", "run", "--rm", "--network", "host", *words]
    return subprocess.run(command, capture_output=True, text=True, check=check)


def layers(image: str, directory: Path) -> Iterator[tarfile.TarFile]:
    """Yield the image's layers, its lowest first."""
    archive = directory / "image.tar"
    subprocess.run(["podman", "save", "--quiet", "--output", archive, image], check=True)
    with tarfile.open(archive) as whole:
        whole.extractall(directory / "image", filter="data")
    manifest = json.loads((directory / "image/manifest.json").read_text())[0]
    for name in manifest["Layers"]:
        with tarfile.open(directory / "image" / name) as layer:
            yield layer


def test_sizes(either: str, tmp_path: Path) -> None:
    """An image that grows unnoticed starts later on every machine; of a new version only its own layer is fetched."""
    sizes = [sum(member.size for member in layer) for layer in layers(either, tmp_path)]
    assert sum(sizes[1:]) < BUDGETS[either.rpartition("/")[2]]
    if either.endswith("/lyftlearn"):
        assert sizes[-1] < 10 * MIB


def test_no_layer_holds_a_secret_or_a_cache(either: str, tmp_path: Path) -> None:
    """What opens a package index would be in the hands of everybody who may pull the image."""
    names = []
    for layer in islice(layers(either, tmp_path), 1, None):
        for member in layer:
            names.append(member.name)
            if member.isfile() and building.MARK.encode() in layer.extractfile(member).read():  # type: ignore[union-attr]
                pytest.fail(f"{member.name} holds the secret of the build")
    waste = ("root/.cache/", "var/lib/apt/lists/", "var/cache/apt/archives/", "tmp/")
    kept = [name for name in names if name.startswith(waste) or name.endswith((".whl", ".deb", "pip.conf"))]
    assert [name for name in kept if not Path(name).name.startswith((".wh.", "lock", "partial"))] == []
    history = subprocess.run(["podman", "inspect", either], capture_output=True, text=True, check=True).stdout
    assert building.MARK not in history


BUNDLE: dict[str, Any] = {
    "contract": 1,
    "job": {"id": "eta-1", "name": "eta", "kind": "process", "model": None},
    "command": ["sh", "-c", 'id -u; echo "$HOME"; touch "$TMPDIR/x" /lyftlearn/outputs/x; touch /x || echo read-only'],
    "hyperparameters": {},
    "env": {},
    "secrets": {"names": [], "provider": {"type": "variables"}},
    "inputs": {},
    "artifact": None,
    "source": None,
    "outputs": {},
    "model": False,
    "output_uri": "file:///lyftlearn/kept",
    "pack": "runtime",
    "checkpoints": None,
    "resources": {"cpu": 1, "memory": 1 << 28, "gpu": 0, "shared_memory": None},
    "nodes": 1,
    "timeout": 60,
    "grace": 5,
    "retries": 0,
    "user": None,
    "metrics": {"relay": False, "gateway": None, "socket": None},
    "log": None,
}


@pytest.mark.parametrize("user", ["1000:1000", "4321:0"])
def test_a_read_only_file_system_and_a_user_of_no_name(either: str, user: str, tmp_path: Path) -> None:
    """A cluster's policy may allow nothing else. /lyftlearn is a volume there."""
    directory = tmp_path / "volume"
    directory.mkdir()
    directory.chmod(0o2777)
    volume = ("--volume", f"{directory}:/lyftlearn")
    variables = ("--env", f"LYFTLEARN_BUNDLE={json.dumps(BUNDLE)}", "--env", "LYFTLEARN_SUBSTRATE=local")
    ran = run("--read-only", "--user", user, *volume, *variables, either, check=False)
    assert ran.returncode == 0, ran.stderr
    uid, home, *_, last = ran.stdout.splitlines()
    assert (uid, last) == (user.partition(":")[0], "read-only")
    assert home in ("/lyftlearn/home", "/home/lyftlearn")


def test_a_job_of_the_first_user_needs_no_volume(base: str) -> None:
    """Studio and a plain container mount nothing."""
    variables = ("--env", f"LYFTLEARN_BUNDLE={json.dumps(BUNDLE)}", "--env", "LYFTLEARN_SUBSTRATE=local")
    assert run("--user", "1000:1000", *variables, base).stdout.splitlines()[:2] == ["1000", "/home/lyftlearn"]


@pytest.mark.parametrize("word", ["train", "serve"])
def test_sagemakers_words(base: str, word: str, tmp_path: Path) -> None:
    """SageMaker starts `docker run <image> train`, and `serve`: the runtime runs its job, else the program."""
    job = run("--env", f"LYFTLEARN_BUNDLE={json.dumps(BUNDLE)}", "--env", "LYFTLEARN_SUBSTRATE=local", base, word)
    assert job.stdout.splitlines()[0] == "0"
    program = tmp_path / word
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    assert run("--volume", f"{program}:/usr/local/bin/{word}:ro", base, word).stdout == "mine\n"


SUBMIT = """
import lyftlearn, optuna
job = lyftlearn.process("inner", command=["echo", "from a job of a job"])
job.wait()
print(*job.logs())
"""


def test_a_job_may_submit_jobs(either: str) -> None:
    """The driver of a search is a job, and its trials are jobs that it submits."""
    ran = run("--entrypoint", "python3", "--env", "LYFTLEARN_HOME=/tmp/home", either, "-c", SUBMIT)
    assert "from a job of a job" in ran.stdout


COUNT = """
from pyspark.sql import SparkSession
# Where a busy machine keeps a local executor from its heartbeats, Spark would give it up and never end.
settings = {"spark.local.dir": "/tmp", "spark.driver.host": "127.0.0.1", "spark.network.timeout": "1h"}
spark = SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
print(spark.range(1000).selectExpr("sum(id)").collect()[0][0])
"""


def test_spark_runs(distributed: str) -> None:
    """Java, Spark and Python fit together."""
    assert "499500" in run(distributed, "python3", "-c", COUNT).stdout


@pytest.fixture(scope="module")
def in_the_base_image(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """The platforms of the call sites, on which this machine's jobs run in the base image."""
    with platforms(tmp_path_factory.mktemp("platforms")) as running:
        yield replace(running, config=running.config_in_image(base))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CALL_SITES)
def test_call_sites(in_the_base_image: Platforms, tmp_path: Path, name: str, layout: str) -> None:
    """The same comes of them as everywhere, byte for byte."""
    seen = CallSite(name, in_the_base_image, layout).transcript(tmp_path)
    assert seen == (HERE / "transcripts" / f"{name}.txt").read_text()


class TestTheContractInTheBaseImage(InItsImage):
    """What decides whether something is a backend, decides whether this is an image for its jobs."""

    __test__ = True
    name = "local-kubernetes"

    @pytest.fixture
    def image(self, base: str) -> str:
        return base

    @pytest.fixture
    def new_backend(self, tmp_path: Path, storage_url: str) -> Callable[[], Backend]:
        table = {"image_required": True}
        settings = BackendSettings(name=self.name, table=table, home=tmp_path, storage_url=storage_url)
        return lambda: create(settings)
