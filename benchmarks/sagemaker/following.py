"""Requests while many jobs are followed, by polling and with a queue."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
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
    heading = ["", "lists/s running", "describes running", "lists/s ending", "describes ending", "all ended after"]
    rows = [[name, *(f"{value:.2f}" for value in each.values())] for name, each in figures.items()]
    print(measure.table(f"{jobs} jobs followed for {seconds:g} s", heading, rows))
    return figures


def _follow(service: SageMaker, home: Path, jobs: int, seconds: float, queue: str | None) -> dict[str, float]:
    import lyftlearn

    service.ask("reset")
    if queue:
        service.ask("publish")
    table = {"role": ROLE, "image": IMAGE, "region": "us-east-1", **({"events": queue} if queue else {})}
    storage = {"url": f"s3://{BUCKET}/following"}
    client = lyftlearn.Client(
        config={"backend": "sagemaker", "home": str(home), "storage": storage, "sagemaker": table}
    )
    handles = [client.train("bench", command=["true"]) for _ in range(jobs)]
    before = _counted(service)
    waiting = threading.Thread(
        target=client.wait, args=(handles, _PATIENCE), kwargs={"check": False, "progress": False}
    )
    began = time.monotonic()
    waiting.start()
    time.sleep(seconds)
    running, while_running = _counted(service), time.monotonic() - began
    service.ask("finish")
    ended_at = time.monotonic()
    waiting.join()
    took = time.monotonic() - ended_at
    ending = _counted(service)
    lists, describes = "ListTrainingJobs", "DescribeTrainingJob"
    return {
        "lists a second while running": (running[lists] - before[lists]) / while_running,
        "describes while running": running[describes] - before[describes],
        "lists a second while ending": (ending[lists] - running[lists]) / max(1.0, took),
        "describes while ending": ending[describes] - running[describes],
        "seconds until all had ended": took,
    }


def _counted(service: SageMaker) -> Counter[str]:
    return Counter(operation for _, operation in json.loads(service.ask("seen")))


def _queue() -> str:
    import boto3

    sqs, events = boto3.client("sqs"), boto3.client("events")
    url: str = sqs.create_queue(QueueName="bench")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Training Job State Change"]}
    events.put_rule(Name="bench", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="bench", Targets=[{"Id": "bench", "Arn": arn}])
    return url
