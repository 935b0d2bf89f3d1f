"""Nodes that start together or not at all: PodGroups, as the schedulers that know them want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lyftlearn_kubernetes import labels

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_kubernetes.options import Options

COSCHEDULING, VOLCANO = "scheduling.x-k8s.io", "scheduling.volcano.sh"
COSCHEDULING_LABEL = "scheduling.x-k8s.io/pod-group"
VOLCANO_ANNOTATION = "scheduling.k8s.io/group-name"


class Gang:
    """What the pods of a job carry so that their scheduler knows them as a group; nothing where there is no group."""

    def __init__(self, spec: JobSpec, options: Options) -> None:
        self._spec = spec
        self._options = options
        self._group = (options.gang or "").partition("/")[0] if spec.nodes > 1 else ""

    @property
    def exists(self) -> bool:
        """Whether the job has a PodGroup of its own."""
        return bool(self._group)

    @property
    def pod_labels(self) -> dict[str, str]:
        """Labels of the pods."""
        return {COSCHEDULING_LABEL: self._spec.id} if self._group == COSCHEDULING else {}

    @property
    def pod_annotations(self) -> dict[str, str]:
        """Annotations of the pods."""
        return {VOLCANO_ANNOTATION: self._spec.id} if self._group == VOLCANO else {}

    @property
    def pod_fields(self) -> dict[str, Any]:
        """Fields of the pods' spec."""
        if not self._group or self._group in (COSCHEDULING, VOLCANO):
            return {}
        return {"schedulingGroup": {"podGroupName": self._spec.id}}

    def pod_group(self) -> dict[str, Any]:
        """Return the PodGroup. It has the job's name, and is created before it."""
        nodes, namespace = self._spec.nodes, self._options.namespace
        others = self._group in (COSCHEDULING, VOLCANO)
        spec = {"minMember": nodes} if others else {"schedulingPolicy": {"gang": {"minCount": nodes}}}
        return {
            "apiVersion": self._options.gang,
            "kind": "PodGroup",
            "metadata": {
                "name": self._spec.id,
                **({"namespace": namespace} if namespace else {}),
                "labels": {labels.MANAGED_BY: labels.OURS, labels.JOB: self._spec.id},
            },
            "spec": spec,
        }
