"""Which run a notebook has, whoever asks, when, how often, and whatever the flag says."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import lyftlearn
from lyftlearn.backend import NotebookAddress
from lyftlearn.errors import BackendUnavailable
from tests.doubles.old_and_new import Make

OPEN = {"kinds": ["notebook"], "status": "running"}
CHILD = """
import json, sys, lyftlearn
client = lyftlearn.Client(config=json.loads(sys.argv[1]))
print(client.notebook("explore", env={"BY": "child"}).id)
"""


def runs(home: Path) -> list[str]:
    return sorted(path.name for side in ("old", "new") for path in (home / side).glob("explore-*"))


def record(home: Path) -> Path:
    (path,) = (home / "storage" / "notebooks").glob("*.json")
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat at once what got no answer."""
    monkeypatch.setattr("lyftlearn._submission.submitter._PAUSES", (0.0, 0.0))


@pytest.fixture
def opened(make: Make) -> lyftlearn.Client:
    """A client whose notebooks run until they are stopped."""
    return make("off", old=OPEN, new=OPEN)


def test_it_is_found_and_not_made_again(opened: lyftlearn.Client, make: Make, plugins: Path) -> None:
    """A cell that opens a notebook is run again, in this process and in others."""
    first = opened.notebook("explore")
    assert opened.notebook("explore") == first
    assert make("off", old=OPEN, new=OPEN).notebook("explore") == first
    assert runs(plugins) == [first.id]


def test_a_new_run_follows_one_that_ended(opened: lyftlearn.Client, plugins: Path) -> None:
    """A state is final for its run: what was stopped stays stopped, and the notebook goes on under another id."""
    first = opened.notebook("explore")
    old_id = first.id
    first.stop()
    second = opened.notebook("explore")
    assert second.id != old_id
    assert opened.job(old_id).status == "stopped"
    assert second.status == "running"
    assert opened.notebook("explore") == second
    assert len(runs(plugins)) == 2


def test_start_turns_the_handle_to_the_new_run(opened: lyftlearn.Client, plugins: Path) -> None:
    """Whoever holds the handle sees the run that is open, with the arguments that the notebook had."""
    notebook = opened.notebook("explore", env={"A": "1"}, secrets=["db"], idle_timeout="2h", labels={"team": "x"})
    kept, before = {notebook}, notebook.id
    notebook.stop()
    notebook.start()
    assert notebook.id != before
    assert notebook.state.status == "running"
    assert dict(notebook.labels) == {"team": "x"}
    assert notebook in kept
    notebook.start()
    assert len(runs(plugins)) == 2, "a run that is open is not opened again"
    digests = {json.loads((plugins / "old" / run).read_text())["digest"] for run in runs(plugins)}
    assert len(digests) == 1


def test_start_from_any_handle(opened: lyftlearn.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle that was found by an old run's id, or travelled as a pickle, starts the same notebook."""
    notebook = opened.notebook("explore")
    notebook.stop()
    by_id = opened.job(notebook.id)
    assert isinstance(by_id, lyftlearn.Notebook)
    by_id.start()
    monkeypatch.setattr("lyftlearn._client.default_client._made", opened._session)
    travelled = pickle.loads(pickle.dumps(notebook))
    travelled.start()
    assert travelled == by_id


def test_each_owner_and_project_has_its_own(plugins: Path) -> None:
    """A colleague's notebook of the same name is another notebook, with other files."""
    base: dict[str, Any] = {"home": str(plugins), "backend": "old", "old": OPEN}
    configurations = [base, {**base, "owner": "ada"}, {**base, "owner": "ada/1"}, {**base, "project": "x"}]
    clients = [lyftlearn.Client(config=config) for config in configurations]
    notebooks = [client.notebook("explore") for client in clients]
    assert len(set(runs(plugins))) == len(clients)
    assert len(list((plugins / "storage" / "notebooks").glob("*.json"))) == len(clients)
    notebooks[1].stop()
    with pytest.raises(lyftlearn.JobNotFound, match="as its owner"):
        clients[0].job(notebooks[1].id).start()  # type: ignore[attr-defined]


def test_other_arguments_change_the_next_run(
    opened: lyftlearn.Client, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What runs is found as it is, and the caller is told; a larger machine is had by stopping and calling again."""
    first = opened.notebook("explore", env={"SIZE": "s"})
    capsys.readouterr()
    assert opened.notebook("explore", env={"SIZE": "secret-l"}) == first
    told = capsys.readouterr().err
    assert "other arguments (env)" in told
    assert "secret-l" not in told
    first.stop()
    opened.notebook("explore", env={"SIZE": "l"})
    assert json.loads(record(plugins).read_text())["arguments"]["env"] == {"SIZE": "l"}


def test_a_flag_that_moves_leaves_it_where_its_files_are(
    opened: lyftlearn.Client, make: Make, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between a stop and a start the flag may flip; the files do not, so the notebook stays and says so."""
    notebook = opened.notebook("explore")
    notebook.stop()
    flipped = make("complete", old=OPEN, new=OPEN)
    again = flipped.job(notebook.id)
    capsys.readouterr()
    again.start()  # type: ignore[attr-defined]
    assert len(list((plugins / "old").glob("explore-*"))) == 2
    assert "stays on old, where its files are; it would go to new now" in capsys.readouterr().err
    assert list((plugins / "new").glob("explore-*")) == []
    assert flipped.notebook("explore") == again


def test_many_at_once_open_one(make: Make, plugins: Path) -> None:
    """Tabs and scripts call at once: two runs would write the same files."""
    found: list[str] = []
    clients = [make(stage, old=OPEN, new=OPEN) for stage in ("off", "complete") * 4]
    threads = [threading.Thread(target=lambda c=one: found.append(c.notebook("explore").id)) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs(plugins) == [found[0]]
    assert set(found) == {found[0]}


@pytest.mark.parametrize("fault", ["die_before", "die_after", "silence_before", "silence_after"])
def test_what_a_caller_left_is_found_and_completed(make: Make, plugins: Path, fault: str) -> None:
    """The process dies at any line, or its answer never comes; whoever opens next has the one run it meant to make."""
    config = {"home": str(plugins), "project": "tests", "backend": "old", "old": {**OPEN, "faults": {fault: 1}}}
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(config)], capture_output=True, text=True, check=False
    )
    assert child.returncode != 0
    notebook = lyftlearn.Client(config={**config, "old": OPEN}).notebook("explore")
    assert runs(plugins) == [notebook.id]
    assert json.loads(record(plugins).read_text())["arguments"]["env"] == {"BY": "child"}


def test_a_refusal_leaves_nothing_behind(make: Make, plugins: Path) -> None:
    """What was refused for its arguments is called again with others, and what was refused here goes elsewhere."""
    refusing = make("off", old={**OPEN, "faults": {"refuse": 1}}, new=OPEN)
    with pytest.raises(lyftlearn.QuotaExceeded):
        refusing.notebook("explore", resources=lyftlearn.Resources(cpu=64))
    assert runs(plugins) == []
    smaller = make("off", old=OPEN, new=OPEN).notebook("explore", resources=lyftlearn.Resources(cpu=1))
    assert smaller.status == "running"
    assert json.loads(record(plugins).read_text())["arguments"]["resources"]["cpu"] == 1


def test_a_first_run_falls_back_and_the_next_stay_there(make: Make, plugins: Path) -> None:
    """A live notebook that the new side refuses is made on the old one, where its files are from then on."""
    notebook = make("live", old=OPEN, new={**OPEN, "faults": {"refuse": 1}}).notebook("explore")
    notebook.stop()
    again = make("live", old=OPEN, new=OPEN).notebook("explore")
    assert {again.id, notebook.id} == {path.name for path in (plugins / "old").glob("explore-*")}


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1, "run": 0, "backend": null, "arguments": {}}']
)
def test_a_damaged_record_is_named(opened: lyftlearn.Client, plugins: Path, damage: bytes) -> None:
    """Others can write to the storage: what they left there makes no notebook, and no traceback either."""
    opened.notebook("explore")
    record(plugins).write_bytes(damage)
    with pytest.raises(lyftlearn.LyftLearnError, match=r"the record of notebook explore at .* is damaged"):
        opened.notebook("explore")


def test_a_notebook_has_no_shadow(make: Make, plugins: Path) -> None:
    """A person works in one place: a second notebook that nobody opens would only cost."""
    client = make("shadow", old=OPEN, new=OPEN, shadow={"models": ["explore"]})
    client.notebook("explore")
    assert client._session.recorder.drain(120)
    assert list((plugins / "new").glob("explore-*")) == []


def test_a_refusal_that_came_too_late_loses_no_run(make: Make, plugins: Path) -> None:
    """Of two callers one was accepted, and the other refused a moment later: who comes next finds the first's run."""
    client = make("off", old=OPEN, new=OPEN)
    first = client.notebook("explore", env={"A": "1"})
    document = json.loads(record(plugins).read_text())
    record(plugins).write_text(json.dumps(document | {"refused": True}))
    assert client.notebook("explore", env={"A": "2"}) == first
    first.stop()
    assert client.notebook("explore", env={"A": "2"}) != first


def test_its_address_is_asked_for_through_an_outage(opened: lyftlearn.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a notebook to be ready bears what whoever waits for a job bears."""
    notebook = opened.notebook("explore")
    silences = iter([True, True, False])

    def answer_late(_: str) -> NotebookAddress:
        if next(silences):
            raise BackendUnavailable("no answer")
        return NotebookAddress("http://127.0.0.1:8888/lab")

    monkeypatch.setattr(notebook._shared_watch().backend, "notebook_address", answer_late)
    assert notebook.url() == "http://127.0.0.1:8888/lab"
