"""A real index of packages on loopback, which counts what is asked of it and may hold its answers back."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class PackageIndex:
    """What is served. requests: the paths that were asked for. open: answers wait until it is set."""

    directory: Path
    url: str = ""
    requests: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, version: str = "1.0", text: bytes = b"VALUE = 'from the index'\n") -> None:
        """Add one wheel with one module."""
        folder = self.directory / "simple" / name
        folder.mkdir(parents=True, exist_ok=True)
        _write_wheel(folder / f"{name}-{version}-py3-none-any.whl", name, version, text)
        names = sorted(path.name for path in folder.glob("*.whl"))
        (folder / "index.html").write_text("".join(f'<a href="{wheel}">{wheel}</a>' for wheel in names))


def _write_wheel(path: Path, name: str, version: str, text: bytes) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n".encode(),
    }
    digests = {name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()) for name, data in files.items()}
    lines = [f"{name},sha256={digests[name].rstrip(b'=').decode()},{len(files[name])}\n" for name in files]
    record = f"{info}/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in {**files, record: "".join([*lines, f"{record},,\n"]).encode()}.items():
            archive.writestr(inside, data)


@contextmanager
def package_index(directory: Path) -> Iterator[PackageIndex]:
    """Serve an index with the package `rides` until the block ends."""
    index = PackageIndex(directory)
    index.add("rides")
    index.open.set()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            index.requests.append(self.path)
            index.asked.set()
            index.open.wait()
            super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield index
        index.open.set()
        server.shutdown()
        thread.join()
