"""What a source requires is there on the platforms, too: installed in the container, from the configured index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.doubles.platforms import platforms
from tests.package_index import package_index

SUBMIT = """
import sys, lyftlearn
for _ in range(2):
    job = lyftlearn.process("read", command="python3 main.py", source=sys.argv[1])
    print(job.wait(progress=False).status, *job.logs())
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["kubernetes", "sagemaker"])
def test_a_job_imports_what_its_source_requires(tmp_path: Path, backend: str) -> None:
    """With nothing at the call site; the second job has what the first one kept in the bucket."""
    source = tmp_path / "code"
    source.mkdir()
    (source / "requirements.txt").write_text("rides==1.0\n")
    (source / "main.py").write_text("import rides\nprint(rides.VALUE)\n")
    with platforms(tmp_path / "platforms") as running, package_index(tmp_path / "index") as index:
        if not running.gateway:
            pytest.skip("a real platform does not reach the index on this machine")
        settings = f'[jobs]\nrequirements = "auto"\nindex = "{index.url}"\n'
        running.config.write_text(running.config.read_text().replace("[jobs]\n", settings))
        done = subprocess.run(
            [sys.executable, "-c", SUBMIT, str(source)],
            env=running.variables(backend),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.stdout.splitlines() == ["succeeded from the index"] * 2, done.stderr
    assert index.requests.count("/simple/rides/") == 1
