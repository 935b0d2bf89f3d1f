"""One contender in an interpreter of its own: `python -m benchmarks.kubernetes.contenders NAME JOBS DIRECTORY`.

Submits once, unmeasured, then JOBS times, and prints the milliseconds of each, and those of its processor. With JOBS 0
it submits once from cold.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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


def bare(directory: Path) -> Submit:
    """A bare loop over the transport that lyftlearn uses, with the Job that lyftlearn sends."""
    server = urlsplit(address(directory))
    connection = http.client.HTTPConnection(str(server.hostname), server.port)
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}

    def submit() -> Any:
        connection.request("POST", JOBS_PATH, json.dumps(_job(directory)), headers)
        return json.loads(connection.getresponse().read())

    return submit


def urllib3(directory: Path) -> Submit:
    """The same over urllib3."""
    import urllib3

    pool, url = urllib3.PoolManager(), address(directory) + JOBS_PATH
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
    return lambda: json.loads(pool.request("POST", url, body=json.dumps(_job(directory)), headers=headers).data)


def lightkube(directory: Path) -> Submit:
    """The same Job as lightkube's typed object."""
    typed: Any = import_module("lightkube")
    job: Any = import_module("lightkube.resources.batch_v1").Job
    api = typed.Client(config=typed.KubeConfig.from_file(directory / "kubeconfig"))
    return lambda: api.create(job.from_dict(_job(directory)))


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
    """The kubeflow SDK's trainer, as its documentation calls it: it looks up the runtime for each job."""
    api, trainer = _kubeflow(directory)
    return lambda: api.train(trainer=trainer)


def kubeflow_given(directory: Path) -> Submit:
    """The same, with a runtime that the caller has looked up before."""
    api, trainer = _kubeflow(directory)
    runtime = api.get_runtime("torch-distributed")
    return lambda: api.train(runtime=runtime, trainer=trainer)


def _kubeflow(directory: Path) -> tuple[Any, Any]:
    os.environ["KUBECONFIG"] = str(directory / "kubeconfig")
    logging.disable(logging.WARNING)  # the server has no ConfigMap of its control plane's version
    sdk: Any = import_module("kubeflow.trainer")
    resources = {"cpu": 1, "memory": "2Gi"}
    return sdk.TrainerClient(), sdk.CustomTrainerContainer(image=IMAGE, num_nodes=1, resources_per_node=resources)


CONTENDERS: dict[str, tuple[str, Callable[[Path], Submit]]] = {
    "lyftlearn": ("lyftlearn", lyftlearn),
    "bare loop": ("http", bare),
    "urllib3": ("urllib3", urllib3),
    "lightkube": ("lightkube", lightkube),
    "kubernetes": ("kubernetes", kubernetes),
    "torchx": ("torchx", torchx),
    "kubeflow": ("kubeflow", kubeflow),
    "kubeflow, runtime given": ("kubeflow", kubeflow_given),
}
"""Each with the package that it needs."""


def address(directory: Path) -> str:
    """Return where the benchmark's server is."""
    return (directory / "address").read_text()


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
    _, contender = CONTENDERS[name]
    submit = contender(directory)
    submit()
    times: dict[str, list[float]] = {"ms": [], "cpu ms": []}
    for _ in range(count):
        began, began_cpu = time.perf_counter(), time.process_time()
        submit()
        times["cpu ms"].append((time.process_time() - began_cpu) * 1000)
        times["ms"].append((time.perf_counter() - began) * 1000)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
