"""The conformance suite: what every backend must do, as tests to inherit."""

from __future__ import annotations

from lyftlearn.testing.conformance._client import ClientConformance
from lyftlearn.testing.conformance._command import CommandConformance
from lyftlearn.testing.conformance._errors import ErrorsConformance
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.testing.conformance._inputs_outputs import InputsConformance, OutputsConformance
from lyftlearn.testing.conformance._logs import LogsConformance
from lyftlearn.testing.conformance._mounts import MountsConformance
from lyftlearn.testing.conformance._nodes import NodesConformance
from lyftlearn.testing.conformance._notebooks import NotebooksConformance
from lyftlearn.testing.conformance._plans import PlanConformance
from lyftlearn.testing.conformance._replacement import ReplacementConformance
from lyftlearn.testing.conformance._state import (
    RetryConformance,
    StateConformance,
    TimeoutConformance,
    WatchConformance,
)
from lyftlearn.testing.conformance._stop import StopConformance
from lyftlearn.testing.conformance._submission import (
    FindingConformance,
    KeyConformance,
    SubmissionConformance,
)
from lyftlearn.testing.conformance._tuning import TuningConformance
from lyftlearn.testing.conformance._waiting import WaitingConformance

__all__ = [
    "BackendConformance",
    "ClientConformance",
    "CommandConformance",
    "ErrorsConformance",
    "FindingConformance",
    "Harness",
    "InputsConformance",
    "KeyConformance",
    "LogsConformance",
    "MountsConformance",
    "NodesConformance",
    "NotebooksConformance",
    "OutputsConformance",
    "PlanConformance",
    "ReplacementConformance",
    "RetryConformance",
    "StateConformance",
    "StopConformance",
    "SubmissionConformance",
    "TimeoutConformance",
    "TuningConformance",
    "WaitingConformance",
    "WatchConformance",
]


class BackendConformance(
    PlanConformance,
    SubmissionConformance,
    KeyConformance,
    FindingConformance,
    CommandConformance,
    StateConformance,
    TimeoutConformance,
    RetryConformance,
    ReplacementConformance,
    WaitingConformance,
    WatchConformance,
    StopConformance,
    LogsConformance,
    InputsConformance,
    OutputsConformance,
    NodesConformance,
    NotebooksConformance,
    ErrorsConformance,
):
    """The whole contract. A subclass gives the fixture `new_backend`."""
