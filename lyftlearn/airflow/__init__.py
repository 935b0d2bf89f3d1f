"""Operators for Airflow 3: `pip install 'lyftlearn[airflow]'`.

    from lyftlearn.airflow import LyftLearnPredict, LyftLearnTrain

Each task instance has one job. Its key is the task instance's identity, so whoever runs the task again, after whatever
was killed, finds the job. docs/how-to/airflow.md is the guide.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lyftlearn.airflow.operators import LyftLearnPredict as LyftLearnPredict
    from lyftlearn.airflow.operators import LyftLearnProcess as LyftLearnProcess
    from lyftlearn.airflow.operators import LyftLearnTrain as LyftLearnTrain
    from lyftlearn.airflow.operators import LyftLearnTune as LyftLearnTune

__all__ = ["LyftLearnPredict", "LyftLearnProcess", "LyftLearnTrain", "LyftLearnTune"]


def __getattr__(name: str) -> Any:
    """Load the operators when one is asked for: Airflow reads `get_provider_info` whenever it starts."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module("lyftlearn.airflow.operators"), name)
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "airflow":
            raise
        raise ImportError(f"{name} needs Airflow 3 ({exc}): pip install 'lyftlearn[airflow]'") from exc


def get_provider_info() -> dict[str, Any]:
    """Tell Airflow what is here, through the entry-point group `apache_airflow_provider`."""
    return {
        "package-name": "lyftlearn",
        "name": "lyftlearn",
        "description": "Machine-learning jobs on Kubernetes, SageMaker or this machine",
        "operators": [{"integration-name": "lyftlearn", "python-modules": ["lyftlearn.airflow.operators"]}],
        "triggers": [{"integration-name": "lyftlearn", "python-modules": ["lyftlearn.airflow.trigger"]}],
        "extra-links": ["lyftlearn.airflow.links.PlatformLink", "lyftlearn.airflow.links.DashboardLink"],
    }
