"""Which models would start sooner on warm instances: by the jobs that an account has had.

A job takes over the instances of an earlier one that has the same role, instance type and count, volume, keys, VPC and
isolation, and ended less than its `KeepAlivePeriodInSeconds` ago:
https://docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools.html
"""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from lyftlearn_sagemaker.record import TAG
from lyftlearn_sagemaker.submission.instances import first_instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LEAST_JOBS = 4
"""Jobs of a model, of which one tells how often it trains."""
LONGEST_PAUSE = timedelta(minutes=30)
"""Between jobs. Idle instances are paid for, and the start of a cold one takes some minutes."""
_OF_A_MODEL = ("train", "predict")
_STEP = timedelta(minutes=5)
_RESOURCES = ("InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
_OF_THE_JOB = ("RoleArn", "EnableNetworkIsolation", "VpcConfig", "EnableInterContainerTrafficEncryption")


def advice(jobs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what would let models start on warm instances. jobs: as Search tells them, with their tags."""
    for model, own in sorted(_by_model(jobs).items()):
        ended = sorted((job for job in own if job.get("TrainingEndTime")), key=lambda job: job["CreationTime"])
        pauses = [pause for pause in map(_pause, pairwise(ended)) if pause > timedelta()]
        if len(ended) < LEAST_JOBS or not pauses:
            continue
        usual = timedelta(seconds=median(pause.total_seconds() for pause in pauses))
        if usual <= LONGEST_PAUSE:
            yield from _of_model(model, ended, usual)


def _of_model(model: str, jobs: Sequence[Mapping[str, Any]], pause: timedelta) -> Iterator[str]:
    often = f"{model} trains {_minutes(pause)} after its last job"
    if different := sorted(_differing(jobs)):
        yield f"{often}, but no job can take over the instances of another, for they differ in {', '.join(different)}"
    kept = jobs[-1]["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0)
    wanted = math.ceil(pause * 1.5 / _STEP) * _STEP
    if kept >= pause.total_seconds() or jobs[-1].get("EnableManagedSpotTraining"):
        return
    minutes = int(wanted.total_seconds() // 60)
    cold = median(_cold_start(job) for job in jobs)
    yield (
        f'{often}: `keep_alive = "{minutes}m"` in [sagemaker.models.{model}] spares {cold:.0f} s of waiting for '
        f"{first_instance(jobs[-1]['ResourceConfig'])}, for up to {_minutes(pause)} more of paid time a job"
    )


def _by_model(jobs: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    models: dict[str, list[Mapping[str, Any]]] = {}
    for job in jobs:
        tags = {tag["Key"]: tag["Value"] for tag in job.get("Tags", ())}
        if tags.get(f"{TAG}kind") in _OF_A_MODEL:
            models.setdefault(tags[f"{TAG}name"], []).append(job)
    return models


def _pause(neighbours: tuple[Mapping[str, Any], Mapping[str, Any]]) -> timedelta:
    before, after = neighbours
    pause: timedelta = after["CreationTime"] - before["TrainingEndTime"]
    return pause


def _differing(jobs: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return in what the jobs differ that a warm pool must have alike; what only one job has had is no pattern."""
    facts = [_matching_facts(job) for job in jobs]
    return {name for name in facts[0] if len({str(fact[name]) for fact in facts}) > len(facts) // 2}


def _matching_facts(job: Mapping[str, Any]) -> dict[str, Any]:
    resources = job["ResourceConfig"]
    kind = resources.get("SelectedInstanceType") or first_instance(resources)
    return {
        "InstanceType": kind,
        **{name: resources.get(name) for name in _RESOURCES},
        **{name: job.get(name) for name in _OF_THE_JOB},
    }


def _cold_start(job: Mapping[str, Any]) -> float:
    """Return the seconds from a job's creation until its image was pulled, which is when warm instances would begin."""
    steps = job.get("SecondaryStatusTransitions", ())
    began = next((step["StartTime"] for step in steps if step["Status"] in ("Downloading", "Training")), None)
    return (began - job["CreationTime"]).total_seconds() if began else 0.0


def _minutes(pause: timedelta) -> str:
    return f"{max(1, round(pause / timedelta(minutes=1)))} min"
