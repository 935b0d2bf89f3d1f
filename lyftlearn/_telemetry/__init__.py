"""Traces and metrics of lyftlearn itself, by OpenTelemetry's API, for a host application that has loaded it.

Where nobody has, nothing is loaded and nothing is measured. No message of an error is recorded, since it may quote what
a user wrote: only its type.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from typing import Any

_SCOPE = "lyftlearn"
_MOST_JOBS = 10_000  # submitted by this process, whose ends nobody has seen

_NOTHING = nullcontext()
_environment: ContextVar[Mapping[str, str]] = ContextVar("lyftlearn_environment")
_submitted: dict[str, Mapping[str, str]] = {}


def environment() -> Mapping[str, str]:
    """Return the variables by which what a job traces joins the trace of its submission.

    Their names are those of OpenTelemetry's specification, "Environment Variables as Context Propagation Carriers".
    """
    return _environment.get({})


def submission(kind: str) -> AbstractContextManager[None]:
    """Trace, time and count one submission."""
    return _traced_submission(kind) if _traces() else _NOTHING


@contextmanager
def _traced_submission(kind: str) -> Iterator[None]:
    began, outcome = time.monotonic(), "accepted"
    with span("submit", kind=kind):
        token = _environment.set(_carrier())
        try:
            yield
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            _environment.reset(token)
            count("submissions", kind=kind, outcome=outcome)
            measure("submission.duration", time.monotonic() - began, kind=kind, outcome=outcome)


def span(name: str, **attributes: str) -> AbstractContextManager[None]:
    """Trace what is done inside, as a part of what is traced around it."""
    trace = _traces()
    return _NOTHING if trace is None else _span(trace, name, attributes)


@contextmanager
def _span(trace: Any, name: str, attributes: Mapping[str, str]) -> Iterator[None]:
    with trace.get_tracer(_SCOPE).start_as_current_span(
        f"{_SCOPE}.{name}",
        attributes=_otel_attributes(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise


def annotate(**attributes: str) -> None:
    """Say more of what is being traced."""
    trace = _traces()
    if trace is not None:
        trace.get_current_span().set_attributes(_otel_attributes(attributes))


def add_event(name: str, attributes: Mapping[str, str]) -> None:
    """Add an event to what is being traced. name, attributes: by OpenTelemetry's semantic conventions."""
    trace = _traces()
    if trace is not None:
        trace.get_current_span().add_event(name, attributes)


def remember_job(job_id: str) -> None:
    """Let the phases of a job that was just submitted be traced when this process sees its end."""
    if _environment.get(None):
        while len(_submitted) >= _MOST_JOBS:
            _submitted.pop(next(iter(_submitted)), None)
        _submitted[job_id] = environment()


def awaits(job_id: str) -> bool:
    """Whether the phases of a job are still to be traced."""
    return job_id in _submitted


def trace_job(job_id: str, phases: Sequence[tuple[str, datetime, datetime]], **attributes: str) -> None:
    """Trace the phases of a job that has ended, once, and measure them. phases: name, start and end."""
    carrier, trace = _submitted.pop(job_id, None), _traces()
    if carrier is None or trace is None or not phases:
        return
    parent = _propagator().extract({name.lower(): value for name, value in carrier.items()})
    tracer, named = trace.get_tracer(_SCOPE), _otel_attributes({"job_id": job_id, **attributes})
    ends = [end for _, _, end in phases]
    job = tracer.start_span(f"{_SCOPE}.job", parent, attributes=named, start_time=_nanoseconds(phases[0][1]))
    for name, start, end in phases:
        part = tracer.start_span(f"{_SCOPE}.job.{name}", trace.set_span_in_context(job), start_time=_nanoseconds(start))
        part.end(_nanoseconds(end))
        measure("job.phase.duration", (end - start).total_seconds(), phase=name, **attributes)
    job.end(_nanoseconds(max(ends)))


def timed_request(backend: str, operation: str) -> AbstractContextManager[None]:
    """Measure a request of a backend to its platform."""
    return _timed_request(backend, operation) if "opentelemetry.metrics" in sys.modules else _NOTHING


@contextmanager
def _timed_request(backend: str, operation: str) -> Iterator[None]:
    began, outcome = time.monotonic(), "answered"
    try:
        yield
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        measure("request.duration", time.monotonic() - began, backend=backend, operation=operation, outcome=outcome)


def count(name: str, **attributes: str) -> None:
    """Count one more of something."""
    if "opentelemetry.metrics" in sys.modules:
        _counter(f"{_SCOPE}.{name}").add(1, _otel_attributes(attributes))


def measure(name: str, seconds: float, **attributes: str) -> None:
    """Add a length of time to a distribution."""
    if "opentelemetry.metrics" in sys.modules:
        _histogram(f"{_SCOPE}.{name}").record(seconds, _otel_attributes(attributes))


def _traces() -> Any:
    return sys.modules.get("opentelemetry.trace")


@cache
def _counter(name: str) -> Any:
    return sys.modules["opentelemetry.metrics"].get_meter(_SCOPE).create_counter(name)


@cache
def _histogram(name: str) -> Any:
    return sys.modules["opentelemetry.metrics"].get_meter(_SCOPE).create_histogram(name, unit="s")


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - the host has loaded its package
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator()


def _carrier() -> Mapping[str, str]:
    carrier: dict[str, str] = {}
    _propagator().inject(carrier)
    return {name.upper(): value for name, value in carrier.items()}


def _otel_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    return {f"{_SCOPE}.{name}": value for name, value in attributes.items()}


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1e9)
