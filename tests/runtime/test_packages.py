"""What a source requires: from a real index on loopback, installed once, and kept in the storage."""

from __future__ import annotations

import base64
import hashlib
import http.server
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lyftlearn import Client
from lyftlearn.runtime import packages
from lyftlearn.runtime.bundle import Bundle
from lyftlearn.runtime.faults import RuntimeFailure
from lyftlearn.runtime.layout import Layout
from tests.containers import require_containers


class Index(http.server.SimpleHTTPRequestHandler):
    """Serves a directory, and counts."""

    asked: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        self.asked.append(self.path)


def make_wheel(directory: Path, name: str = "rides") -> None:
    """Put one wheel into a simple index."""
    folder = directory / "simple" / name
    folder.mkdir(parents=True)
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "VALUE = 'from the index'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for path, text in files.items()}
    record = "".join(f"{path},sha256={hashes[path].rstrip(b'=').decode()},{len(files[path])}\n" for path in files)
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """The URL of an index with one package."""
    make_wheel(tmp_path / "index")
    handler = partial(Index, directory=str(tmp_path / "index"))
    Index.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()
        thread.join()


def job(tmp_path: Path, index: str | None, requirements: str = "rides==1.0\n") -> tuple[Bundle, Layout, dict[str, str]]:
    root = tmp_path / "root"
    (root / "source").mkdir(parents=True, exist_ok=True)
    (root / "source" / "requirements.txt").write_text(requirements)
    document = {"packages": {"uri": (tmp_path / "storage").as_uri(), "index": index}}
    return Bundle(document, ""), Layout(str(root), str(root / "ml")), {"PATH": f"{Path(sys.executable).parent}"}


def test_a_second_job_installs_nothing(tmp_path: Path, index: str) -> None:
    """The first one asks the index; those that follow read what it kept."""
    arguments = job(tmp_path, index)
    first = packages.install(*arguments)
    assert first is not None
    assert (Path(first) / "rides.py").read_text() == "VALUE = 'from the index'\n"
    asked = len(Index.asked)
    assert asked
    assert packages.install(*arguments) == first
    assert (Path(first) / "rides.py").exists()
    assert len(Index.asked) == asked
    assert len(list((tmp_path / "storage").iterdir())) == 1


def test_a_job_imports_what_its_source_requires(tmp_path: Path, index: str) -> None:
    """Through the public API, with nothing at the call site."""
    require_containers()
    source = tmp_path / "code"
    source.mkdir()
    (source / "requirements.txt").write_text("rides==1.0\n")
    (source / "main.py").write_text("import rides\nprint(rides.VALUE)\n")
    jobs = {"requirements": "auto", "index": index}
    client = Client(config={"home": str(tmp_path / "home"), "jobs": jobs})
    job = client.process("read", command="python3 main.py", source=source)
    assert job.wait().status == "succeeded", job.state
    assert list(job.logs()) == ["from the index"]


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        ("no-such-package==1\n", "no-such-package"),
        ("rides ==== 1\n", "rides"),
        ("rides==1.0 --hash=sha256:" + "0" * 64 + "\n", "hash"),
    ],
)
def test_the_installer_has_the_last_word(tmp_path: Path, index: str, requirements: str, words: str) -> None:
    """Its own words say best what is wrong, the job fails before its command, and nothing is kept."""
    with pytest.raises(RuntimeFailure) as failure:
        packages.install(*job(tmp_path, index, requirements))
    assert failure.value.reason == "configuration"
    assert words in str(failure.value).lower()
    assert not (tmp_path / "storage").exists()


def test_an_index_that_is_away_and_its_password(tmp_path: Path) -> None:
    """It fails the job, and no message shows what is in its URL."""
    away = "http://reader:hunter2@127.0.0.1:9/simple"
    bundle, layout, variables = job(tmp_path, None)
    with pytest.raises(RuntimeFailure) as failure:
        packages.install(bundle, layout, {**variables, "PIP_INDEX_URL": away, "PIP_RETRIES": "0"})
    assert failure.value.reason == "configuration"
    assert "hunter2" not in str(failure.value)


def test_half_an_archive_is_made_anew(tmp_path: Path, index: str) -> None:
    """What somebody cut is no reason to fail for ever."""
    arguments = job(tmp_path, index)
    packages.install(*arguments)
    (kept,) = (tmp_path / "storage").iterdir()
    kept.write_bytes(kept.read_bytes()[:50])
    where = packages.install(*arguments)
    assert where is not None
    assert (Path(where) / "rides.py").exists()


def test_a_lock_file_without_uv(tmp_path: Path, index: str) -> None:
    """It says which program is missing, and what to do."""
    bundle, layout, variables = job(tmp_path, index)
    (Path(layout.at("source")) / "pylock.toml").write_text('lock-version = "1.0"\n')
    with pytest.raises(RuntimeFailure, match=r"pylock\.toml needs `uv`"):
        packages.install(bundle, layout, variables)


def test_nothing_is_installed_where_nobody_asked(tmp_path: Path) -> None:
    """A requirements.txt in a source has meant nothing until now."""
    bundle, layout, variables = job(tmp_path, None)
    bundle.document["packages"] = None
    assert packages.install(bundle, layout, variables) is None
