"""Build a release in `dist/`: wheel, source distribution, and bill of materials. `make dist` runs this.

Everything is built twice, from two copies of the commit that differ in all that must not matter, and the wheel a third
time from the source distribution. The bytes must be the same each time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SBOM = "lyftlearn.cdx.json"


def main() -> None:
    """Build, compare and describe; any failure ends with an exception."""
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        built = [build(checkout(room / name, umask), umask) for name, umask in (("a", 0o022), ("another-place", 0o077))]
        if digests(built[0]) != digests(built[1]):
            raise SystemExit(f"two builds differ: {digests(built[0])} and {digests(built[1])}")
        wheel, source = sorted(built[0].iterdir(), key=lambda path: path.suffix != ".whl")
        again = run(
            room / "from-source", "-m", "build", "--no-isolation", "--wheel", "--outdir", ".", unpacked(source, room)
        )
        if digests(again)[wheel.name] != digests(built[0])[wheel.name]:
            raise SystemExit("the wheel of the source distribution is another")
        shutil.rmtree(ROOT / "dist", ignore_errors=True)
        shutil.copytree(built[0], ROOT / "dist")
        describe(wheel, room)
    for path in sorted((ROOT / "dist").iterdir()):
        sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  dist/{path.name}\n")


def checkout(target: Path, umask: int) -> Path:
    """Return the files of the newest commit, as a user with this umask has them."""
    target.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "--no-same-permissions"], cwd=target, input=archive, check=True, umask=umask)
    for path in target.rglob("*.py"):
        os.utime(path, (umask, umask))
    return target


def build(source: Path, umask: int) -> Path:
    """Build both, and return the directory where they are."""
    return run(source / "dist", "-m", "build", "--no-isolation", "--outdir", ".", source, umask=umask)


def unpacked(source: Path, room: Path) -> Path:
    """Return the directory that a source distribution holds."""
    shutil.unpack_archive(source, room / "unpacked", filter="data")
    (only,) = (room / "unpacked").iterdir()
    return only


def run(directory: Path, *words: str | Path, umask: int = 0o022) -> Path:
    """Run this Python in a directory, with the time of the commit for all that has one; return the directory."""
    directory.mkdir(parents=True)
    newest = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": newest.stdout.strip()}
    command = [sys.executable, *map(str, words)]
    subprocess.run(command, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL, umask=umask)
    return directory


def digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a directory."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


def describe(wheel: Path, room: Path) -> None:
    """Write the bill of materials, in CycloneDX: what an installation of the wheel consists of, with licences."""
    environment, target = str(room / "venv"), str(ROOT / "dist" / SBOM)
    uv = [sys.executable, "-m", "uv", "-q"]
    subprocess.run([*uv, "venv", environment, "--python", sys.executable], check=True)
    subprocess.run([*uv, "pip", "install", "--python", environment, str(wheel)], check=True)
    options = ["--output-reproducible", "--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "library"]
    command = [sys.executable, "-m", "cyclonedx_py", "environment", *options, "-o", target, environment]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
