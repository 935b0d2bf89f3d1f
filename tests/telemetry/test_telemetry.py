"""What a host that has OpenTelemetry sees of a submission and its job, with its real SDK."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

import lyftlearn
from lyftlearn import InvalidJob, JobFailed

ROOT = Path(__file__).parents[2]
GUIDE, BOARD = ROOT / "docs/how-to/observe.md", ROOT / "deploy/grafana/lyftlearn.json"
TELEMETRY = ROOT / "lyftlearn/_telemetry/__init__.py"
METRIC = re.compile(r"lyftlearn_[a-z_]+?_(?:total|bucket|count)\b")
FLAGS = """{"flags": {"lyftlearn-migration": {"state": "ENABLED", "defaultVariant": "off",
"variants": {"off": "off", "live": "live"}}}}"""


class Collected:
    """Spans and metrics as an exporter gets them. A process has one provider of each for good."""

    spans = InMemorySpanExporter()
    reader = InMemoryMetricReader()

    @classmethod
    def install(cls) -> None:
        """Have all that follows traced and measured."""
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(cls.spans))
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([cls.reader]))

    def named(self) -> dict[str, ReadableSpan]:
        return {span.name.removeprefix("lyftlearn."): span for span in self.spans.get_finished_spans()}

    def attributes(self, name: str) -> list[Mapping[str, object]]:
        """Return what each series of a metric is about."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return [
            dict(point.attributes or {})
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if metric.name == f"lyftlearn.{name}"
        ]


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """Install both, and take them away again: nothing else that this process tests is traced."""
    Collected.install()
    yield
    monkeypatch = pytest.MonkeyPatch()  # the API lets nobody set a provider twice, and its own tests do this
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())


@pytest.fixture
def collected(installed: None) -> Collected:
    del installed
    Collected.spans.clear()
    return Collected()


@pytest.fixture
def client(tmp_path: Path) -> lyftlearn.Client:
    return lyftlearn.Client(config={"home": str(tmp_path / "home")})


def test_a_submission_and_its_job_are_one_trace(collected: Collected, client: lyftlearn.Client, tmp_path: Path) -> None:
    """From the call to the last upload; and what the job itself traces joins it by its environment."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/main.py").write_text("import os; print(os.environ['TRACEPARENT'])")
    job = client.train("eta", command="python main.py", source=str(tmp_path / "code"))
    job.wait("2m", progress=False)
    spans = collected.named()
    submit = spans["submit"]
    assert {name: spans[name].parent for name in ("plan", "upload", "create")} == dict.fromkeys(
        ("plan", "upload", "create"), submit.context
    )
    assert spans["job.running"].parent == spans["job"].context
    assert spans["job"].attributes == {"lyftlearn.job_id": job.id, "lyftlearn.status": "succeeded"}
    assert spans["create"].attributes == {"lyftlearn.backend": "local", "lyftlearn.job_id": job.id}
    context, parent = submit.context, spans["job"].parent
    assert context is not None
    assert parent is not None
    assert (parent.trace_id, parent.span_id) == (context.trace_id, context.span_id)
    assert f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" in list(job.logs())
    job.wait("1m", progress=False)
    assert [span.name for span in collected.spans.get_finished_spans()].count("lyftlearn.job") == 1


def test_a_jobs_own_value_wins(collected: Collected, client: lyftlearn.Client) -> None:
    """Whoever sets the variable knows what to join."""
    del collected
    own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    job = client.process("eta", command="echo $TRACEPARENT", env={"TRACEPARENT": own})
    job.wait("2m", progress=False)
    assert list(job.logs()) == [own]


def test_a_refused_call_tells_its_error_and_nothing_else(collected: Collected, client: lyftlearn.Client) -> None:
    """A message may quote what a user wrote, and traces are read by others."""
    with pytest.raises(InvalidJob):
        client.train("eta", command="true", timeout="hunter2")
    submit = collected.named()["submit"]
    assert submit.attributes == {"lyftlearn.kind": "train", "error.type": "InvalidJob"}
    assert not submit.events
    assert "hunter2" not in submit.to_json()
    refused = {"lyftlearn.kind": "train", "lyftlearn.outcome": "InvalidJob"}
    assert refused in collected.attributes("submissions")


def test_a_failed_job_has_its_phases_too(collected: Collected, client: lyftlearn.Client) -> None:
    """Its time is what is asked for first."""
    with pytest.raises(JobFailed):
        client.train("eta", command="exit 3").wait("2m", progress=False)
    assert dict(collected.named()["job"].attributes or {})["lyftlearn.status"] == "failed"
    assert {"lyftlearn.phase": "running", "lyftlearn.status": "failed"} in collected.attributes("job.phase.duration")


def test_the_flag_is_an_event_of_the_submission(collected: Collected, tmp_path: Path) -> None:
    """Why a job went where it went stands beside how long it took."""
    (tmp_path / "flags.json").write_text(FLAGS)
    migration = {"to": "local-sagemaker", "flags": str(tmp_path / "flags.json")}
    client = lyftlearn.Client(config={"home": str(tmp_path / "home"), "backend": "local", "migration": migration})
    for _ in range(2):
        client.train("eta", command="true").wait("2m", progress=False)
    events = [event for span in collected.spans.get_finished_spans() for event in span.events]
    told = [dict(event.attributes or {}) for event in events if event.name == "feature_flag.evaluation"]
    assert [one["feature_flag.result.reason"] for one in told] == ["static", "cached"]
    assert told[0]["feature_flag.result.variant"] == "off"


def test_a_host_without_it_pays_for_nothing(tmp_path: Path) -> None:
    """It is no dependency, and a submission must not load it."""
    script = (
        "import lyftlearn, sys\n"
        f"job = lyftlearn.Client(config={{'home': {str(tmp_path / 'home')!r}}}).train('eta', command='env')\n"
        "job.wait('2m', progress=False)\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
        "assert not any('TRACEPARENT' in line for line in job.logs())\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_the_board_asks_for_metrics_that_there_are() -> None:
    """A panel of a metric that was renamed stays empty, and nobody notices."""
    documented = re.findall(r"^\| `(lyftlearn\.[a-z.]+)` \| (counter|histogram)", GUIDE.read_text(), re.MULTILINE)
    suffixes = {"counter": ("_total",), "histogram": ("_seconds_bucket", "_seconds_count")}
    known = {name.replace(".", "_") + suffix for name, kind in documented for suffix in suffixes[kind]}
    panels = json.loads(BOARD.read_text())["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in METRIC.findall(target["expr"])}
    assert asked <= known
    source = TELEMETRY.read_text() + "".join(path.read_text() for path in TELEMETRY.parents[1].rglob("submitter.py"))
    for name, _ in documented:
        assert f'"{name.removeprefix("lyftlearn.")}"' in source
