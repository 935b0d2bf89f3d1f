"""Where the runtime keeps a notebook's files in a training container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lyftlearn.runtime.layout import Layout
from lyftlearn.runtime.sagemaker_paths import link


@pytest.mark.parametrize("checkpoints", [{"mode": "mounted"}, None])
def test_the_files_are_where_sagemaker_copies_them(tmp_path: Path, checkpoints: Any) -> None:
    """A run that comes later finds what is there; where nobody copies checkpoints, the directory stays as it is."""
    ml, layout = tmp_path / "ml", Layout(str(tmp_path / "root"), str(tmp_path / "ml"))
    (ml / "checkpoints/files").mkdir(parents=True)
    (ml / "checkpoints/files/kept.txt").write_text("kept")
    (tmp_path / "root").mkdir()
    bundle: Any = {"notebook": {"idle_timeout": None}, "checkpoints": checkpoints, "inputs": {}, "pack": "substrate"}
    link(layout, bundle)
    assert (tmp_path / "root/notebook/kept.txt").exists() is (checkpoints is not None)
