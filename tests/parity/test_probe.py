"""What the probe tells, and above all what it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn.parity import probe, redaction, scenes
from lyftlearn.parity.redaction import Redactor
from tests.pythons import pythons

PYTHONS = {version: path for version, path in pythons().items() if version >= (3, 8)}
KEY = "k" * 64
HIDDEN = {
    "DB_PASSWORD": "hunter22",
    "API_TOKEN": "tk-1",
    "DATABASE_URL": "postgres://eta:hunter22@db/rides",
    "UPSTREAM": "https://svc:hunter22@host",
    "HOOK": "see T0AB12CD3EF45GH67IJ89KL01 there",
    "WHO": "eyJhbGciOiJI.eyJzdWIi.c2ln",
}
TOLD = {"REGION": "us-east-1", "LYFTLEARN_SECRETS_DIR": "/nowhere", "PWD": "/work", "TAGS": "a,b c", "EMPTY_TOKEN": ""}


def observed(python: Path | str, tmp_path: Path, **variables: str) -> dict[str, Any]:
    report = tmp_path / "report.json"
    command = [str(python), str(probe.__file__), str(report)]
    environment = {"PATH": os.environ["PATH"], probe.KEY: KEY, **variables}
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True, timeout=600)
    return dict(json.loads(report.read_text()))


@pytest.mark.parametrize("python", PYTHONS.values(), ids=[".".join(map(str, version)) for version in PYTHONS])
def test_it_runs_by_its_path_on_every_python(python: Path, tmp_path: Path) -> None:
    """It runs in the user's image, whose Python is not ours to choose."""
    found = observed(python, tmp_path, REGION="us-east-1")
    assert found["environment"]["REGION"] == "us-east-1"
    assert found["image"]["python"].startswith("3.")
    assert found["names"]["localhost"]


def test_what_could_be_a_credential_is_hidden(tmp_path: Path) -> None:
    """A report leaves the team that may read these; and what says nothing secret must stay readable."""
    seen = observed(sys.executable, tmp_path, **HIDDEN, **TOLD)
    assert {name: seen["environment"][name] for name in TOLD} == TOLD
    for name, value in HIDDEN.items():
        assert seen["environment"][name].startswith(f"<{len(value)} characters #"), name
    assert probe.KEY not in seen["environment"]
    text = json.dumps(seen)
    assert "hunter22" not in text
    assert KEY not in text


def test_secrets_are_told_by_their_shape(tmp_path: Path) -> None:
    """Whether the right secret arrived, as a file and as a variable, is seen without seeing it."""
    place = tmp_path / "secrets" / "db" / "PASSWORD"
    place.parent.mkdir(parents=True)
    place.write_text("Battery7\n")
    place.chmod(0o400)
    where = {"LYFTLEARN_SECRETS_DIR": str(tmp_path / "secrets")}
    seen = observed(sys.executable, tmp_path, **where, PASSWORD="Battery7", GREETING="I am Battery7!")
    shape = seen["secrets"]["db PASSWORD"]
    assert (shape["length"], shape["newlines"], shape["mode"], shape["agree"]) == (8, 1, "-r--------", False)
    assert shape["characters"] == ["lower", "upper", "digit"]
    assert shape["value"] == shape["variable"]["value"]
    assert seen["environment"]["GREETING"] == f"I am <8 characters {shape['value']}>!"
    assert "Battery7" not in json.dumps(seen)


@given(secret=st.text(min_size=4, max_size=40), before=st.text(max_size=20), after=st.text(max_size=20))
def test_no_text_holds_a_secret(secret: str, before: str, after: str) -> None:
    """Secrets have any characters, and stand anywhere."""
    bare = secret.rstrip("\r\n")
    told = Redactor(KEY.encode(), [secret.encode()], {}).text(before + secret + after)
    mark = "<0123456789abcdef #characters>"
    assert len(bare) < 4 or bare not in told or bare in mark or bare in before + after or set(bare) <= set(mark)


def test_fingerprints_tell_equal_from_different_under_one_key_only() -> None:
    """Values compare within a run; between runs, and for guesses, a fingerprint is of no use."""
    one, same, another = (Redactor(key, [], {}) for key in (b"1" * 64, b"1" * 64, b"2" * 64))
    assert one.fingerprint(b"x") == same.fingerprint(b"x") != one.fingerprint(b"y")
    assert one.fingerprint(b"x") != another.fingerprint(b"x")


def test_a_long_value_takes_no_time() -> None:
    """Patterns that look for tokens can take minutes over a hundred thousand digits."""
    started = time.monotonic()
    Redactor(KEY.encode(), [], {}).variable("FEATURES", "0123456789" * 20_000)
    assert time.monotonic() - started < 20


def test_scenes_run_without_the_package(tmp_path: Path) -> None:
    """In the container they stand alone, in whatever directory the input is."""
    for module in (probe, redaction, scenes):
        path = Path(str(module.__file__))
        (tmp_path / path.name).write_bytes(path.read_bytes())
    command = [str(next(iter(PYTHONS.values()))), str(tmp_path / "scenes.py"), "output"]
    lines = subprocess.run(command, capture_output=True, check=True, timeout=600, cwd="/").stdout.split(b"\n")
    assert lines[0] == b"first|plain"
    assert lines[-1] == b"last|without a newline"
    assert not (tmp_path / "__pycache__").exists()
