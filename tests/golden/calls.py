"""The calls whose jobs, ids and digests a corpus keeps. What stands here never changes: add calls, edit none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lyftlearn import Resources

WORKSPACE = Path(__file__).parent / "workspace"
CODE, RIDES = str(WORKSPACE / "code"), str(WORKSPACE / "rides")
TRAIN: Mapping[str, Any] = {
    "model": "eta",
    "command": "python3 train.py",
    "source": CODE,
    "hyperparameters": {"rate": "1.10", "depth": 7, "whole": 2**60, "none": None, "nested": {"b": [1, 1.0, True]}},
    "inputs": {"rides": RIDES},
    "env": {"HELLO": "wörld $(LYFTLEARN_JOB_ID)"},
    "labels": {"team": "maps", "example.com/tier": "gold"},
}
KEYED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "least": ("train", {"model": "eta", "command": "true"}),
    "argv": ("train", {"model": "eta", "command": ["python3", "-c", "print('é')"]}),
    "whole": ("train", TRAIN),
    "default-resources": ("train", {"model": "eta", "command": "true", "resources": Resources()}),
    "resources": (
        "train",
        {
            "model": "eta",
            "command": "true",
            "resources": Resources(cpu=0.5, memory="3Gi", gpu=1, gpu_type="A10G", disk="40Gi", shared_memory="64Mi"),
        },
    ),
    "times": ("train", {"model": "eta", "command": "true", "timeout": "90m", "retries": 2}),
    "nodes": ("train", {"model": "eta", "command": "true", "nodes": 3, "secrets": ["warehouse", "maps"]}),
    "image": ("train", {"model": "eta", "command": "true", "image": "example.com/base:2"}),
    "single-file": ("process", {"name": "clean", "command": "true", "inputs": {"i": f"{RIDES}/jan.txt"}}),
    "bucket": ("process", {"name": "clean", "command": "true", "inputs": {"i": "s3://rides/raw/"}}),
    "outputs": ("process", {"name": "clean", "command": "true", "outputs": ["a", "b"]}),
    "output-uris": (
        "process",
        {"name": "clean", "command": "true", "outputs": {"a": None, "b": "s3://rides/clean", "c": "file:///rides/c"}},
    ),
    "predict": (
        "predict",
        {"model": "eta", "command": "true", "artifact": "s3://models/eta/model.tar.gz", "inputs": {"i": RIDES}},
    ),
    "local-artifact": ("predict", {"model": "eta", "command": "true", "artifact": RIDES, "inputs": {"i": RIDES}}),
}
"""Calls that are planned with the key `nightly`, for their digests and ids."""

WAITING = "echo waiting; while true; do sleep 0.1; done"
JOBS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "trained": ("train", TRAIN),
    "processed": (
        "process",
        {
            "name": "clean",
            "command": "cat $LYFTLEARN_INPUTS_DIR/rides/* > $LYFTLEARN_OUTPUTS_DIR/clean/all.txt; "
            "echo x > $LYFTLEARN_OUTPUTS_DIR/rest/x.txt",
            "inputs": {"rides": RIDES},
            "outputs": ["clean", "rest"],
        },
    ),
    "failed": ("train", {"model": "eta", "command": "echo why >&2; exit 3"}),
    "retried": (
        "train",
        {"model": "eta", "command": "echo run $LYFTLEARN_ATTEMPT; [ $LYFTLEARN_ATTEMPT = 2 ]", "retries": 1},
    ),
    "stopped": ("train", {"model": "eta", "command": WAITING}),
}
"""Jobs that are brought to their end on every backend. A sixth, `predicted`, reads the model of the first."""


def predict_from(artifact: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the call that reads the model of a train job."""
    arguments = {"model": "eta", "command": "python3 predict.py", "artifact": artifact}
    return "predict", {**arguments, "source": CODE, "inputs": {"rides": RIDES}}
