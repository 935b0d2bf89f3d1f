"""What a source requires: from a real index on loopback, by the real uv and pip, installed once and kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lyftlearn import Client
from lyftlearn.runtime import packages
from lyftlearn.runtime.bundle import Bundle
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.layout import Layout
from tests.containers import require_containers
from tests.package_index import PackageIndex, package_index

from .conftest import Container, Containers

Arguments = tuple[Bundle, Layout, dict[str, str]]
UV = Path(sys.executable).parent / "uv"
PROJECT = """
[project]
name = "fares"
version = "0.1"
requires-python = ">=3.8"
dependencies = ["rides>=1"]

[dependency-groups]
dev = ["checks"]
"""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with package_index(tmp_path / "index") as running:
        yield running


@pytest.fixture(params=["uv", "pip"])
def programs(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The PATH of an image that has this installer, and Python."""
    return make_programs(tmp_path / "bin", with_uv=request.param == "uv")


def make_programs(directory: Path, *, with_uv: bool, python: str = sys.executable) -> str:
    directory.mkdir()
    script = directory / "python3"
    script.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    script.chmod(0o755)
    if with_uv:
        (directory / "uv").symlink_to(UV)
    return f"{directory}:/usr/bin:/bin" if with_uv else str(directory)


def job(
    tmp_path: Path,
    index: PackageIndex | None,
    text: str = "rides==1.0\n",
    *,
    name: str = "requirements.txt",
    path: str = str(UV.parent),
    root: str = "root",
) -> Arguments:
    source = tmp_path / root / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / name).write_text(text)
    uri = (tmp_path / "storage").as_uri()
    document = {"packages": {"uri": uri, "index": index.url if index else None}, "user": None}
    return Bundle(document, ""), Layout(str(source.parent), str(tmp_path / "ml")), {"PATH": path}


def install(arguments: Arguments) -> Path:
    directory = packages.install(*arguments)
    assert directory is not None
    return Path(directory)


def test_a_second_job_installs_nothing(tmp_path: Path, index: PackageIndex, programs: str) -> None:
    """The first one asks the index; those that follow read what it kept."""
    arguments = job(tmp_path, index, path=programs)
    first = install(arguments)
    assert (first / "rides.py").read_text() == "VALUE = 'from the index'\n"
    asked = len(index.requests)
    assert asked
    assert install(arguments) == first
    assert (first / "rides.py").exists()
    assert (first / "bin" / "rides").exists()
    assert len(index.requests) == asked
    assert len(list((tmp_path / "storage").iterdir())) == 1
    (compiled,) = first.glob("__pycache__/*.pyc")
    unchecked = (1).to_bytes(4, "little")  # PEP 552: files have other times when they are unpacked
    assert compiled.read_bytes()[4:8] == unchecked


def test_a_job_imports_what_its_source_requires(tmp_path: Path, index: PackageIndex) -> None:
    """Through the public API, with nothing at the call site."""
    require_containers()
    source = tmp_path / "code"
    source.mkdir()
    (source / "requirements.txt").write_text("rides==1.0\n")
    (source / "main.py").write_text("import rides\nprint(rides.VALUE)\n")
    jobs = {"requirements": "auto", "index": index.url}
    client = Client(config={"home": str(tmp_path / "home"), "jobs": jobs})
    job = client.process("read", command="python3 main.py", source=source)
    assert job.wait().status == "succeeded", job.state
    assert list(job.logs()) == ["from the index"]


@pytest.mark.parametrize(
    ("requirements", "words", "with_uv"),
    [
        ("no-such-package==1\n", "no-such-package", True),
        ("no-such-package==1\n", "no-such-package", False),
        ("rides ==== 1\n", "rides", True),
        ("rides==1.0 --hash=sha256:" + "0" * 64 + "\n", "hash", True),
    ],
)
def test_the_installer_has_the_last_word(
    tmp_path: Path, index: PackageIndex, requirements: str, words: str, with_uv: bool
) -> None:
    """Its own words say best what is wrong, the job fails before its command, and nothing is kept."""
    with pytest.raises(RuntimeFailure) as failure:
        install(job(tmp_path, index, requirements, path=make_programs(tmp_path / "bin", with_uv=with_uv)))
    assert failure.value.reason == "configuration"
    assert words in str(failure.value).lower()
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize(("with_uv", "password"), [(False, "hunt@er2"), (True, "hunt@er2"), (True, "hunt%40er2")])
def test_an_index_that_is_away_and_its_password(tmp_path: Path, with_uv: bool, password: str) -> None:
    """It fails the job, and no message shows what is in its URL."""
    bundle, layout, variables = job(tmp_path, None, path=make_programs(tmp_path / "bin", with_uv=with_uv))
    away = {"PIP_INDEX_URL": f"http://reader:{password}@127.0.0.1:9/simple", "PIP_RETRIES": "0", "UV_HTTP_RETRIES": "0"}
    with pytest.raises(RuntimeFailure) as failure:
        packages.install(bundle, layout, {**variables, **away})
    assert failure.value.reason == "configuration"
    assert "er2" not in str(failure.value)


def test_a_new_password_installs_nothing(tmp_path: Path, index: PackageIndex) -> None:
    """The name of what is kept is made without it: passwords change, and nobody is to guess one from a name."""
    bundle, layout, variables = job(tmp_path, None)
    for password in ("old", "new"):
        url = index.url.replace("//", f"//reader:{password}@")
        assert packages.install(bundle, layout, {**variables, "PIP_INDEX_URL": url})
    assert len(list((tmp_path / "storage").iterdir())) == 1


def test_half_an_archive_is_made_anew(tmp_path: Path, index: PackageIndex) -> None:
    """What somebody cut is no reason to fail for ever."""
    arguments = job(tmp_path, index)
    install(arguments)
    (kept,) = (tmp_path / "storage").iterdir()
    whole = kept.stat().st_size
    kept.write_bytes(kept.read_bytes()[:50])
    assert (install(arguments) / "rides.py").exists()
    assert kept.stat().st_size > whole / 2


@pytest.mark.parametrize("change", ["more.txt", "vendored/extra.py"])
def test_files_that_the_file_names_count(tmp_path: Path, index: PackageIndex, change: str) -> None:
    """Otherwise a job has for ever what another one installed."""
    arguments = job(tmp_path, index, "-r more.txt\n")
    source = tmp_path / "root" / "source"
    (source / "vendored").mkdir()
    (source / "more.txt").write_text("rides\n")
    install(arguments)
    (source / change).write_text("rides==1.0\n")
    install(arguments)
    assert len(list((tmp_path / "storage").iterdir())) == 2


def lock(tmp_path: Path, index: PackageIndex, kind: str, project: str = PROJECT) -> dict[str, str]:
    """What uv writes for a project. Return name and content of the files."""
    index.add("checks")
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "pyproject.toml").write_text(project)
    environ = {"PATH": f"{UV.parent}:/usr/bin:/bin", "UV_DEFAULT_INDEX": index.url, "UV_NO_CACHE": "1"}
    commands = [[str(UV), "lock"]]
    if kind == "pylock.toml":
        commands.append([str(UV), "export", "--frozen", "--no-dev", "--no-emit-project", "-o", kind])
    for command in commands:
        subprocess.run(command, cwd=directory, env=environ, capture_output=True, check=True)
    return {name: (directory / name).read_text() for name in ("pyproject.toml", kind)}


@pytest.mark.parametrize("kind", ["uv.lock", "pylock.toml"])
def test_a_lock_file_is_followed(tmp_path: Path, index: PackageIndex, kind: str) -> None:
    """The locked version, though there is a newer one; without what is for development, and without the project."""
    files = lock(tmp_path, index, kind)
    index.add("rides", "2.0")
    arguments = [job(tmp_path, index, text, name=name) for name, text in files.items()][-1]
    names = {path.name for path in install(arguments).iterdir()}
    assert names == {"rides.py", "rides-1.0.dist-info", "bin", "__pycache__"} | (names & {".lock"})
    asked = len(index.requests)
    install(arguments)
    assert len(index.requests) == asked


def test_a_lock_file_for_another_python(tmp_path: Path, index: PackageIndex) -> None:
    """The image's Python is the one that counts: no other is fetched, and the message says what does not fit."""
    text = lock(tmp_path, index, "pylock.toml")["pylock.toml"]
    with pytest.raises(RuntimeFailure, match=r"3\.99"):
        install(job(tmp_path, index, text.replace(">=3.8", ">=3.99"), name="pylock.toml"))


@pytest.mark.parametrize("kind", ["uv.lock", "pylock.toml"])
def test_a_lock_file_that_cannot_be_read(tmp_path: Path, index: PackageIndex, kind: str) -> None:
    """A merge left its marks, for example."""
    with pytest.raises(RuntimeFailure) as failure:
        install(job(tmp_path, index, "<<<<<<< HEAD\n", name=kind))
    assert failure.value.reason == "configuration"
    assert kind in str(failure.value)


@pytest.mark.parametrize("kind", ["uv.lock", "pylock.toml"])
def test_a_lock_file_without_uv(tmp_path: Path, index: PackageIndex, kind: str) -> None:
    """It says which program is missing, and what to do."""
    programs = make_programs(tmp_path / "bin", with_uv=False)
    with pytest.raises(RuntimeFailure, match=f"{kind} needs `uv`"):
        install(job(tmp_path, index, 'lock-version = "1.0"\n', name=kind, path=programs))


def test_an_image_without_pip(tmp_path: Path, index: PackageIndex) -> None:
    """Slim images leave it out."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    programs = make_programs(tmp_path / "bin", with_uv=False, python=f"{tmp_path}/venv/bin/python3")
    with pytest.raises(RuntimeFailure, match=r"neither `uv` nor .* -m pip`: put one of them into the image"):
        install(job(tmp_path, index, path=programs))


def test_a_source_with_names_of_modules(tmp_path: Path, index: PackageIndex) -> None:
    """The installer starts in the source, and must not import what lies there."""
    arguments = job(tmp_path, index, path=make_programs(tmp_path / "bin", with_uv=False))
    for name in ("logging", "random", "pip"):
        (tmp_path / "root" / "source" / f"{name}.py").write_text("raise SystemExit(9)\n")
    assert (install(arguments) / "rides.py").exists()


def test_nothing_is_installed_where_nobody_asked(tmp_path: Path) -> None:
    """A requirements.txt in a source has meant nothing until now."""
    bundle, layout, variables = job(tmp_path, None)
    bundle.document["packages"] = None
    assert packages.install(bundle, layout, variables) is None


def test_an_install_that_is_killed(tmp_path: Path, index: PackageIndex) -> None:
    """The next start of the container finds half a directory, and no archive."""
    arguments = job(tmp_path, index)
    code = (
        "import sys; from lyftlearn.runtime import packages, bundle, layout; document, root, path = eval(sys.argv[1]); "
        "packages.install(bundle.Bundle(document, ''), layout.Layout(root, root), {'PATH': path})"
    )
    words = repr((arguments[0].document, arguments[1].root, arguments[2]["PATH"]))
    index.open.clear()
    with subprocess.Popen([sys.executable, "-c", code, words], start_new_session=True) as process:
        assert index.asked.wait(600)
        os.killpg(process.pid, signal.SIGKILL)
    index.open.set()
    assert not (tmp_path / "storage").exists()
    assert (install(arguments) / "rides.py").exists()
    assert not (tmp_path / "root" / "packages.part").exists()


def test_two_nodes_at_once(tmp_path: Path, index: PackageIndex) -> None:
    """Each has what it needs, and the storage has one archive."""
    nodes = [job(tmp_path, index, root=root) for root in ("one", "two")]
    with ThreadPoolExecutor() as pool:
        directories = list(pool.map(install, nodes))
    assert [(path / "rides.py").exists() for path in directories] == [True, True]
    assert len(list((tmp_path / "storage").iterdir())) == 1


def test_a_storage_that_takes_nothing(tmp_path: Path, index: PackageIndex, capfd: pytest.CaptureFixture[str]) -> None:
    """The job has its packages; only the next one has to install them, too."""
    (tmp_path / "storage").write_text("a file")
    assert (install(job(tmp_path, index)) / "rides.py").exists()
    assert "the packages are not kept for the next job" in capfd.readouterr().err


def container(containers: Containers, index: PackageIndex, substrate: str, *command: str) -> Container:
    """One whose source requires `rides`, with uv."""
    made = containers.make(substrate, list(command), source={"mode": "mounted"}, network=True)
    made.document["packages"] = {"uri": str(made.directory / "kept" / "packages"), "index": index.url}
    made.document.pop("network")
    made.network = True
    made.variables["PATH"] = f"{UV.parent}:/usr/bin:/bin"
    source = made.root / "source"
    source.mkdir()
    (source / "requirements.txt").write_text("rides==1.0\n")
    return made


@pytest.mark.parametrize("substrate", ["kubernetes", "sagemaker", "local"])
def test_every_substrate(containers: Containers, index: PackageIndex, substrate: str) -> None:
    """Another user than root, and on Kubernetes a root that is read-only."""
    code = "import rides, os; print(rides.VALUE, rides.__file__, os.getuid())"
    result = container(containers, index, substrate, "python3", "-c", code).run()
    assert result.output.decode().splitlines() == ["from the index /lyftlearn/packages/rides.py 1000"]


def test_what_is_installed_runs_as_the_jobs_user(containers: Containers, index: PackageIndex) -> None:
    """Building a package runs programs of whoever wrote it."""
    made = container(containers, index, "sagemaker", "cat", "/lyftlearn/tmp/user")
    made.variables["PATH"] = f"{made.root}/source:{made.variables['PATH']}"
    made.binds.append(str(made.root))
    uv = made.root / "source" / "uv"
    uv.write_text("#!/bin/sh\nid -u > /lyftlearn/tmp/user\n")
    uv.chmod(0o755)
    assert made.run().output == b"1000\n"


def test_a_full_disk(containers: Containers, index: PackageIndex) -> None:
    """It fails the job before the command, with the installer's words, and half of it is kept nowhere."""
    index.add("rides", "1.0", b"# " + os.urandom(1 << 19).hex().encode())
    made = container(containers, index, "sagemaker", "echo", "never")
    made.ml_mounts += ["--size", "400000", "--tmpfs", "/lyftlearn"]
    made.document["source"] = {"uri": str(made.directory / "kept" / "source.tar.gz")}
    shutil.make_archive(str(made.directory / "kept" / "source"), "gztar", made.root / "source")
    result = made.run()
    assert result.exit_code == 78, result
    assert "No space left" in result.report or "disk is full" in result.report
    assert not (made.directory / "kept" / "packages").exists()
