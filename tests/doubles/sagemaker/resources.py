"""`ResourceConfig`: what AWS's documentation forbids of it in prose, and which of its instance types a job gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .faults import Refused

_EXCLUSIVE = ("InstanceType", "InstanceGroups", "InstancePlacementConfig")


def types_of(resources: dict[str, Any]) -> list[str]:
    """Return the instance types that a job may get, in order."""
    preferences = resources.get("InstancePreferences")
    return [one["InstanceType"] for one in preferences] if preferences else [resources["InstanceType"]]


def count_of(resources: dict[str, Any]) -> int:
    """Return how many instances a job gets at most."""
    counts = [one.get("InstanceCount", 0) for one in resources.get("InstancePreferences", [])]
    return int(max([resources.get("InstanceCount", 0), *counts]))


def has_plan(resources: dict[str, Any]) -> bool:
    """Whether a training plan provides the instances."""
    preferences = resources.get("InstancePreferences", [])
    return "TrainingPlanArn" in resources or any("TrainingPlanArns" in one for one in preferences)


def check_resources(request: dict[str, Any]) -> None:
    """Raise ValidationException for what the documentation of ResourceConfig and InstancePreference rules out."""
    for problem in _problems(request["ResourceConfig"], spot=request.get("EnableManagedSpotTraining", False)):
        raise Refused("ValidationException", problem)


def _problems(resources: dict[str, Any], *, spot: bool) -> Iterator[str]:
    preferences = resources.get("InstancePreferences")
    if {"SelectedInstanceType", "SelectedInstanceCount"} & resources.keys():
        yield "SelectedInstanceType and SelectedInstanceCount are read-only"
    if preferences is None:
        if not {"InstanceType", "InstanceGroups"} & resources.keys():
            yield "ResourceConfig must have one of InstanceType, InstanceGroups and InstancePreferences"
        return
    both = [name for name in _EXCLUSIVE if name in resources]
    if both:
        yield f"InstancePreferences cannot be specified together with {both[0]}"
    if spot:
        yield "InstancePreferences is not supported with EnableManagedSpotTraining"
    types = types_of(resources)
    if len(set(types)) < len(types):
        yield "An instance type can appear only once in InstancePreferences"
    counted = {"InstanceCount" in one for one in preferences}
    if counted != {"InstanceCount" not in resources}:
        yield "InstanceCount must be set either in ResourceConfig or on every instance preference"
    if "TrainingPlanArn" in resources and any("TrainingPlanArns" in one for one in preferences):
        yield "TrainingPlanArns of an instance preference cannot be specified together with TrainingPlanArn"
