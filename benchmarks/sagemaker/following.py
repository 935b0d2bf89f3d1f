"""Requests while many jobs are followed, by polling and with a queue."""

from __future__ import annotations

import json
import resource
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.sagemaker.servers import BUCKET, IMAGE, ROLE, SageMaker

_PATIENCE = "20m"


def followed(service: SageMaker, home: Path, jobs: int, seconds: float) -> dict[str, Any]:
    """Follow `jobs` for `seconds`, then let all finish at once, with either source of events."""
    figures = {
        "polling": _follow(service, home / "polling", jobs, seconds, None),
        "queue": _follow(service, home / "queue", jobs, seconds, _queue()),
    }
    heading = [
        "",
        "lists",
        "in a second",
        "describes",
        "lists, ending",
        "in a second",
        "describes",
        "all ended after",
        "submitted",
        "peak MB",
    ]
    rows = [[name, *(f"{value:g}" for value in each.values())] for name, each in figures.items()]
    print(measure.table(f"{jobs} jobs followed for {seconds:g} s", heading, rows))
    return figures


def _follow(service: SageMaker, home: Path, jobs: int, seconds: float, queue: str | None) -> dict[str, float]:
    import lyftlearn

    service.ask("reset")
    table = {"role": ROLE, "image": IMAGE, "region": "us-east-1", **({"events": queue} if queue else {})}
    storage = {"url": f"s3://{BUCKET}/following"}
    client = lyftlearn.Client(
        config={"backend": "sagemaker", "home": str(home), "storage": storage, "sagemaker": table}
    )
    handles, rate = measure.submit_from_threads(lambda: client.train("bench", command=["true"]), jobs)
    if queue:
        service.ask("publish")
    waiting = threading.Thread(
        target=client.wait, args=(handles, _PATIENCE), kwargs={"check": False, "progress": False}
    )
    before = len(_seen(service))
    waiting.start()
    time.sleep(seconds)
    running = _seen(service)
    ended_at = time.monotonic()
    service.ask("finish")
    waiting.join()
    took = time.monotonic() - ended_at
    return {
        **_figures("running", running[before:]),
        **_figures("ending", _seen(service)[len(running) :]),
        "seconds until all had ended": round(took, 1),
        "submitted a second": round(rate, 1),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _figures(when: str, seen: list[tuple[float, str]]) -> dict[str, float]:
    """Lists, the most of them that came within one second, and describes."""
    lists = [at for at, operation in seen if operation == "ListTrainingJobs"]
    most = max((sum(start <= at < start + 1 for at in lists) for start in lists), default=0)
    describes = sum(operation == "DescribeTrainingJob" for _, operation in seen)
    return {f"lists {when}": len(lists), f"most lists a second {when}": most, f"describes {when}": describes}


def _seen(service: SageMaker) -> list[tuple[float, str]]:
    seen: list[tuple[float, str]] = json.loads(service.ask("seen"))
    return seen


def _queue() -> str:
    import boto3

    sqs, events = boto3.client("sqs"), boto3.client("events")
    url: str = sqs.create_queue(QueueName="bench")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Training Job State Change"]}
    events.put_rule(Name="bench", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="bench", Targets=[{"Id": "bench", "Arn": arn}])
    return url
