"""Where a job would really go, and where a job went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lyftlearn import Client, ops


def client(home: Path, **migration: Any) -> Client:
    return Client(config={"home": str(home), "migration": {"from": "local", "to": "sagemaker", **migration}})


def test_a_live_job_that_would_be_refused_goes_back(tmp_path: Path) -> None:
    """Who asks where a job goes wants to hear of the fall-back before it happens, and why."""
    decision = ops.explain("train", "eta", client=client(tmp_path, stage="live"))
    assert (decision.backend, decision.other, decision.fell_back) == ("local", "sagemaker", True)
    assert "sagemaker refused" in decision.reason
    sources = dict(decision.sources)
    assert "role" in sources["plan for sagemaker"]
    assert sources["plan for local"] == "nothing stands against the job"


@pytest.mark.parametrize("stage", ["off", "rehearse", "complete"])
def test_other_stages_are_not_planned(tmp_path: Path, stage: str) -> None:
    """Nothing falls back there, so a plan would change nothing."""
    decision = ops.explain("train", "eta", client=client(tmp_path, stage=stage))
    assert not decision.fell_back
    assert not [name for name, _ in decision.sources if name.startswith("plan")]


@pytest.mark.containers
def test_a_live_job_that_would_be_accepted_stays(tmp_path: Path) -> None:
    """The plan is among the sources, and changes nothing."""
    both = {"from": "local-kubernetes", "to": "local-sagemaker", "stage": "live"}
    decision = ops.explain("train", "eta", client=Client(config={"home": str(tmp_path), "migration": both}))
    assert (decision.backend, decision.fell_back) == ("local-sagemaker", False)
    assert dict(decision.sources)["plan for local-sagemaker"] == "nothing stands against the job"


def test_a_job_carries_where_it_went(tmp_path: Path) -> None:
    """What `explain` foretold is what the job says afterwards, and the report counts it by its reason."""
    asked = client(tmp_path, stage="live")
    job = asked.train("eta", command=["true"])
    job.wait(progress=False)
    where = ops.placement(job)
    assert (where.backend, where.stage, where.fell_back) == ("local", "live", True)
    assert "sagemaker refused" in str(where.reason)
    report = ops.migration_report(client=asked)
    assert report.fell_back == 1
    assert "sagemaker.role" in {blocker.path for blocker in report.fall_backs}
    assert report.reasons == ()
    assert report.models[0].rehearsed == 0
