"""One contender in an interpreter of its own: `python -m benchmarks.kubernetes.contenders NAME JOBS DIRECTORY`.

Submits once, unmeasured, then JOBS times, and prints the milliseconds of each. With JOBS 0 it submits once from cold.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

IMAGE, COMMAND = "example.com/base:1", ["python3", "train.py"]
NAMESPACE = "ml"
JOBS_PATH = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
Submit = Callable[[], Any]


def client(directory: Path) -> Any:
    """The client of lyftlearn, for this benchmark's server."""
    import lyftlearn

    table = {"kubeconfig": str(directory / "kubeconfig")}
    config = {"backend": "kubernetes", "home": str(directory / "home"), "kubernetes": table}
    return lyftlearn.Client(config={**config, "storage": {"url": "s3://bucket/lyftlearn"}})


def lyftlearn(directory: Path) -> Submit:
    """The public API."""
    own = client(directory)
    return lambda: own.train("bench", command=COMMAND, image=IMAGE, hyperparameters={"rate": 0.1})


def httpx2(directory: Path) -> Submit:
    """A bare loop over the transport that lyftlearn uses, with the Job that lyftlearn sends."""
    import httpx2

    http = httpx2.Client(base_url=_server(directory), headers={"Authorization": "Bearer bench"})
    return lambda: http.post(JOBS_PATH, json=_job(directory)).raise_for_status().json()


def urllib3(directory: Path) -> Submit:
    """The same over urllib3."""
    import urllib3

    http, url = urllib3.PoolManager(), _server(directory) + JOBS_PATH
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
    return lambda: json.loads(http.request("POST", url, body=json.dumps(_job(directory)), headers=headers).data)


def lightkube(directory: Path) -> Submit:
    """The same Job as lightkube's typed object."""
    from lightkube import Client, KubeConfig
    from lightkube.resources.batch_v1 import Job

    api: Any = Client(config=KubeConfig.from_file(directory / "kubeconfig"))
    return lambda: api.create(Job.from_dict(_job(directory)))


def kubernetes(directory: Path) -> Submit:
    """The same Job through the official client."""
    official: Any = import_module("kubernetes")
    official.config.load_kube_config(str(directory / "kubeconfig"))
    api = official.client.BatchV1Api()
    return lambda: api.create_namespaced_job(NAMESPACE, _job(directory))


def torchx(directory: Path) -> Submit:
    """The Kubernetes scheduler of torchx."""
    os.environ["KUBECONFIG"] = str(directory / "kubeconfig")
    specs: Any = import_module("torchx.specs")
    scheduler: Any = import_module("torchx.schedulers.kubernetes_scheduler").create_scheduler("bench")
    resource = specs.Resource(cpu=1, gpu=0, memMB=2048)
    role = specs.Role(name="bench", image=IMAGE, entrypoint=COMMAND[0], args=COMMAND[1:], resource=resource)
    options: Any = {"queue": "default", "namespace": NAMESPACE, "image_repo": "example.com/base"}
    return lambda: scheduler.submit(specs.AppDef(name="bench", roles=[role]), options)


def kubeflow(directory: Path) -> Submit:
    """The kubeflow SDK's trainer, with a runtime that was looked up before."""
    os.environ["KUBECONFIG"] = str(directory / "kubeconfig")
    sdk: Any = import_module("kubeflow.trainer")
    types: Any = import_module("kubeflow.trainer.types.types")
    trainer = types.RuntimeTrainer(
        trainer_type=types.TrainerType.CUSTOM_TRAINER, framework="torch", image=IMAGE, num_nodes=1
    )
    runtime = types.Runtime(name="torch-distributed", trainer=trainer)
    api = sdk.TrainerClient()
    return lambda: api.train(runtime=runtime, trainer=sdk.CustomTrainerContainer(image=IMAGE, num_nodes=1))


CONTENDERS: dict[str, Callable[[Path], Submit]] = {
    contender.__name__: contender for contender in (lyftlearn, httpx2, urllib3, lightkube, kubernetes, torchx, kubeflow)
}


def _server(directory: Path) -> str:
    url: str = json.loads((directory / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
    return url


def _job(directory: Path) -> dict[str, Any]:
    """The Job of lyftlearn under a name of its own."""
    if not _kept:
        _kept.append(json.loads((directory / "job.json").read_text()))
    body: dict[str, Any] = _kept[0]
    return {**body, "metadata": {**body["metadata"], "name": f"bench-{os.urandom(8).hex()}"}}


_kept: list[Any] = []


def keep_plan(directory: Path) -> None:
    """Write the Job that lyftlearn would send."""
    from lyftlearn import ops

    made = ops.plan("train", client=client(directory), model="bench", command=COMMAND, image=IMAGE).plan
    (directory / "job.json").write_text(json.dumps(made.requests[-1].body))


def main() -> None:
    name, count, directory = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    submit = CONTENDERS[name](directory)
    submit()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        submit()
        times.append((time.perf_counter() - began) * 1000)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
