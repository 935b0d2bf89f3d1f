"""Which hyperparameters a trial tries: a function of the search, the trial's number, and earlier batches' objectives.

Trials come in batches of `parallel`: batch 0 is the trials 0 to `parallel` - 1, and so on. A batch is drawn when every
trial of all earlier batches has ended, in the order of the numbers, and the sampler is told the objectives in that
order, too. Each draw has a random generator of its own, seeded by the search and the number. So it does not matter
which trial of a batch ends first, nor where or when a driver was started anew.
"""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lyftlearn._studies.space import Domain, Draw, grid_point, grid_size
from lyftlearn.errors import LyftLearnError
from lyftlearn.types import Choice, IntUniform, Uniform

if TYPE_CHECKING:
    from lyftlearn._studies.study import Study
    from lyftlearn._studies.trial_record import TrialRecord

REMEDY = "pip install 'lyftlearn[tune]'"


class Sampler(ABC):
    """Draws trials one after the other."""

    @abstractmethod
    def add(self, record: TrialRecord) -> None:
        """Take note of a trial that an earlier driver drew. The trials must come in the order of their numbers."""

    @abstractmethod
    def draw(self, number: int) -> Draw:
        """Draw the trial `number`."""

    @abstractmethod
    def tell(self, record: TrialRecord) -> None:
        """Take note of how a trial that was drawn or added ended."""


def sampler_of(study: Study) -> Sampler:
    """Return the sampler of a study's strategy. Raises LyftLearnError where its library is missing."""
    return GridSampler(study) if study.strategy == "grid" else OptunaSampler(study)


def most_trials(study: Study) -> int:
    """Return how many trials there are to run: a grid ends with its last point."""
    return min(study.trials, grid_size(study.space)) if study.strategy == "grid" else study.trials


class GridSampler(Sampler):
    """Goes through every point in order."""

    def __init__(self, study: Study) -> None:
        self._space = study.space

    def add(self, record: TrialRecord) -> None:
        """Nothing follows from it."""

    def draw(self, number: int) -> Draw:
        """Return the point `number`."""
        return grid_point(self._space, number)

    def tell(self, record: TrialRecord) -> None:
        """Nothing follows from it."""


class OptunaSampler(Sampler):
    """Draws with Optuna: by the tree-structured Parzen estimator, or at random."""

    def __init__(self, study: Study) -> None:
        try:
            import optuna  # noqa: PLC0415 - an extra, which takes a second to load
        except ImportError as exc:
            message = f"the strategy {study.strategy} needs Optuna where the driver runs: {REMEDY}, or use a grid"
            raise LyftLearnError(message) from exc
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna: Any = optuna
        self._seed = study.seed
        self._is_random = study.strategy == "random"
        self._distributions = {name: _distribution(optuna, domain) for name, domain in study.space.items()}
        self._study: Any = optuna.create_study(direction=study.goal, sampler=optuna.samplers.RandomSampler())

    def add(self, record: TrialRecord) -> None:
        """Add the trial as one that runs; how it ended is told with its batch."""
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=self._optuna.trial.TrialState.RUNNING,
                params=dict(record.draw),
                distributions=self._distributions,
            )
        )

    def draw(self, number: int) -> Draw:
        """Ask the sampler, which takes the trials of this batch, whose objectives are open, for bad ones."""
        self._study.sampler = self._new_sampler(number)
        with warnings.catch_warnings(action="ignore"):  # of arithmetic, in very wide ranges
            trial = self._study.ask(self._distributions)
        return dict(trial.params)

    def tell(self, record: TrialRecord) -> None:
        """Tell the sampler the objective, or that the trial failed."""
        state = self._optuna.trial.TrialState
        failed = record.objective is None
        self._study.tell(record.number, record.objective, state=state.FAIL if failed else state.COMPLETE)

    def _new_sampler(self, number: int) -> Any:
        digest = hashlib.sha256(f"{self._seed}/{number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        samplers = self._optuna.samplers
        if self._is_random:
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, constant_liar=True)


def _distribution(optuna: Any, domain: Domain) -> Any:
    return _DISTRIBUTIONS[type(domain)](optuna.distributions, domain)


_DISTRIBUTIONS: Mapping[type[Domain], Any] = {
    Uniform: lambda kinds, domain: kinds.FloatDistribution(domain.low, domain.high, log=domain.log),
    IntUniform: lambda kinds, domain: kinds.IntDistribution(domain.low, domain.high, log=domain.log),
    Choice: lambda kinds, domain: kinds.CategoricalDistribution(range(len(domain.values))),
}
