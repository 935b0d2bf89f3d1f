"""What is searched, and how: the document that a tuning job's driver gets, and that every reader of it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lyftlearn._studies.space import Domain, read_space
from lyftlearn.types import JSON

FORMAT = 1
LABEL = "lyftlearn/tuning"
"""The label of a trial's job: the id of its search."""
_READ_BY_OTHERS = ("hyperparameters", "space", "trials", "goal", "objective_name", "base_uri")
"""What handles and views read of a document; the driver has its own from its hyperparameters."""


@dataclass(frozen=True)
class Study:
    """One search, by the names of its document."""

    document: Mapping[str, Any]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Study:
        """Return the study of a document that others may have written. Raises what reading a broken one raises."""
        study = cls(document)
        for name in _READ_BY_OTHERS:
            getattr(study, name)
        return study

    @property
    def id(self) -> str:
        """The id of the tuning job."""
        return str(self.document["id"])

    @property
    def backend(self) -> str:
        """Where the search began. It stays there, whatever the flag says."""
        return str(self.document["backend"])

    @property
    def seed(self) -> str:
        """What the sampler's seeds follow from."""
        return str(self.document["seed"])

    @property
    def trial(self) -> Mapping[str, Any]:
        """What every trial is submitted with."""
        trial: Mapping[str, Any] = self.document["trial"]
        return trial

    @property
    def hyperparameters(self) -> Mapping[str, JSON]:
        """The hyperparameters that every trial has."""
        return dict(self.trial["hyperparameters"])

    @cached_property
    def space(self) -> Mapping[str, Domain]:
        """What is searched."""
        return read_space(self.document["search"]["space"])

    @property
    def trials(self) -> int:
        """How many trials there will be."""
        return int(self.document["search"]["trials"])

    @property
    def parallel(self) -> int:
        """How many trials make a batch."""
        return int(self.document["search"]["parallel"])

    @property
    def timeout(self) -> float:
        """Seconds that the whole search may take."""
        return float(self.document["timeout"])

    @property
    def strategy(self) -> str:
        """How values are drawn."""
        return str(self.document["search"]["strategy"])

    @property
    def goal(self) -> Literal["minimize", "maximize"]:
        """Which objective is the best."""
        goal: Literal["minimize", "maximize"] = self._objective["goal"]
        return goal

    @property
    def objective_name(self) -> str:
        """What the objective is called."""
        return str(self._objective["name"])

    @property
    def pattern(self) -> str:
        """The regular expression that captures the objective in a line."""
        return str(self._objective["pattern"])

    @property
    def _objective(self) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = self.document["search"]["objective"][1]
        return fields

    @property
    def base_uri(self) -> str:
        """Where the outputs of trials lie."""
        return str(self.document["output_url"])

    def output_uris(self, job_id: str) -> Mapping[str, str]:
        """Return output name to URI of a trial's job: a train job's, as `JobSpec.output_uris` has them."""
        base = f"{self.base_uri}/{job_id}/output"
        return {"model": f"{base}/model.tar.gz", "output": f"{base}/output.tar.gz#output"}

    def better(self, one: float, other: float) -> bool:
        """Whether the objective `one` is better than `other`."""
        return one < other if self.goal == "minimize" else one > other
