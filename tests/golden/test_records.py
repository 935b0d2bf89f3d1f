"""Records in the storage that version 1.1 introduced, as it writes them: searches and notebooks.

They join the corpus of 1.1.0 when that is released. Until then this sample shows that nobody renames what is stored.
"""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

from lyftlearn._storage import open_storage
from lyftlearn._studies.ledger import StudyReader
from lyftlearn._studies.space import drawn_values
from lyftlearn._studies.trial_record import best_record
from lyftlearn._submission import notebooks
from lyftlearn._submission.preparation import notebook_files
from lyftlearn.config import load
from lyftlearn.types import JobStatus

RECORDS = Path(__file__).parent / "records-1.1"
SEARCH = "eta-hlq3estjwhae7"


def test_a_search_is_read(tmp_path: Path) -> None:
    """Whoever asks for the trials of an old search sees them, with their types, and the best."""
    shutil.copytree(RECORDS / "tuning", tmp_path / "tuning")
    reader = StudyReader(open_storage(tmp_path.as_uri()), SEARCH)
    study, records = reader.study(), reader.records()
    assert study is not None
    assert (study.id, study.backend, study.strategy, study.goal) == (SEARCH, "local", "grid", "minimize")
    assert (study.trials, study.parallel, study.timeout, study.pattern) == (6, 3, 604800.0, "loss=([0-9.]+)")
    assert study.seed == "6db1f5e7fa0c59ea1c332c8fb4335b6daf0b7580e4698ec0eb93c7694dab779e"
    assert dict(study.hyperparameters) == {"version": "1.10"}
    values = [drawn_values(study.space, record.draw) for record in records]
    assert values == [{"depth": depth, "kind": kind} for depth in (3, 4) for kind in (1, "1", None)]
    assert {(record.objective, record.latest.status) for record in records} == {(0.5, JobStatus.SUCCEEDED)}
    best = best_record(study, records)
    assert best is not None
    assert best.job_id == "eta-tlistjocu4jey"


def test_a_trial_is_written_as_before(tmp_path: Path) -> None:
    """A driver of the old version may go on with what one of the new version has written."""
    shutil.copytree(RECORDS / "tuning", tmp_path / "tuning")
    kept = json.loads((RECORDS / "tuning" / SEARCH / "00000.json").read_text())
    records = StudyReader(open_storage(tmp_path.as_uri()), SEARCH).records()
    assert [record.as_json() for record in records] == kept["trials"]


def test_a_notebook_is_found(tmp_path: Path) -> None:
    """Its record has the same name and the same keys, or its files would be lost to its owner."""
    config = load({"project": "golden", "owner": "golden", "home": str(tmp_path)})
    kept = (RECORDS / "notebooks" / f"{notebook_files(config, 'explore')}.json").read_bytes()
    notebook = notebooks._decode(kept, "explore")
    assert (notebook.run, notebook.backend, notebook.refused) == (1, "local", False)
    arguments = notebook.arguments
    assert dict(arguments.env) == {"CITY": "sfo"}
    assert dict(arguments.labels) == {"team": "eta"}
    assert arguments.idle_timeout == timedelta(hours=2)
    assert (arguments.resources.cpu, arguments.resources.memory) == (2, 4 << 30)
    assert notebooks._encode(notebook) == kept
