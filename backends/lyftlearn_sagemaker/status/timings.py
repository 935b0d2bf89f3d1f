"""Where a job's time went, from the transitions of its secondary status."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Phase, PhaseName, Timings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# The members of botocore's SecondaryStatus that last; inputs come before the image, and the end is no phase.
_PHASES = {
    "Pending": PhaseName.WAITING,
    "Starting": PhaseName.WAITING,
    "LaunchingMLInstances": PhaseName.WAITING,
    "Interrupted": PhaseName.WAITING,
    "Restarting": PhaseName.WAITING,
    "PreparingTrainingStack": PhaseName.STARTING,
    "Downloading": PhaseName.FETCHING,
    "DownloadingTrainingImage": PhaseName.PULLING,
    "Training": PhaseName.RUNNING,
    "Updating": PhaseName.RUNNING,
    "Uploading": PhaseName.UPLOADING,
}


def timings(job: Mapping[str, Any], *, warm: bool | None) -> Timings:
    """Return the phases that SageMaker tells of a training job. What comes before the first of them is waiting."""
    phases = [
        Phase(_PHASES[transition["Status"]], transition["StartTime"], transition.get("EndTime"))
        for transition in job.get("SecondaryStatusTransitions") or ()
        if transition["Status"] in _PHASES
    ]
    first = phases[0].started_at if phases else None
    return Timings(tuple(_join([Phase(PhaseName.WAITING, job["CreationTime"], first), *phases])), warm)


def _join(phases: Sequence[Phase]) -> Iterator[Phase]:
    """Yield phases of one name that follow each other as one."""
    for _, group in groupby(phases, key=lambda phase: phase.name):
        same = list(group)
        yield replace(same[0], finished_at=same[-1].finished_at)
