"""The autopilot over a real history and a real flag file: it goes on wherever it died, and one is at work at a time."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchmarks.migration.autopilot import Simulation, Size
from lyftlearn import Client, ops
from lyftlearn._migration import audit, autopilot_state, guard, hooks
from lyftlearn._migration.audit import ChangeState
from lyftlearn._migration.autopilot import LEASE, Autopilot
from lyftlearn._migration.rung_store import ONE_FLAG, FileStore, PluginStore, open_store
from lyftlearn._migration.rungs import Rung, with_rungs
from lyftlearn.config import load
from lyftlearn.errors import BackendUnavailable, InvalidJob, LyftLearnError
from lyftlearn.history.rows import RehearsalRow, SubmissionRow
from lyftlearn.history.store import History
from lyftlearn.rollout import KILL_SWITCH
from tests.migration.records import NEW, NOW, OLD, filled, ran

FLAG = "lyftlearn-migration"
ETA = ("rides/eta", "eta")


class Cron:
    """Runs an autopilot at times of its own. settings: of `[autopilot]`."""

    def __init__(self, home: Path, shadow: Any = None, **settings: Any) -> None:
        self.home, self.at = home, datetime.now(UTC) + timedelta(minutes=1)
        self.path = home / "flags.json"
        migration = {"from": OLD, "to": NEW, "flags": str(self.path), "shadow": shadow or {}}
        self.config = load({"home": str(home), "migration": migration, "autopilot": settings})
        self.history = History(self.config.history_url)
        self.is_stopped = False

    def autopilot(self) -> Autopilot:
        store = FileStore(self.path, FLAG)
        return Autopilot(self.history, self.config, store, lambda: self.is_stopped, lambda: self.at)

    def run(self, *, days: float = 1.1, dry_run: bool = False) -> dict[str, tuple[str, str, str]]:
        found = self.autopilot().run(dry_run=dry_run)
        self.at += timedelta(days=days)
        return {step.model: (step.action, step.rung, step.reason) for step in found.steps}

    def rung(self, model: str = "eta") -> Rung | None:
        return FileStore(self.path, FLAG).read().get(("rides/eta", model))

    def states(self) -> list[ChangeState]:
        return [change.state for change in audit.changes(self.history)]


@pytest.fixture
def cron(tmp_path: Path) -> Cron:
    made = Cron(tmp_path)
    rehearse(made, "eta")
    return made


def rehearse(cron: Cron, model: str, *faults: tuple[str, str]) -> None:
    filled(cron.history, (ran(number, OLD, model=model, stage="off") for number in range(4)))
    for number in range(4):
        cron.history.record(RehearsalRow(job_id=f"{model}-{OLD}-{number}", backend=NEW, faults=faults))


def test_it_climbs_and_says_why(cron: Cron) -> None:
    """Each step is in the flag file, in the state and in the audit log, with who and why and by which evidence."""
    assert cron.run(dry_run=True)["eta"][:2] == ("raise", "rehearse")
    assert (cron.rung(), cron.states()) == (None, [])
    assert cron.run()["eta"][:2] == ("raise", "rehearse")
    assert cron.run()["eta"][:2] == ("raise", "shadow")
    assert cron.run()["eta"][:2] == ("raise", "live-10")
    assert cron.rung() is Rung.LIVE_10
    step = audit.changes(cron.history)[0]
    assert (step.rung_before, step.rung_after, step.state) == ("shadow", "live-10", ChangeState.DONE)
    assert step.who.startswith("autopilot as ")
    assert dict(step.evidence or {})["rehearsals"] == 4
    assert cron.run()["eta"][0] == "hold"
    assert autopilot_state.recall(cron.history, str(cron.path))[ETA].decision == "hold"


def test_what_stands_against_a_model_holds_it(cron: Cron) -> None:
    """Until a rehearsal finds nothing any more."""
    rehearse(cron, "fare", ("image", "has no name there: write it into [images]"))
    cron.run()
    action, rung, reason = cron.run()["fare"]
    assert (action, rung) == ("hold", "rehearse")
    assert "image: has no name there" in reason


def test_worse_goes_down_and_stays_there(cron: Cron) -> None:
    """The next look does not raise it again: nothing has changed."""
    flags = with_rungs({"flags": {}}, FLAG, {ETA: Rung.LIVE_50})
    cron.path.write_text(json.dumps(flags))
    filled(cron.history, (ran(n, OLD) for n in range(10, 60)))
    filled(cron.history, (ran(n, NEW, status="failed" if n % 2 else "succeeded") for n in range(50)))
    action, rung, reason = cron.run()["eta"]
    assert (action, rung, "failures" in reason) == ("lower", "rehearse", True)
    assert cron.rung() is Rung.REHEARSE
    for _ in range(3):
        action, rung, reason = cron.run()["eta"]
        assert (action, rung) == ("hold", "rehearse")
    assert "was worse with this image" in reason


def test_the_kill_switch_and_limits_hold(tmp_path: Path) -> None:
    """Of five models, two a day are raised."""
    cron = Cron(tmp_path, raises_a_day=2)
    for number in range(5):
        rehearse(cron, f"m{number}")
    cron.is_stopped = True
    assert {found[0] for found in cron.run().values()} == {"hold"}
    cron.is_stopped = False
    assert sum(found[0] == "raise" for found in cron.run(days=0.1).values()) == 2
    assert sum(found[0] == "raise" for found in cron.run(days=1).values()) == 0
    assert sum(found[0] == "raise" for found in cron.run().values()) == 2


def test_what_a_person_writes_is_right(cron: Cron) -> None:
    """Another rung counts from now on; a model that was taken out is left alone; one that never shall is."""
    cron.run()
    cron.path.write_text(json.dumps(with_rungs({"flags": {}}, FLAG, {ETA: Rung.OFF})))
    assert cron.run(days=0.1)["eta"][:2] == ("hold", "off")
    assert cron.run()["eta"][:2] == ("hold", "off")
    cron.path.write_text('{"flags": {}}')
    action, _, reason = cron.run()["eta"]
    assert (action, "took it out" in reason) == ("hold", True)
    assert cron.path.read_text() == '{"flags": {}}'
    cron.path.write_text("{")
    with pytest.raises(InvalidJob, match="no JSON"):
        cron.run()


@pytest.mark.parametrize("label", ["yes", "no"])
def test_a_label_declares_jobs_safe_to_run_twice(tmp_path: Path, label: str) -> None:
    """A model that runs once a week has no shadow yet when its pause is over: it waits for three."""
    cron = Cron(tmp_path, shadow={"labels": {"twice": "yes"}})
    rehearse(cron, "eta")
    job = SubmissionRow(job_id=f"eta-{OLD}-1", at=NOW, model="eta", kind="train", backend=OLD, labels={"twice": label})
    cron.history.record(job)
    put(cron, eta=Rung.SHADOW)
    cron.run()
    assert cron.run()["eta"][:2] == (("hold", "shadow") if label == "yes" else ("raise", "live-10"))


def put(cron: Cron, **rungs: Rung) -> None:
    """Let the flag file have these models, or all of them, on rungs."""
    found = {("rides/eta", "*" if name == "all" else name): rung for name, rung in rungs.items()}
    cron.path.write_text(json.dumps(with_rungs({"flags": {}}, FLAG, found)))


def live(cron: Cron, model: str, *, status: str = "succeeded") -> None:
    """Let a model have enough jobs on both sides, the newest on the new one."""
    later = NOW + timedelta(seconds=5)
    filled(cron.history, (ran(n, OLD, model=model, at=later) for n in range(100, 200)))
    filled(cron.history, (ran(n, NEW, model=model, status=status, at=later + timedelta(seconds=1)) for n in range(200)))


def test_a_repository_stands_where_its_lowest_model_does(tmp_path: Path) -> None:
    """One that is live already shows nothing of the others, and they are on every rung before they are complete."""
    cron = Cron(tmp_path, by="repository", pause="1h")
    for model in ("eta", "fare"):
        rehearse(cron, model)
    put(cron, eta=Rung.LIVE_50)
    live(cron, "eta")
    climbed = []
    for _ in range(3):
        climbed.append(cron.run()["*"][1])
        assert cron.rung("eta") is Rung.LIVE_50
    assert climbed == ["rehearse", "shadow", "live-10"]


def test_a_repository_takes_along_what_is_listed_by_itself(tmp_path: Path) -> None:
    """A model that was moved alone before goes first in the file: it would stay live if its repository is lowered."""
    cron = Cron(tmp_path, by="repository", pause="1h")
    for model in ("eta", "fare"):
        rehearse(cron, model)
    put(cron, all=Rung.SHADOW, eta=Rung.SHADOW, fare=Rung.REHEARSE)
    cron.run()
    assert cron.run()["*"][:2] == ("raise", "live-10")
    assert (cron.rung("eta"), cron.rung("fare")) == (Rung.LIVE_10, Rung.REHEARSE)
    live(cron, "eta", status="failed")
    assert cron.run()["*"][:2] == ("lower", "rehearse")
    assert {cron.rung(of) for of in ("*", "eta", "fare")} == {Rung.REHEARSE}


def test_models_that_never_move_stay_where_they_are(tmp_path: Path) -> None:
    """Also when their repository moves. So do those that somebody put off, and they hold up nobody."""
    cron = Cron(tmp_path, by="repository", pause="1h", never=["rides/eta#fare"])
    for model in ("eta", "fare"):
        rehearse(cron, model)
    filled(cron.history, (ran(number, OLD, model="trees", stage="off") for number in range(4)))
    put(cron, trees=Rung.OFF)
    assert [cron.run()["*"][1] for _ in range(3)] == ["rehearse", "shadow", "live-10"]
    assert {model: cron.rung(model) for model in ("*", "fare", "trees")} == {
        "*": Rung.LIVE_10,
        "fare": Rung.OFF,
        "trees": Rung.OFF,
    }


def test_a_model_goes_on_from_the_rung_of_its_repository(cron: Cron) -> None:
    """Its newest job alone does not tell half of the jobs from all of them."""
    rehearse(cron, "fare")
    live(cron, "eta")
    put(cron, all=Rung.LIVE_50)
    cron.run()
    assert cron.run()["eta"][:2] == ("raise", "live-100")
    assert cron.run(dry_run=True)["fare"][:2] == ("hold", "live-50")
    put(cron, all=Rung.OFF)
    assert {found[:2] for found in cron.run().values()} == {("hold", "off")}


@pytest.mark.parametrize(("source", "stage"), [("LYFTLEARN_BACKEND", None), (KILL_SWITCH, "off")])
def test_a_job_that_no_flag_decided_about_moves_nobody(cron: Cron, source: str, stage: str | None) -> None:
    """Somebody's own branch says live: a rung of `rehearse` before it would move all of the model's jobs back."""
    later = NOW + timedelta(minutes=1)
    filled(cron.history, (ran(n, NEW, at=later) for n in range(10)))
    filled(cron.history, [ran(99, OLD, source=source, stage=stage, at=later + timedelta(seconds=1))])
    assert cron.run()["eta"][:2] == ("hold", "live-100")
    assert not cron.path.exists()


def test_migrations_that_share_a_file_know_nothing_of_each_other(cron: Cron) -> None:
    """Each has its flag there. What one has moved was taken out of the file by nobody, as the other sees it."""
    assert cron.run()["eta"][:2] == ("raise", "rehearse")
    other = FileStore(cron.path, f"{FLAG}-clusters")
    (step,) = Autopilot(cron.history, cron.config, other, lambda: False, lambda: cron.at).run().steps
    assert (step.action, step.rung) == ("raise", "rehearse")
    assert cron.run()["eta"][:2] == ("raise", "shadow")
    assert (cron.rung(), other.read()[ETA]) == (Rung.SHADOW, Rung.REHEARSE)
    assert load({}).migration_flag == FLAG == ONE_FLAG


def test_one_is_at_work_at_a_time(cron: Cron) -> None:
    """Another says so and changes nothing; after it ends, or its lease does, the next goes on."""
    assert cron.history.hold(LEASE, "somebody", 60)
    with pytest.raises(BackendUnavailable, match="another autopilot"):
        cron.run()
    assert not cron.path.exists()
    cron.history.hold(LEASE, "somebody", 0)
    assert cron.run()["eta"][0] == "raise"
    assert cron.run()["eta"][0] == "raise"


_WRITES: list[tuple[Any, str]] = [
    (audit, "note"),
    (audit, "settle"),
    (autopilot_state, "remember"),
    (FileStore, "change"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("owner", "name"), _WRITES)
def test_it_goes_on_wherever_it_was_killed(
    cron: Cron, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool
) -> None:
    """SIGKILL before or after each write: the next looks climb as if nothing had been, and no rung is left out."""
    cron.run()
    child = os.fork()
    if child == 0:
        kill_at(monkeypatch, owner, name, after=after)
        cron.run()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    with cron.history.connection() as connection:
        connection.exec_driver_sql("DELETE FROM leases")  # its time is over
    cron.at += timedelta(days=1.1)
    climbed = [cron.rung()]
    while cron.rung() is not Rung.LIVE_10 and len(climbed) < 5:
        cron.run()
        climbed.append(cron.rung())
    assert [rung for rung in dict.fromkeys(climbed) if rung] in (
        [Rung.REHEARSE, Rung.SHADOW, Rung.LIVE_10],
        [Rung.SHADOW, Rung.LIVE_10],
    )
    assert set(cron.states()) <= {ChangeState.DONE, ChangeState.DROPPED}
    done = [change.rung_after for change in audit.changes(cron.history, states=[ChangeState.DONE])]
    assert done == ["live-10", "shadow", "rehearse"]


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool) -> None:
    written: Callable[..., Any] = getattr(owner, name)

    def write(*arguments: Any) -> None:
        if after:
            written(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(owner, name, write)


def command(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_a_hook_may_refuse(tmp_path: Path) -> None:
    """What it says is the reason, and it is asked again at the next look. The other hook hears what was done."""
    heard = tmp_path / "heard"
    told = command(f"import sys; open({str(heard)!r}, 'a').write(sys.stdin.read() + chr(10))")
    refusing = Cron(tmp_path, before=command("print('no change on fridays'); raise SystemExit(1)"), after=told)
    rehearse(refusing, "eta")
    action, _, reason = refusing.run()["eta"]
    assert (action, "no change on fridays" in reason) == ("hold", True)
    assert (refusing.rung(), refusing.states()) == (None, [ChangeState.REFUSED])
    assert refusing.run()["eta"][0] == "hold"
    assert refusing.states() == [ChangeState.REFUSED]  # it is told once
    willing = Cron(tmp_path, before=command("import json, sys; json.load(sys.stdin)"), after=told)
    assert willing.run()["eta"][0] == "raise"
    (event,) = map(json.loads, heard.read_text().splitlines())
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", hooks.DONE, "rides/eta#eta")
    assert event["data"]["rung_after"] == "rehearse"


def test_a_switch_by_somebody_of_that_name_is_no_step(cron: Cron) -> None:
    """A service may run as the user `autopilot`, and be about to write: its note is not the autopilot's to settle."""
    at = datetime.now(UTC)
    audit.note(cron.history, [audit.FlagChange(at=at, who="autopilot@host", why="x", flags=str(cron.path))])
    cron.run()
    assert ChangeState.PLANNED in cron.states()


def test_the_kill_switch_counts_while_hooks_are_asked(tmp_path: Path) -> None:
    """Each may take ten seconds, for a hundred models: whoever pulls it meanwhile stops what was allowed before."""
    cron = Cron(tmp_path, before=command("pass"))
    rehearse(cron, "eta")
    looks = iter([False])
    pilot = Autopilot(cron.history, cron.config, FileStore(cron.path, FLAG), lambda: next(looks, True), lambda: cron.at)
    (step,) = pilot.run().steps
    assert (step.action, "kill switch" in step.reason) == ("hold", True)
    assert not cron.path.exists()


def test_a_kill_switch_that_nobody_can_look_at_raises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline begins each time without a memory of it, and one that may not read the bucket would never heed it."""
    monkeypatch.delenv("LYFTLEARN_HOME", raising=False)
    cron = Cron(tmp_path)
    rehearse(cron, "eta")
    (tmp_path / "no-directory").symlink_to("no-directory")
    migration = {"from": OLD, "to": NEW, "flags": str(cron.path), "kill_switch": str(tmp_path / "no-directory" / "off")}
    client = Client(config={"home": str(tmp_path), "migration": migration})
    (step,) = ops.migration_autopilot(client=client).steps
    assert (step.action, "cannot be looked at" in step.reason) == ("hold", True)
    (tmp_path / "no-directory").unlink()
    (step,) = ops.migration_autopilot(client=client).steps
    assert step.action == "raise"


@pytest.mark.parametrize("odd", ["sat18:00-08:00", "sat-sun18:00-08:00", " 18:00-08:00", "sat ", "sat-", "24:00-08:00"])
def test_quiet_time_that_nobody_can_read(odd: str) -> None:
    """It is refused where it is written, and not at night by the first look."""
    with pytest.raises(InvalidJob, match="span of quiet time"):
        load({"autopilot": {"quiet": [odd]}})


@pytest.mark.parametrize(
    ("key", "odd"),
    [
        ("level", 0),
        ("level", 1),
        ("level", True),
        ("level", math.nan),
        ("level", 1e-320),
        ("ignore", ["shadow difference"]),
        ("max_age", "9999999d"),
        ("pause", "9999999d"),
        ("every", "9999999d"),
    ],
)
def test_what_no_look_could_use_is_refused_where_it_is_written(key: str, odd: Any) -> None:
    """Level 1 takes anything for shown, and 0 was a traceback. A measure that is misspelt was judged in silence."""
    with pytest.raises(InvalidJob, match=f"autopilot.{key}: is .*: write"):
        load({"autopilot": {key: odd}})


def test_every_measure_may_be_left_out() -> None:
    """The names in the configuration are those of the guard."""
    assert load({"autopilot": {"ignore": list(guard.SHARES)}}).autopilot["ignore"] == tuple(guard.SHARES)


def test_a_hook_that_gives_no_answer_allows_nothing(tmp_path: Path) -> None:
    """It is waited for once, and nothing of it is left."""
    told = hooks.event(hooks.PLANNED, "rides#eta", datetime.now(UTC), {})
    alive = tmp_path / "alive"
    slow = command(f"import subprocess as s; s.run(['sh', '-c', 'sleep 3; touch {alive}'])")
    answer = hooks.tell(slow, told, seconds=0.5)
    assert (answer.yes, answer.broken, "no answer within" in answer.said) == (False, True, True)
    assert hooks.tell("/no/such/hook", told).broken
    assert hooks.tell("'", told).broken


class _Hook(BaseHTTPRequestHandler):
    """A service that answers with the status that its path names; /slow never ends, and /drip takes two seconds."""

    heard: ClassVar[list[tuple[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append((self.headers["content-type"], json.loads(body)))
        if self.path.startswith("/slow"):
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b".")
                    time.sleep(0.05)
            return
        if self.path.startswith("/drip"):
            with suppress(OSError):
                for byte in b"HTTP/1.0 200 OK\r\nx: " + b"y" * 20 + b"\r\n\r\n":
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            return
        self.send_response(int(self.path[1:4]))
        if "-alone" not in self.path:
            self.send_header("location", "/200")
        self.end_headers()
        if self.path[1:4] not in ("204", "304"):
            self.wfile.write(b"not today")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Hook.heard.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "yes", "broken"),
    [
        ("200", True, False),
        ("204", True, False),
        ("307", False, True),
        ("302-alone", False, True),
        ("304-alone", False, True),
        ("403", False, False),
        ("503", False, True),
        ("slow", False, True),
        ("drip", False, True),
    ],
)
def test_a_url_gets_a_cloud_event(service: str, path: str, *, yes: bool, broken: bool) -> None:
    """A refusal is an answer; a redirect, a broken service and one that never ends are none."""
    told = hooks.event(hooks.PLANNED, "rides#eta", datetime.now(UTC), {"x": 1})
    answer = hooks.tell(f"{service}/{path}?token=canary", told, seconds=0.5 if path in ("slow", "drip") else 10)
    assert (answer.yes, answer.broken) == (yes, broken)
    assert "canary" not in answer.said
    ((kind, body),) = _Hook.heard
    assert kind.startswith("application/cloudevents+json")
    assert body == told


def test_a_url_in_capitals_is_no_command(service: str) -> None:
    """Its credentials would stand in the message that there is no such program."""
    told = hooks.event(hooks.PLANNED, "rides#eta", datetime.now(UTC), {})
    assert hooks.tell(f"{service}/200".replace("http", "HTTP"), told).yes
    assert "canary" not in hooks.tell("HTTP://x:canary@127.0.0.1:1/", told).said


@pytest.mark.parametrize("url", [f"http://{'a' * 300}/", "http://[::1", "http://127.0.0.1:x/"])
def test_an_address_that_is_none_is_no_answer(url: str) -> None:
    """Whatever a library raises of it: the autopilot goes on to lower what must be lowered."""
    assert hooks.tell(url, hooks.event(hooks.PLANNED, "rides#eta", datetime.now(UTC), {})).broken


@pytest.mark.parametrize("printed", ["password = hunter2-canary", "Authorization: Bearer canary-abcdefghijk"])
def test_what_a_command_prints_has_no_secrets(printed: str) -> None:
    """Its words become a reason, which is kept in the history and shown to everybody; so would its own arguments."""
    told = hooks.event(hooks.PLANNED, "rides#eta", datetime.now(UTC), {})
    for code in (f"print({printed!r}); raise SystemExit(1)", "import os; os.abort()"):
        answer = hooks.tell(f"{command(code)} --token canary", told)
        assert (answer.yes, "canary" in answer.said) == (False, False)
    assert "canary" not in hooks.tell("/no/such/hook --token canary", told).said


def test_what_is_not_configured_is_said(client: Client, tmp_path: Path) -> None:
    """Without a flag file, there is nothing to write to; a service cannot be written to; a plugin must be there."""
    with pytest.raises(InvalidJob, match=r"\[migration\] flags: is not set"):
        ops.migration_autopilot(client=client)
    migration = {"from": OLD, "to": NEW, "flags": "https://flags.example"}
    with pytest.raises(InvalidJob, match="cannot be written to"):
        open_store(load({"home": str(tmp_path), "migration": migration}))
    with pytest.raises(InvalidJob, match="no installed plugin registers 'acme'"):
        open_store(load({"home": str(tmp_path), "migration": migration, "autopilot": {"writer": "acme"}}))
    with pytest.raises(InvalidJob, match="nothing is migrated"):
        ops.migration_autopilot(client=Client(config={"home": str(tmp_path)}))
    with pytest.raises(InvalidJob, match="span of quiet time"):
        load({"autopilot": {"quiet": ["from nine to five"]}})


class Odd:
    """A plugin that gives what it was told to give, or raises it."""

    name = "acme-flags"

    def __init__(self, given: Any) -> None:
        self.given = given

    def read(self) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def change(self, steps: Any) -> Any:
        return self.read() if steps else None


@pytest.mark.parametrize(
    "given", [TimeoutError("timed out"), KeyError("x"), {ETA: "live-77"}, {"eta": "off"}, {ETA: None}, None, 7]
)
def test_a_plugin_that_fails_or_lies_is_named(given: Any) -> None:
    """Nobody sees a traceback for it, and the history is not blamed for what it stands in."""
    with pytest.raises(LyftLearnError, match="the plugin 'acme'"):
        PluginStore("acme", Odd(given)).read()


def test_a_plugin_may_give_names_of_rungs() -> None:
    """Those of a service are texts."""
    assert PluginStore("acme", Odd({ETA: "live-50"})).read() == {ETA: Rung.LIVE_50}
    with pytest.raises(BackendUnavailable, match="gets no answer: timed out"):
        PluginStore("acme", Odd(TimeoutError("timed out"))).change({ETA: (None, Rung.REHEARSE)})


@pytest.mark.slow
def test_a_migration_drives_itself(tmp_path: Path) -> None:
    """Every sound model completes, no bad one does, and no job is lost or doubled: the benchmark, in small."""
    size = Size(repositories=4, models=24, days=30, bad=0.15)
    found = Simulation(tmp_path, size, seed=2).run()
    assert found["sound"]["ended_on"] == {"complete": found["sound"]["models"]}
    assert all("complete" not in of["ended_on"] for of in found["bad"].values())
    assert sum(of["models"] for of in found["bad"].values()) == 4
    assert found["jobs_in_history"] == found["jobs_submitted"]
