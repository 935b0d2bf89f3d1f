"""Decisions: every stage, every source, and every way in which a source can be absent, wrong, slow or failing."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import Metadata
from openfeature.provider.in_memory_provider import InMemoryProvider

from lyftlearn import Client, ops
from lyftlearn.config import load
from lyftlearn.errors import InvalidJob
from lyftlearn.rollout import Decision, Rollout
from lyftlearn.rollout.stage import Stage

DOCUMENTED = Path(__file__).parents[2] / "docs" / "how-to" / "migration" / "flags.json"
OLD, NEW = "local-kubernetes", "local-sagemaker"
MOVED = {Stage.LIVE, Stage.COMPLETE}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing configured by the environment; no provider set before or left behind."""
    for name in ("LYFTLEARN_BACKEND", "LYFTLEARN_FLAGS", "LYFTLEARN_HOME"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    api.clear_providers()


def attributes(model: str = "eta", **others: Any) -> dict[str, Any]:
    return {"model": model, "kind": "train", "repository": None, "team": None, "labels": {}, "nodes": 1, **others}


def rollout(home: Path, *, installed: tuple[str, ...] = (OLD, NEW), **migration: Any) -> Rollout:
    table = {"from": OLD, "to": NEW, "cache": "0s", **migration}
    return Rollout(load({"home": str(home), "migration": table}), lambda: installed)


def flag_file(path: Path, targeting: Any, default: str = "unset") -> Path:
    variants = {name: name for name in (*Stage, "unset", "nonsense")}
    flag = {"state": "ENABLED", "variants": variants, "defaultVariant": default, "targeting": targeting}
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"flags": {"lyftlearn-migration": flag}}))
    draft.replace(path)
    return path


def flag_saying(home: Path, answer: str) -> str:
    return str(flag_file(home / "flags.json", {"if": [True, answer]}))


class Provider(InMemoryProvider):
    """The host application's own provider, as slow and as broken as a test wants it."""

    def __init__(self, answer: Any, *, reason: Reason = Reason.TARGETING_MATCH, delay: float = 0.0) -> None:
        super().__init__({})
        self.answer, self.reason, self.delay, self.asked = answer, reason, delay, 0

    def get_metadata(self) -> Metadata:
        return Metadata(name="the host's own")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        self.asked += 1
        time.sleep(self.delay)
        if isinstance(self.answer, Exception):
            raise self.answer
        return FlagResolutionDetails(self.answer, reason=self.reason, variant=self.answer)


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_from_each_source(alone: Path, stage: Stage) -> None:
    """A stage means the same whoever says it: which backend runs the job, and which is the other."""
    by_source: dict[str, dict[str, Any]] = {
        "flag lyftlearn-migration": {"flags": flag_saying(alone, stage)},
        "[migration] stage": {"stage": str(stage)},
        "[migration] default": {"default": str(stage)},
    }
    for source, migration in by_source.items():
        decision = rollout(alone, **migration).decide(attributes())
        assert (decision.stage, decision.source) == (stage, source)
        assert (decision.backend, decision.other) == ((NEW, OLD) if stage in MOVED else (OLD, NEW))


def test_nobody_says_anything(alone: Path) -> None:
    """A migration that is configured and not begun changes nothing."""
    decision = rollout(alone).decide(attributes())
    assert (decision.backend, decision.stage, decision.source) == (OLD, Stage.OFF, "nobody")
    assert decision.reason.startswith("no stage is set")


def test_precedence(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operator, flag, repository, platform: each is heard only where those before it are silent."""
    flags = flag_saying(alone, "live")
    said: dict[str, Any] = {"flags": flags, "stage": "shadow", "default": "rehearse"}
    assert rollout(alone, **said).decide(attributes()).stage is Stage.LIVE
    assert rollout(alone, **(said | {"flags": flag_saying(alone, "unset")})).decide(attributes()).stage is Stage.SHADOW
    assert rollout(alone, default="rehearse").decide(attributes()).stage is Stage.REHEARSE
    monkeypatch.setenv("LYFTLEARN_BACKEND", "local")
    decision = rollout(alone, **said).decide(attributes())
    assert (decision.backend, decision.stage, decision.source) == ("local", None, "LYFTLEARN_BACKEND")


@pytest.mark.parametrize(("ceiling", "asked"), list(itertools.product(Stage, Stage)))
def test_no_flag_exceeds_the_ceiling(alone: Path, ceiling: Stage, asked: Stage) -> None:
    """A repository that is not ready says so once, and no flag moves it further."""
    decision = rollout(alone, flags=flag_saying(alone, asked), ceiling=str(ceiling)).decide(attributes())
    assert decision.stage == min(ceiling, asked)


SILENT: dict[str, Callable[[Path], str]] = {
    "no such flag": lambda home: str(_other_flag(home)),
    "value that is no stage": lambda home: flag_saying(home, "nonsense"),
    "unset": lambda home: flag_saying(home, "unset"),
    "its own default": lambda home: str(flag_file(home / "flags.json", {"if": [False, "live"]}, default="live")),
    "missing file": lambda home: str(home / "gone.json"),
    "broken file": lambda home: str(_written(home / "flags.json", "{")),
    "HTML for a file": lambda home: str(_written(home / "flags.json", "<html>")),
    "closed port": lambda _: "http://127.0.0.1:9",
    "flagd that is not there": lambda _: "flagd://127.0.0.1:9",
}


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _other_flag(home: Path) -> Path:
    return _written(home / "flags.json", '{"flags": {}}')


@pytest.mark.parametrize("case", SILENT)
@pytest.mark.parametrize("stage", Stage)
def test_a_flag_that_does_not_really_answer(alone: Path, case: str, stage: Stage) -> None:
    """The next source is asked, nothing raises, and the decision says what was wrong with the flag."""
    decision = rollout(alone, flags=SILENT[case](alone), stage=str(stage)).decide(attributes())
    assert (decision.stage, decision.source) == (stage, "[migration] stage")
    assert dict(decision.sources)["flag lyftlearn-migration"]


HOSTS = {
    "raises": Provider(RuntimeError("down")),
    "hangs": Provider("live", delay=2),
    "its own default": Provider("live", reason=Reason.DEFAULT),
    "is disabled": Provider("live", reason=Reason.DISABLED),
    "no stage": Provider("lve"),
}


@pytest.mark.parametrize("case", HOSTS)
def test_a_host_provider_that_does_not_really_answer(alone: Path, case: str) -> None:
    """Any provider that the host has set may be slow or broken; the submission is neither."""
    api.set_provider_and_wait(HOSTS[case])
    decision = rollout(alone, stage="rehearse", budget="0.1s").decide(attributes())
    assert (decision.stage, decision.source) == (Stage.REHEARSE, "[migration] stage")


def test_the_hosts_provider_comes_first(alone: Path) -> None:
    """An application that has OpenFeature set up needs no second flag service; its domain beats its global one."""
    api.set_provider_and_wait(Provider("rehearse"))
    assert rollout(alone, flags=flag_saying(alone, "live")).decide(attributes()).stage is Stage.REHEARSE
    api.set_provider_and_wait(Provider("shadow"), "lyftlearn")
    assert rollout(alone).decide(attributes()).stage is Stage.SHADOW


def test_the_last_known_answer_holds_while_the_service_is_away(alone: Path) -> None:
    """A model that has moved does not jump back because a flag service restarts, also in a new process."""
    provider = Provider("live")
    api.set_provider_and_wait(provider)
    assert rollout(alone).decide(attributes()).stage is Stage.LIVE
    provider.answer = RuntimeError("restarting")
    decision = rollout(alone, stage="off").decide(attributes())
    assert decision.stage is Stage.LIVE
    assert "last known answer: live" in dict(decision.sources)["flag lyftlearn-migration"]
    assert rollout(alone, stage="off").decide(attributes("other")).stage is Stage.OFF


def test_a_service_that_hangs_costs_its_budget_once(alone: Path) -> None:
    """500 submissions of 500 models must not each wait for the same dead service."""
    provider = Provider("live", delay=0.5)
    api.set_provider_and_wait(provider)
    deciding = rollout(alone, budget="0.05s", cache="60s", default="rehearse")
    decisions = [deciding.decide(attributes(f"model-{number}")) for number in range(500)]
    assert {decision.stage for decision in decisions} == {Stage.REHEARSE}
    assert provider.asked == 1


def test_a_kept_answer_is_not_asked_for_again(alone: Path) -> None:
    """A batch of submissions asks once per model and cache time."""
    provider = Provider("live")
    api.set_provider_and_wait(provider)
    deciding = rollout(alone, cache="60s")
    for _ in range(100):
        deciding.decide(attributes())
    assert provider.asked == 1


def test_a_file_is_read_again_when_it_changes_and_a_broken_one_is_not(alone: Path) -> None:
    """A flip takes effect without a restart; a typing mistake keeps the last good file and says so."""
    path = Path(flag_saying(alone, "rehearse"))
    deciding = rollout(alone, flags=str(path))
    assert deciding.decide(attributes()).stage is Stage.REHEARSE
    flag_saying(alone, "live")
    assert deciding.decide(attributes()).stage is Stage.LIVE
    path.write_text('{"flags": ')
    decision = deciding.decide(attributes())
    assert decision.stage is Stage.LIVE
    assert "the file is broken" in dict(decision.sources)["flag lyftlearn-migration"]


def test_a_byte_order_mark_is_no_part_of_a_flag(alone: Path) -> None:
    """Windows' editors write one; the doctor reads such a file, so the decision must."""
    path = Path(flag_saying(alone, "live"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert rollout(alone, flags=str(path)).decide(attributes()).stage is Stage.LIVE


def test_a_full_disk_does_not_matter(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last known answer is a convenience: that it cannot be written costs nothing."""
    (alone / "flags").write_text("a file where the directory should be")
    assert rollout(alone, flags=flag_saying(alone, "live")).decide(attributes()).stage is Stage.LIVE


def test_a_stage_whose_backend_is_not_installed(alone: Path) -> None:
    """A flag must not break a process that cannot follow it: the job stays where it was, and says why."""
    decision = rollout(alone, installed=(OLD,), flags=flag_saying(alone, "live")).decide(attributes())
    assert (decision.backend, decision.stage) == (OLD, Stage.OFF)
    assert f"backend {NEW} is not installed" in decision.reason


def test_a_setting_that_is_no_stage() -> None:
    """A mistake in a file is found when it is read."""
    with pytest.raises(InvalidJob, match="write one of off, rehearse"):
        load({"migration": {"to": NEW, "stage": "lve"}})


def test_the_decision_travels_as_json(alone: Path) -> None:
    """Every job carries why it went where it went; `explain` shows all that was asked."""
    decision = rollout(alone, stage="live").decide(attributes())
    assert json.loads(decision.as_json())["reason"] == "[migration] stage says live"
    assert json.loads(json.dumps(decision.as_dict()))["attributes"]["model"] == "eta"


@pytest.fixture
def service() -> Iterator[tuple[str, dict[str, Any]]]:
    """An OFREP service on a real socket; the mapping says how it answers and counts who asked."""
    behaviour: dict[str, Any] = {"status": 200, "value": "live", "asked": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            behaviour["asked"] += 1
            context = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["context"]
            body = behaviour.get("body") or json.dumps(
                {"key": self.path.rpartition("/")[2], "value": behaviour["value"], "variant": context["targetingKey"]}
                | {"reason": "TARGETING_MATCH"}
            )
            self.send_response(behaviour["status"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", behaviour
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("trouble", [{"status": 500}, {"body": "<html>login</html>"}, {"body": "{}"}, {"value": "lve"}])
def test_a_service_on_a_real_socket(alone: Path, service: tuple[str, dict[str, Any]], trouble: dict[str, Any]) -> None:
    """The stage comes over HTTP; a service that answers HTML or errors is one that did not answer."""
    url, behaviour = service
    deciding = rollout(alone, flags=url, default="rehearse")
    decision = deciding.decide(attributes())
    assert (decision.stage, decision.variant) == (Stage.LIVE, "eta")
    behaviour.update(trouble)
    assert deciding.decide(attributes("other")).stage is Stage.REHEARSE


def test_a_flagd_address_is_asked_over_ofrep(alone: Path, service: tuple[str, dict[str, Any]]) -> None:
    """OFREP is served by flagd beside gRPC: no gRPC library is needed to ask it."""
    url, behaviour = service
    assert rollout(alone, flags=url.replace("http", "flagd")).decide(attributes()).stage is Stage.LIVE
    assert behaviour["asked"] == 1


@responses.activate
def test_what_the_service_is_told(alone: Path) -> None:
    """Targeting needs repository, team, labels, nodes and the rest; nothing of the job's data is sent."""
    answer = {"key": "k", "value": "shadow", "variant": "shadow", "reason": "TARGETING_MATCH"}
    responses.post("http://flags.test/ofrep/v1/evaluate/flags/lyftlearn-migration", json=answer)
    deciding = rollout(alone, flags="http://flags.test")
    assert deciding.decide(attributes(team="maps", labels={"tier": "1"})).stage is Stage.SHADOW
    body = responses.calls[0].request.body
    assert body is not None
    context = json.loads(body)["context"]
    assert context == {"targetingKey": "eta", "model": "eta", "kind": "train", "team": "maps"} | {
        "labels": {"tier": "1"},
        "nodes": 1,
    }


def documented(home: Path, percent: int) -> Rollout:
    """Return a rollout with the documentation's flag file at another percentage."""
    text = DOCUMENTED.read_text(encoding="utf-8")
    assert '["live", 30], ["rehearse", 70]' in text
    changed = text.replace('["live", 30], ["rehearse", 70]', f'["live", {percent}], ["rehearse", {100 - percent}]')
    return rollout(home, flags=str(_written(home / f"flags-{percent}.json", changed)))


def moved(deciding: Rollout, models: int) -> set[int]:
    return {number for number in range(models) if _is_new(deciding.decide(attributes(f"model-{number}", team="maps")))}


def _is_new(decision: Decision) -> bool:
    return decision.backend == NEW


@examples(max_examples=15, deadline=None)
@given(st.tuples(st.integers(0, 100), st.integers(0, 100)))
def test_raising_a_percentage_only_adds_models(
    tmp_path_factory: pytest.TempPathFactory, shares: tuple[int, int]
) -> None:
    """From p to q, no model goes back: whoever has moved stays moved."""
    home = tmp_path_factory.mktemp("home")
    low, high = sorted(shares)
    assert moved(documented(home, low), 400) <= moved(documented(home, high), 400)


@pytest.mark.parametrize("percent", [1, 30, 75])
def test_the_share_is_what_was_asked_for(alone: Path, percent: int) -> None:
    """Over 10,000 models, the share of moved ones is within 2 points of the percentage in the documented file."""
    assert abs(len(moved(documented(alone, percent), 10_000)) / 100 - percent) <= 2


def test_the_documented_file_targets(alone: Path) -> None:
    """The file that platform engineers copy does what its page says, for each of its rules."""
    deciding = documented(alone, 100)
    rules: list[tuple[Mapping[str, Any], Stage]] = [
        ({"repository": "rides/pricing"}, Stage.COMPLETE),
        ({"team": "maps"}, Stage.LIVE),
        ({"team": "other"}, Stage.REHEARSE),
    ]
    for given_attributes, stage in rules:
        assert deciding.decide(attributes(**given_attributes)).stage is stage


def test_the_answer_names_the_file_that_gave_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform's default looks like the repository's own unless its file is named."""
    platform, repository = tmp_path / "platform.toml", tmp_path / "lyftlearn.toml"
    platform.write_text(f'backend = "{OLD}"\n[migration]\nto = "{NEW}"\ndefault = "rehearse"\n')
    repository.write_text(f'home = "{tmp_path}"\n')
    monkeypatch.setenv("LYFTLEARN_PLATFORM_CONFIG", str(platform))
    sources = dict(ops.explain("train", "eta", client=Client(config=repository)).sources)
    assert sources["[migration] default"] == f"rehearse, in {platform}"
    platform.write_text(f'backend = "{OLD}"\n')
    assert ops.explain("train", "eta", client=Client(config=repository)).reason == f"`backend` in {platform}"


def test_several_faults_of_a_refusal_are_told_one_by_one() -> None:
    """A decision travels as one line, in which each fault has its end."""
    decision = Decision(backend="new", reason="asked", source="test", attributes={}, stage=Stage.LIVE, other="old")
    back = decision.after_refusal(InvalidJob([("image", "is missing"), ("outputs.o", "is not seen")]))
    assert back is not None
    assert back.reason == "asked; new refused: image: is missing; outputs.o: is not seen"
