"""The other side of a flag service may do what it likes: its answers are bounded, and one model's error is its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from lyftlearn.config import load
from lyftlearn.rollout import Decision, Rollout, Stage

CANARY = "c4n4ry-0f-the-f1ag-service"


@contextmanager
def service(answer: Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]) -> Iterator[str]:
    """Serve OFREP on a socket; `answer` gets the handler and what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer(self, json.loads(body))

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def flag(handler: BaseHTTPRequestHandler, value: Any, **more: Any) -> None:
    answer = {"key": "f", "value": value, "reason": "TARGETING_MATCH", "variant": str(value), "metadata": {}} | more
    send(handler, 200, json.dumps(answer).encode())


@pytest.fixture
def decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a rollout; a migration from old to new."""
    for name in ("LYFTLEARN_BACKEND", "LYFTLEARN_FLAGS", "LYFTLEARN_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def make(flags: str | None = None, **migration: Any) -> Callable[[str], Decision]:
        table = {"from": "old", "to": "new", "budget": "5s", "cache": "0s"} | migration
        table |= {"flags": flags} if flags else {}
        rollout = Rollout(load({"home": str(tmp_path), "migration": table}), lambda: ["old", "new"])
        return lambda model: rollout.decide({"model": model, "labels": {}})

    api.clear_providers()
    yield make
    api.clear_providers()


def text_of(decision: Decision) -> str:
    return decision.as_json() + json.dumps(decision.as_dict())


HUGE = "x" * 300_000
LARGE: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "value": lambda handler: flag(handler, HUGE),
    "variant": lambda handler: flag(handler, "live", variant=HUGE),
    "variant that is no text": lambda handler: flag(handler, "live", variant=[HUGE]),
    "reason": lambda handler: flag(handler, "live", reason=HUGE),
    "metadata": lambda handler: flag(handler, "live", metadata={"x": HUGE * 3}),
    "error": lambda handler: send(handler, 500, HUGE.encode()),
    "error details": lambda handler: send(
        handler, 400, json.dumps({"errorCode": "GENERAL", "errorDetails": HUGE}).encode()
    ),
    "retry after": lambda handler: send(handler, 429, b"", Retry_After="9" * 400),
    "retry for ever": lambda handler: send(handler, 429, b"", Retry_After="999999999"),
    "retry never": lambda handler: send(handler, 429, b"", Retry_After="Wed, 21 Oct 2095 07:28:00"),
    "nesting": lambda handler: send(handler, 200, b"[" * 60_000),
    "no JSON": lambda handler: send(handler, 200, b"<html>" * 1000),
    "no object": lambda handler: send(handler, 200, b"[]"),
    "terminal": lambda handler: flag(handler, "\x1b[2J\x9b2J\u202elive", variant="\x1b]0;x\x07"),
    "number": lambda handler: flag(handler, 5),
    "list": lambda handler: flag(handler, ["live"]),
}


@pytest.mark.parametrize("case", LARGE)
def test_what_a_service_answers_is_bounded(decide: Callable[..., Any], case: str) -> None:
    """The decision travels with the job, in an annotation or a label: it stays short and plain, whatever is said."""
    with service(lambda handler, _: LARGE[case](handler)) as address:
        decided = decide(f"http://{address}", stage="rehearse")
        first, second = decided("eta"), decided("eta")
    for decision in (first, second):
        assert len(decision.as_json()) < 2000
        assert len(text_of(decision)) < 6000
        assert "\x1b" not in decision.reason + str(decision.variant) + str(decision.sources)
        assert decision.stage in (Stage.REHEARSE, Stage.LIVE)


def test_a_redirect_is_not_followed(decide: Callable[..., Any]) -> None:
    """What is said of a job is for the service that was configured, and for no other."""
    heard: list[Any] = []

    def hear(handler: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        heard.append(asked)
        flag(handler, "complete")

    with service(hear) as other:
        for status in (301, 302, 303, 307, 308):
            location = f"http://{other}/ofrep/v1/evaluate/flags/f"
            with service(lambda handler, _, s=status, to=location: send(handler, s, b"", Location=to)) as address:  # type: ignore[misc]
                decision = decide(f"http://{address}", stage="rehearse")("eta")
            assert decision.stage is Stage.REHEARSE
            assert "redirect" in text_of(decision)
    assert heard == []


def test_an_answer_that_drips_ends(decide: Callable[..., Any]) -> None:
    """One byte now and then is no answer in time, and its thread does not read for ever."""
    ended = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, _: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" ")
                time.sleep(0.01)
        except OSError:
            ended.set()

    with service(drip) as address:
        decision = decide(f"http://{address}", stage="rehearse", budget="0.2s")("eta")
        assert decision.stage is Stage.REHEARSE
        assert ended.wait(600)


def test_an_answer_in_pieces_and_a_long_one_are_read(decide: Callable[..., Any]) -> None:
    """What comes in pieces is put together, and a long answer is not read byte by byte, which takes longer than it."""
    fields = {"key": "f", "value": "complete", "variant": "on", "reason": "TARGETING_MATCH"}
    answer = json.dumps({**fields, "metadata": {"x": "y" * 60_000}})

    def pieces(handler: BaseHTTPRequestHandler, _: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        for start in range(0, len(answer), 10_000):
            handler.wfile.write(answer[start : start + 10_000].encode())
            handler.wfile.flush()

    with service(pieces) as address:
        assert decide(f"http://{address}", stage="rehearse", budget="20s")("eta").stage is Stage.COMPLETE


def test_an_answer_that_is_cut_is_none(decide: Callable[..., Any]) -> None:
    """Half of an answer must not decide where a job goes."""

    def cut(handler: BaseHTTPRequestHandler, _: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"key": "f", "value": "complete", "variant": "on", "reason": "TARGETING_MATCH"}')
        handler.close_connection = True

    with service(cut) as address:
        decision = decide(f"http://{address}", stage="rehearse", budget="20s")("eta")
    assert decision.stage is Stage.REHEARSE


class Provider(AbstractProvider):
    """A host's provider that answers by model."""

    def __init__(self, answers: dict[str, Any], hang: threading.Event | None = None) -> None:
        super().__init__()
        self.answers = answers
        self.hang = hang
        self.asked = 0

    def get_metadata(self) -> Metadata:
        return Metadata("test")

    def resolve_string_details(self, flag_key: str, default_value: str, evaluation_context: Any = None) -> Any:
        self.asked += 1
        if self.hang is not None:
            self.hang.wait(600)
        answer = self.answers[evaluation_context.targeting_key]
        if isinstance(answer, Exception):
            raise answer
        return FlagResolutionDetails(answer, reason=Reason.TARGETING_MATCH, variant=answer)

    def resolve_boolean_details(self, *_: Any) -> Any: ...
    def resolve_integer_details(self, *_: Any) -> Any: ...
    def resolve_float_details(self, *_: Any) -> Any: ...
    def resolve_object_details(self, *_: Any) -> Any: ...


def test_one_models_error_is_its_own(decide: Callable[..., Any]) -> None:
    """A rule that breaks for one model must not keep a kill switch from all others."""
    provider = Provider({"odd": ValueError("no number"), "eta": "live"})
    api.set_provider_and_wait(provider)
    decided = decide(cache="60s", default="rehearse")
    assert decided("odd").stage is Stage.REHEARSE
    assert decided("eta").stage is Stage.LIVE


def test_a_provider_that_hangs_costs_few_threads(decide: Callable[..., Any]) -> None:
    """A question that is never answered keeps its thread: there are only ever a few such questions."""
    hang = threading.Event()
    provider = Provider({f"m{number}": "live" for number in range(50)}, hang)
    api.set_provider_and_wait(provider)
    decided = decide(budget="0.01s", cache="0s", default="rehearse")
    before = threading.active_count()
    assert {decided(f"m{number}").stage for number in range(50)} == {Stage.REHEARSE}
    assert threading.active_count() - before <= 4
    hang.set()
    deadline = time.monotonic() + 60
    while decide(budget="5s")("m1").stage is not Stage.LIVE:
        assert time.monotonic() < deadline


def test_a_process_without_threads_decides(decide: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Deciding never raises."""
    api.set_provider_and_wait(Provider({"eta": "live"}))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert decide(default="rehearse")("eta").stage is Stage.REHEARSE


@pytest.mark.parametrize(
    "url",
    [
        "http://user:{canary}@{address}",
        "http://{canary}@{address}/base",
        "http://{canary}:x@{address}",
        "http://{address}/base?token={canary}",
        "http://{address}?k={canary}",
        "http://{address}/{canary}/base",
        "http://user:{canary}%40x@{address}",
        "flagd://user:{canary}@{address}",
    ],
)
@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
def test_a_services_address_keeps_its_secrets(
    decide: Callable[..., Any], closed_port: int, url: str, away: bool
) -> None:
    """The URL's user, password and token stand in no decision, which everybody can read, whatever is answered."""

    def echo(handler: BaseHTTPRequestHandler, _: Any) -> None:
        send(handler, 500, f"{handler.path} {handler.headers}".encode())

    with service(echo) as address:
        where = f"127.0.0.1:{closed_port}" if away else address
        decision = decide(url.format(canary=CANARY, address=where), stage="rehearse")("eta")
    assert CANARY not in text_of(decision)
    assert decision.stage is Stage.REHEARSE
