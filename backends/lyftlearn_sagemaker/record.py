"""What lyftlearn stores with a training job: in its Environment, which Describe returns, and in its tags, for Search.

The variables are hidden from the command by the runtime. A text longer than a variable may be is spread over several.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import JobRecord
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn.events import JobEvent

TAG_CHARACTERS = r"\w \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Java's letters, digits and separators: of what Python takes for space, tabs and line ends are none."""
_VARIABLE = "LYFTLEARN_SUBSTRATE_JOB_"
_LONGEST_VALUE, _LONGEST_TAG, _LONGEST_TAG_KEY, MOST_TAGS = 512, 256, 128, 50
_NO_TAG_CHARACTER = re.compile(rf"[^{TAG_CHARACTERS}.:/=+\-@]")
TAG = "lyftlearn:"
OWN_TAGS = 4
"""Tags of a job beside its labels and those of the configuration."""
ATTEMPT_METRIC = "lyftlearn:attempt"
"""The metric that SageMaker reads the number of the last attempt from, out of the log."""
FROM_SAGEMAKER = "Received status from SageMaker:"
"""What AWS Batch writes before SageMaker's own words about a training job, with a space after it or without."""
SOURCE, ARTIFACT = "lyftlearn-source", "lyftlearn-artifact"
"""The channels that lyftlearn adds for the source and the artifact of a job."""
MOUNT_CHANNEL = "lyftlearn-mount-"
"""How the names of channels begin that lyftlearn adds to mount a file system."""


def environment(spec: JobSpec) -> dict[str, str]:
    """Return the variables that say what job this is."""
    return {name: part for key, text in _texts(spec).items() for name, part in _spread(f"{_VARIABLE}{key}", text)}


def of_queue(spec: JobSpec) -> dict[str, str]:
    """Return the variable that says what job this is where AWS Batch names the training job."""
    return {f"{_VARIABLE}ID": spec.id}


def id_of(job: Mapping[str, Any]) -> str:
    """Return the id of the job that a training job is, or is an attempt of."""
    named: str = job["TrainingJobName"]
    return str((job.get("Environment") or {}).get(f"{_VARIABLE}ID", named))


def is_queued(job: Mapping[str, Any]) -> bool:
    """Whether a training job is an attempt of a job in a queue, so that the queue alone knows whether it is over."""
    return f"{_VARIABLE}ID" in (job.get("Environment") or {})


def variables_by_field(spec: JobSpec) -> dict[str, int]:
    """Return how many of those variables each field of the job takes that may take many."""
    texts = _texts(spec)
    return {field: len(list(_spread("", texts[field.upper()]))) for field in ("outputs", "labels", "decision")}


def _texts(spec: JobSpec) -> dict[str, str]:
    return {
        "NAME": spec.name,
        "KIND": str(spec.kind),
        "DIGEST": spec.digest,
        "DECISION": json.dumps(spec.decision),
        "LABELS": json.dumps(dict(spec.labels)),
        "OUTPUTS": json.dumps(dict(spec.output_uris)),
        "RETRIES": str(spec.retries),
    }


def tags(spec: JobSpec) -> dict[str, str]:
    """Return the tags that the job is found by."""
    decision = _readable(spec.decision)
    own = {"name": spec.name, "kind": str(spec.kind), "digest": spec.digest, "decision": decision}
    texts = {f"{TAG}{key}": _NO_TAG_CHARACTER.sub(" ", text)[:_LONGEST_TAG] for key, text in own.items()}
    return texts | {label_tag(key): value for key, value in spec.labels.items()}


def _readable(decision: str) -> str:
    """Return a Decision, which is JSON, in the characters that a tag may have: `backend=sagemaker stage=live`."""
    try:
        facts = json.loads(decision)
    except ValueError:
        return decision
    if not isinstance(facts, dict):
        return decision
    return " ".join(f"{key}={value}" for key, value in facts.items() if isinstance(value, str | int | float))


def label_tag(label: str) -> str:
    """Return the tag's key for a label: readable, unless the label is longer than a key may be."""
    key = f"{TAG}label/{label}"
    return key if len(key) <= _LONGEST_TAG_KEY else f"{TAG}label/sha256:{sha256(label.encode()).hexdigest()}"


def record_of_job(job: Mapping[str, Any], event: JobEvent) -> JobRecord | None:
    """Return the record of a job as Describe or Search returned it, or None if lyftlearn did not submit the job."""
    variables = job.get("Environment", {})
    if f"{_VARIABLE}KIND" not in variables:
        return None
    return JobRecord(
        id=id_of(job),
        kind=JobKind(_text(variables, "KIND")),
        name=_text(variables, "NAME"),
        labels=_table(variables, "LABELS"),
        digest=_text(variables, "DIGEST"),
        decision=str(json.loads(_text(variables, "DECISION"))),
        event=event,
        outputs=_table(variables, "OUTPUTS"),
        nodes=job.get("ResourceConfig", {}).get("InstanceCount"),
    )


def field_of(channel: str) -> str:
    """Return the field of the job that a channel carries."""
    if channel.startswith(MOUNT_CHANNEL):
        return f"mounts.{channel.removeprefix(MOUNT_CHANNEL)}"
    return {SOURCE: "source", ARTIFACT: "artifact"}.get(channel, f"inputs.{channel}")


def _spread(name: str, text: str) -> Iterator[tuple[str, str]]:
    yield name, text[:_LONGEST_VALUE]
    for number, start in enumerate(range(_LONGEST_VALUE, len(text), _LONGEST_VALUE), start=2):
        yield f"{name}_{number}", text[start : start + _LONGEST_VALUE]


def _table(variables: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the texts of a table. Values that are no text are left out: who may change variables wrote them."""
    return {name: value for name, value in json.loads(_text(variables, key)).items() if isinstance(value, str)}


def _text(variables: Mapping[str, str], key: str) -> str:
    parts, name = [], f"{_VARIABLE}{key}"
    while name in variables:
        parts.append(variables[name])
        name = f"{_VARIABLE}{key}_{len(parts) + 1}"
    return "".join(parts)
