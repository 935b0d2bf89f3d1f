"""The zip file: deterministic, small, alone, and good for every Python that images have."""

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import lyftlearn.runtime
from lyftlearn._contract.runtime_archive import archive_bytes, runtime_archive, runtime_sources
from lyftlearn.errors import LyftLearnError

SOURCES = sorted(Path(str(lyftlearn.runtime.__file__)).parent.rglob("*.py"))
PYTHONS = {"this": Path(sys.executable)}
for version in sorted(Path("~/.pyenv/versions").expanduser().glob("3.*")):
    if tuple(map(int, version.name.split(".")[:2])) >= (3, 8):
        PYTHONS[version.name] = version / "bin/python3"


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    """The hash names it everywhere: two clients must not deliver two runtimes."""
    assert archive_bytes(runtime_sources()) == archive_bytes(runtime_sources())
    first, second = runtime_archive(tmp_path / "a"), runtime_archive(tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first.name]


def test_it_is_small() -> None:
    """It travels with every job."""
    assert len(archive_bytes(runtime_sources())) < 135_000


def test_it_is_built_once(tmp_path: Path) -> None:
    """A cache that is written again might be read half-written."""
    before = runtime_archive(tmp_path).stat().st_mtime_ns
    assert runtime_archive(tmp_path).stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:1000], lambda whole: whole[:-1]])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_damaged_one_is_built_anew(tmp_path: Path, damage: Any, compiled: bool) -> None:
    """A full disk once must not fail every later job until somebody finds the cache."""
    path = runtime_archive(tmp_path, compiled=compiled)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert runtime_archive(tmp_path, compiled=compiled).read_bytes() == whole
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert runtime_archive(tmp_path, compiled=compiled).read_bytes() == whole


def test_what_is_known_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every submission asks, so it is one look at the file's size and time, and none at the sources."""
    path = runtime_archive(tmp_path)
    os.utime(path, (0, 0))
    runtime_archive(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert runtime_archive(tmp_path) == path


def test_a_home_that_cannot_be_is_said_so(tmp_path: Path) -> None:
    """A plan needs the archive, so this is what whoever misspelt their home is told first."""
    with pytest.raises(LyftLearnError, match=r"cannot be written to \(File name too long\): set LYFTLEARN_HOME"):
        runtime_archive(tmp_path / ("x" * 500))


def test_byte_code_is_used_where_it_fits(tmp_path: Path) -> None:
    """A job on this machine starts sooner; another Python reads the sources beside it."""
    archive = runtime_archive(tmp_path)
    assert archive != runtime_archive(tmp_path, compiled=False)
    verbose = [sys.executable, "-I", "-S", "-v", str(archive), "version"]
    imports = subprocess.run(verbose, capture_output=True, text=True, check=True).stderr
    assert "matches" in imports or "code object from" in imports
    for python in PYTHONS.values():
        assert subprocess.run([python, "-I", "-S", archive, "version"], check=True, capture_output=True).stdout


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_it_imports_the_standard_library_and_itself(path: Path) -> None:
    """An image has nothing else, but for boto3 where it is asked for."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 8))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).split(".")[0])
    others = {"s3": {"boto3", "botocore"}, "zip_main": {"_signal", "lyftlearn_runtime"}}
    assert found <= set(sys.stdlib_module_names) | others.get(path.stem, set())


@pytest.mark.parametrize("python", PYTHONS.values(), ids=list(PYTHONS))
@pytest.mark.parametrize("substrate", ["kubernetes", "sagemaker"])
def test_every_python_runs_it(containers: Any, python: Path, substrate: str) -> None:
    """Old images stay as they are: hyperparameters, secrets, metrics, packing, retries, and a report."""
    script = "cat $LYFTLEARN_HYPERPARAMETERS; cat $LYFTLEARN_SECRETS_DIR/db/KEY > $LYFTLEARN_MODEL_DIR/k; "
    script += "[ $LYFTLEARN_ATTEMPT = 2 ]"
    container = containers.make(
        substrate,
        ["/bin/sh", "-c", script],
        str(python),
        hyperparameters={"a": "1.10"},
        secrets={"names": ["db"], "provider": {"type": "variables"}},
        metrics={"relay": True},
        outputs={"output": {}},
        model=True,
        retries=1,
    )
    container.document["job"] = {**container.document["job"], "id": f"python-{container.directory.parent.name}"}
    container.document["output_uri"] = str(container.artifacts)
    container.variables["LYFTLEARN_SUBSTRATE_SECRET_0_KEY"] = "v"
    result = container.run()
    assert result.exit_code == 0, result.output
    assert result.output == b'{"a": "1.10"}' * 2
    assert (container.artifacts / "model.tar.gz").exists()


def test_it_says_what_it_is(archive: Path) -> None:
    """Two questions of whoever holds an image in hand."""
    command = [sys.executable, "-I", "-S", str(archive)]
    told = subprocess.run([*command, "version"], capture_output=True, text=True, check=True, timeout=600)
    assert told.stdout == "lyftlearn runtime, contract 1\n"
    wrong = subprocess.run([*command, "walk"], capture_output=True, text=True, check=False, timeout=600)
    assert (wrong.returncode, wrong.stderr.startswith("usage:")) == (64, True)


LARGE = {"collections", "json", "re", "shutil", "signal", "subprocess", "tarfile", "threading", "urllib.parse"}


def test_a_short_job_loads_nothing_large(tmp_path: Path) -> None:
    """From the first line to the report: the modules that hardly any job needs would be most of what one takes."""
    relay = {"relay": True, "gateway": None}
    bundle = {"contract": 1, "job": {"id": "a", "name": "a", "kind": "train"}, "command": ["true"], "metrics": relay}
    bundle |= {"model": True, "outputs": {"output": {}}, "output_uri": (tmp_path / "kept").as_uri()}
    environ = {"LYFTLEARN_SUBSTRATE": "local", "LYFTLEARN_ROOT": str(tmp_path), "LYFTLEARN_BUNDLE": json.dumps(bundle)}
    begin = "import sys; sys.path.insert(0, sys.argv.pop(1)); import lyftlearn_runtime.zip_main"  # not by runpy
    command = [sys.executable, "-I", "-S", "-X", "importtime", "-c", begin, str(runtime_archive(tmp_path)), "run"]
    ended = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=True)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["model.tar.gz", "output.tar.gz"]
    loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "lyftlearn_runtime.packing" in loaded
    assert loaded & LARGE == set()


OLD = [path / "bin/python3" for path in sorted(Path("~/.pyenv/versions").expanduser().glob("3.[67].*"))]


@pytest.mark.contract("C-RUN-1")
@pytest.mark.parametrize("python", OLD, ids=[path.parts[-3] for path in OLD])
@pytest.mark.parametrize("substrate", ["kubernetes", "sagemaker", "local"])
def test_a_python_that_is_too_old_is_said_so(containers: Any, python: Path, substrate: str) -> None:
    """The image is to blame, in words that name the version; a SyntaxError of ours would blame the platform."""
    result = containers.make(substrate, ["true"], str(python)).run()
    assert (result.exit_code, result.facts["reason"]) == (127, "image")
    assert result.last_words.startswith(f"the image has Python {python.parts[-3]}")
    assert b"SyntaxError" not in result.output


WITHOUT_JSON = """#!{python}
import runpy, sys
class Without:
    def find_spec(name, path=None, target=None):
        if name == "json":
            raise ModuleNotFoundError("No module named 'json'")
sys.meta_path.insert(0, Without)
sys.modules.pop("json", None)
sys.argv = [word for word in sys.argv[1:] if not word.startswith("-")]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.contract("C-RUN-1")
@pytest.mark.parametrize("substrate", ["kubernetes", "sagemaker", "local"])
def test_a_python_without_its_library_is_said_so(containers: Any, substrate: str) -> None:
    """Debian's python3-minimal is a Python without json: the image is to blame, and the words say what to install."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        python = Path(directory, "python3")
        python.write_text(WITHOUT_JSON.format(python=sys.executable))
        python.chmod(0o755)
        result = containers.make(substrate, ["true"], str(python)).run()
    assert (result.exit_code, result.facts["reason"]) == (127, "image"), result.output
    assert "json" in result.last_words
    assert "Debian's `python3`" in result.last_words
    assert b"Traceback" not in result.output


def test_a_python_that_lacks_what_newer_ones_have(tmp_path: Path) -> None:
    """That of 3.4 has no module `_signal`: what is too old is told before anything is asked of it."""
    archive = tmp_path / "runtime.pyz"
    archive.write_bytes(archive_bytes(runtime_sources()))
    old = "import sys; sys.version_info = (3, 4, 2); sys.modules['_signal'] = None"
    start = f"import runpy; {old}; runpy.run_path({str(archive)!r}, run_name='__main__')"
    environ = {"LYFTLEARN_SUBSTRATE_REPORT": str(tmp_path / "report")}
    ended = subprocess.run(
        [sys.executable, "-I", "-c", start], env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 127, ended.stderr
    assert "the image has Python 3.4.2, and the runtime needs 3.8 or newer" in (tmp_path / "report").read_text()
