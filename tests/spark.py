"""Where the tests find a real Spark: an environment of its own, since it weighs 350 MB, and this machine's Java."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMAND = "make .spark/ready"


def spark_python() -> Path:
    """The Python that has pyspark; skips where there is none, or no Java."""
    python = Path(os.environ.get("LYFTLEARN_TEST_SPARK") or ROOT / ".spark" / "bin" / "python")
    if not python.exists():
        pytest.skip(f"needs pyspark: {COMMAND}")
    if shutil.which("java") is None:
        pytest.skip("needs Java: apt-get install openjdk-17-jre-headless")
    return python


def search_path() -> str:
    """The PATH of an image with Spark."""
    return f"{spark_python().parent}:/usr/local/bin:/usr/bin:/bin"


def spark_packages() -> str:
    """The directory with the package pyspark, for a Python of the same version that has other packages, too."""
    asked = [str(spark_python()), "-c", "import os, pyspark; print(os.path.dirname(os.path.dirname(pyspark.__file__)))"]
    return subprocess.run(asked, capture_output=True, check=True, text=True).stdout.strip()
