"""One contender in an interpreter of its own: `python -m benchmarks.sagemaker.contenders NAME DIRECTORY SOURCE JOBS`.

Submits once, unmeasured, then JOBS times, and prints what a submission takes. With JOBS 0 it submits once from cold.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.sagemaker.servers import BUCKET, IMAGE, ROLE

COMMAND = ["python3", "train.py"]
HYPERPARAMETERS = {"rate": 0.1}


def lyftlearn(directory: Path, source: Path | None) -> Callable[[], Any]:
    """The public API."""
    import lyftlearn

    table = {"role": ROLE, "image": IMAGE, "region": "us-east-1", "instances": {"pin": "ml.m5.large"}}
    storage = {"url": f"s3://{BUCKET}/lyftlearn"}
    client = lyftlearn.Client(
        config={"backend": "sagemaker", "home": str(directory / "home"), "storage": storage, "sagemaker": table}
    )
    return lambda: client.train("bench", command=COMMAND, hyperparameters=dict(HYPERPARAMETERS), source=source)


def boto3(directory: Path, source: Path | None) -> Callable[[], Any]:
    """The same two requests by hand, with the bodies that lyftlearn sends."""
    import boto3

    plan = _plan(directory, source)
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
    content = json.dumps(plan[0]["Body"]).encode()

    def submit() -> None:
        name = f"raw-{uuid.uuid4().hex}"
        s3.put_object(Bucket=BUCKET, Key=f"raw/{name}/bundle.json", Body=content)
        sagemaker.create_training_job(**{**plan[1], "TrainingJobName": name})

    return submit


def modeltrainer(_: Path, source: Path | None) -> Callable[[], Any]:
    """The `sagemaker` SDK, as its documentation shows it first; one trainer, which may submit again and again."""
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, OutputDataConfig, SourceCode

    trainer = ModelTrainer(
        training_image=IMAGE,
        role=ROLE,
        sagemaker_session=Session(default_bucket=BUCKET),
        source_code=SourceCode(source_dir=str(source), command=" ".join(COMMAND)) if source else None,
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        hyperparameters=HYPERPARAMETERS,
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{BUCKET}/modeltrainer"),
        base_job_name="bench",
    )

    def submit() -> None:
        trainer.base_job_name = f"bench-{uuid.uuid4().hex[:12]}"  # the SDK's names are unique by the second
        trainer.train(wait=False, logs=False)

    return submit


CONTENDERS = {"lyftlearn": lyftlearn, "boto3": boto3, "ModelTrainer": modeltrainer}


def _plan(directory: Path, source: Path | None) -> list[dict[str, Any]]:
    """Return the bodies of lyftlearn's own plan, made in a process of its own so that nothing of it is loaded here."""
    import subprocess

    arguments = ["plan", str(directory), str(source or "")]
    done = subprocess.run([sys.executable, "-m", __spec__.name, *arguments], capture_output=True, text=True, check=True)
    plan: list[dict[str, Any]] = json.loads(done.stdout)
    return plan


def _print_plan(directory: Path, source: Path | None) -> None:
    import lyftlearn as api
    from lyftlearn import ops

    table = {"role": ROLE, "image": IMAGE, "region": "us-east-1", "instances": {"pin": "ml.m5.large"}}
    storage = {"url": f"s3://{BUCKET}/lyftlearn"}
    client = api.Client(
        config={"backend": "sagemaker", "home": str(directory / "home"), "storage": storage, "sagemaker": table}
    )
    made = ops.plan(
        "train", model="bench", command=COMMAND, hyperparameters=HYPERPARAMETERS, source=source, client=client
    )
    print(json.dumps([dict(request.body) for request in made.plan.requests], default=dict))


def main() -> None:
    name, directory, source = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3] else None
    if name == "plan":
        _print_plan(directory, source)
        return
    submit, jobs = CONTENDERS[name](directory, source), int(sys.argv[4])
    submit()
    if jobs:
        print(json.dumps(_measured(submit, jobs)))


def _measured(submit: Callable[[], Any], jobs: int) -> dict[str, float]:
    """Submissions a second, and of each: requests of botocore, to whatever service, and milliseconds of processor."""
    from unittest import mock  # loads asyncio, which is no part of a cold submission

    from botocore.httpsession import URLLib3Session

    sent, send = 0, URLLib3Session.send

    def counted(session: URLLib3Session, request: Any) -> Any:
        nonlocal sent
        sent += 1
        return send(session, request)

    with mock.patch.object(URLLib3Session, "send", counted):
        began, processor = time.perf_counter(), time.process_time()
        for _ in range(jobs):
            submit()
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
    return {"submitted": jobs / seconds, "requests": sent / jobs, "processor": processor / jobs * 1000}


if __name__ == "__main__":
    main()
