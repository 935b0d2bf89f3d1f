"""Values that a released version stored: pickles, digests, ids, decisions, configurations, bundles and journals."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn import Client, backend, events, ops
from lyftlearn._call import arguments, checks
from lyftlearn.config import load
from lyftlearn.runtime import bundle
from tests.golden.calls import KEYED
from tests.golden.corpus import Corpus
from tests.golden.formats import LOCAL, plain, properties, rows

KINDS = {"l": "local", "c": "local-kubernetes", "g": "local-sagemaker", "k": "kubernetes", "s": "sagemaker"}


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No other configuration than the test's."""
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", os.devnull)
    monkeypatch.delenv("LYFTLEARN_BACKEND", raising=False)


def pickled(corpus: Corpus, name: str) -> Any:
    """Return what a pickle of the corpus holds."""
    return pickle.loads((corpus.directory / "pickles" / f"{name}.pickle").read_bytes())


@pytest.mark.parametrize("name", KINDS.values())
def test_handles_are_unpickled(corpus: Corpus, name: str) -> None:
    """A notebook that kept its job in a pickle goes on after an upgrade."""
    job = pickled(corpus, f"handle-{name}")
    assert type(job) is lyftlearn.Job
    assert KINDS[job.id.rpartition("-")[2][1]] == name
    assert (job.kind, job.name, job.state.status, job.state.exit_code) == ("train", "eta", "succeeded", 0)
    assert job.state == pickled(corpus, f"state-{name}")
    assert pickle.loads(pickle.dumps(job)).state == job.state


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("InvalidJob", "2 faults, nothing was sent\n  command: is empty: write what to run\n  nodes: is 0"),
        ("JobNotFound", "local has no job eta-tlaaaaaaaaaaa"),
        ("Conflict", "the key is held"),
        ("AccessDenied", "may not"),
        ("QuotaExceeded", "no room"),
        ("BackendUnavailable", "no answer"),
        ("LyftLearnError", "something"),
    ],
)
def test_errors_are_unpickled(corpus: Corpus, name: str, text: str) -> None:
    """A worker of the old version reports to a parent of the new one."""
    error = pickled(corpus, f"error-{name}")
    assert type(error) is getattr(lyftlearn, name)
    assert str(error) == text
    assert getattr(error, "job_id", "eta-tlaaaaaaaaaaa") == "eta-tlaaaaaaaaaaa"


def test_errors_about_jobs_are_unpickled(corpus: Corpus) -> None:
    """Errors that carry handles bring them along."""
    failed, stopped, late = (pickled(corpus, f"error-{name}") for name in ("JobFailed", "JobStopped", "WaitTimeout"))
    assert (type(failed), failed.state.exit_code, failed.state.reason) == (lyftlearn.JobFailed, 3, "user-error")
    assert (type(stopped), stopped.job.state.status) == (lyftlearn.JobStopped, "stopped")
    assert (type(late), late.jobs) == (lyftlearn.WaitTimeout, [pickled(corpus, "handle-local")])


def test_plugins_values_are_unpickled(corpus: Corpus) -> None:
    """What a backend of somebody else keeps in a cache is read under the same names."""
    record, event, observed = (pickled(corpus, name) for name in ("record", "event", "progress"))
    assert type(record) is backend.JobRecord
    assert type(event) is events.JobEvent
    assert events.advance(observed, event).state.status == "succeeded"
    assert record.event == event
    assert pickled(corpus, "resources") == lyftlearn.Resources(cpu=2, gpu=1, gpu_type="A10G")


@pytest.mark.parametrize("call", KEYED)
def test_the_same_call_has_the_same_digest_and_id(corpus: Corpus, call: str, tmp_path: Path) -> None:
    """A keyed call that an upgrade changes would be a Conflict, or a second job."""
    function, given = KEYED[call]
    client = Client(config={"project": "golden", "home": str(tmp_path)})
    planned = {name: ops.plan(function, client=client, backend=name, key="nightly", **given).spec for name in LOCAL}
    kept = corpus.document("digests.json")[call]
    assert {name: spec.id for name, spec in planned.items()} == kept["ids"]
    assert {spec.digest for spec in planned.values()} == {kept["digest"]}


def test_other_calls_have_other_digests(corpus: Corpus) -> None:
    """A digest that told nothing apart would let any call have any job."""
    kept = corpus.document("digests.json")
    same = {kept[call]["digest"] for call in ("least", "default-resources")}
    assert len(same) == 1
    assert len({document["digest"] for document in kept.values()}) == len(kept) - 1


def bundles(corpus: Corpus) -> Iterator[tuple[str, str]]:
    """Yield every bundle, as text."""
    for path in sorted(corpus.directory.rglob("bundle.json")):
        yield str(path), path.read_text()
    for path in sorted((corpus.directory / "kubernetes").glob("*.json")):
        annotations = json.loads(path.read_text())["job"]["spec"]["template"]["metadata"]["annotations"]
        yield str(path), annotations["lyftlearn/bundle"]


def test_bundles_are_read(corpus: Corpus, tmp_path: Path) -> None:
    """A job that waits in a cluster's queue over an upgrade may meet the new runtime."""
    seen = set()
    for name, text in bundles(corpus):
        path = tmp_path / "bundle.json"
        path.write_text(text)
        read = bundle.load(str(path))
        seen.add((read.document["job"]["kind"], Path(name).relative_to(corpus.directory).parts[0]))
    assert len(seen) == 9


@pytest.mark.containers
def test_the_journal_is_carried_over(corpus: Corpus, tmp_path: Path) -> None:
    """A migration lasts months, and the journal is its evidence: a part of the history now, and left as it was."""
    journal = tmp_path / "journal.sqlite"
    shutil.copyfile(corpus.directory / "journal.sqlite", journal)
    kept = corpus.document("journal.json")
    client = Client(config=_migration(tmp_path))
    assert sum(one.rehearsed for one in ops.migration_report(None, client=client).models) == len(kept["rehearsals"])
    assert ops.migration_guard(None, client=client).worse is False
    job = client.train("eta", command="true")
    job.wait("120s", progress=False)
    status = ops.migration_status(None, client=client)
    assert status.unsettled == 0
    assert len(status.total.comparisons) == len(kept["comparisons"])
    assert rows(journal) == kept
    now = {row["job_id"]: row for row in rows(tmp_path / "history.sqlite")["jobs"]}
    assert now[job.id]["status"] == "succeeded"
    told = {row["job_id"]: row["status"] for row in kept["outcomes"]}
    assert {job_id: now[job_id]["status"] for job_id in told} == told
    for row in kept["submissions"]:
        assert {name: now[row["job_id"]][name] for name in row} == row


def _migration(home: Path) -> dict[str, Any]:
    migration = {"from": "local-kubernetes", "to": "local-sagemaker", "stage": "rehearse"}
    return {"project": "golden", "home": str(home), "backend": "local-kubernetes", "migration": migration}


@pytest.mark.containers
@pytest.mark.parametrize("stage", ["off", "rehearse", "shadow", "live", "complete", "override"])
def test_decisions_are_made_as_before(corpus: Corpus, stage: str, tmp_path: Path) -> None:
    """Every job carries its Decision; whoever reads the old ones and the new ones must find the same keys."""
    kept = corpus.document("decisions", f"{stage}.json")
    config = _migration(tmp_path)
    config["migration"]["stage"] = stage
    if stage == "override":
        os.environ["LYFTLEARN_BACKEND"] = "local"
        config = {}
    try:
        made = ops.explain("train", "eta", labels={"team": "maps"}, client=Client(config=config))
    finally:
        os.environ.pop("LYFTLEARN_BACKEND", None)
    assert json.loads(made.as_json()) == kept


@pytest.mark.parametrize("name", ["least", "platform", "migration"])
def test_configurations_mean_the_same(corpus: Corpus, name: str) -> None:
    """Nobody edits a `lyftlearn.toml` for an upgrade."""
    config = load(corpus.directory / "configurations" / f"{name}.toml")
    read = properties(config)
    text = json.dumps(read, default=plain).replace(str(config.home), "{{home}}")
    text = text.replace(f"{corpus.directory}/configurations/", "")  # paths start at their file since version 1.1.0
    assert json.loads(text) == corpus.document("configurations", f"{name}.json")


@dataclass(frozen=True, kw_only=True)
class NextResources(lyftlearn.Resources):
    """As a later version might have them: with another default, and with a field more."""

    memory: str = "8Gi"
    spot: bool | None = None


@dataclass(frozen=True, kw_only=True)
class NextResourceRequest(backend.ResourceRequest):
    """The same, in numbers."""

    spot: bool | None = None


@pytest.fixture
def digest_of_next_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Return how a later version would digest a call with these resources."""
    resources = checks.resources
    monkeypatch.setattr(arguments, "_default_resources", cache(arguments._default_resources.__wrapped__))

    def checked(path: str, value: Any, faults: Any) -> NextResourceRequest:
        return NextResourceRequest(**vars(resources(path, value, faults)), spot=getattr(value, "spot", None))

    monkeypatch.setattr(arguments, "Resources", NextResources)
    monkeypatch.setattr(arguments, "ResourceRequest", NextResourceRequest)
    monkeypatch.setattr(checks, "resources", checked)
    client = Client(config={"project": "golden", "home": str(tmp_path)})

    def digest(given: NextResources | None) -> str:
        call = {"model": "eta", "command": "true", "key": "nightly"}
        found: str = ops.plan("train", client=client, backend="local", resources=given, **call).spec.digest
        return found

    return digest


def test_a_later_versions_fields_and_defaults_change_no_digest(
    corpus: Corpus, digest_of_next_version: Callable[..., str]
) -> None:
    """A field that is added to `Resources` must not make every repeated keyed call a Conflict, nor a new default."""
    kept = corpus.document("digests.json")
    assert digest_of_next_version(None) == digest_of_next_version(NextResources()) == kept["least"]["digest"]
    others = [NextResources(memory="2Gi"), NextResources(spot=True), NextResources(spot=False)]
    assert len({kept["least"]["digest"], *map(digest_of_next_version, others)}) == 4
    written = NextResources(cpu=0.5, memory="3Gi", gpu=1, gpu_type="A10G", disk="40Gi", shared_memory="64Mi")
    assert digest_of_next_version(written) == kept["resources"]["digest"]
