"""Nodes that start together or not at all: PodGroups, as the schedulers that know them want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.options import NO_GANG, OWN_GANGS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lyftlearn.backend import JobSpec
    from lyftlearn_kubernetes.options import Options

COSCHEDULING, VOLCANO = "scheduling.x-k8s.io", "scheduling.volcano.sh"
COSCHEDULING_LABEL = "scheduling.x-k8s.io/pod-group"
"""scheduler-plugins, apis/scheduling/v1alpha1/types.go: PodGroupLabel."""
VOLCANO_ANNOTATION = "scheduling.k8s.io/group-name"
"""volcano.sh/apis, pkg/apis/scheduling/v1beta1/labels.go: KubeGroupNameAnnotationKey."""


class Gang:
    """What the pods of a job carry so that their scheduler knows them as a group; nothing where there is no group."""

    def __init__(self, spec: JobSpec, options: Options) -> None:
        self._spec = spec
        self._options = options
        several = spec.nodes > 1
        self._api = options.gang if several and options.gang and options.gang != NO_GANG else ""
        self._group = self._api.partition("/")[0]
        is_queued = options.queue is not None or labels.QUEUE in options.labels
        self.is_looked_for = several and options.gang is None and not is_queued
        """Whether the submission takes Kubernetes' own PodGroups if the cluster has them. Kueue needs none."""

    @property
    def exists(self) -> bool:
        """Whether the job has a PodGroup of its own, whatever the cluster has."""
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
        namespace = self._options.namespace
        return {
            "apiVersion": self._api,
            "kind": "PodGroup",
            "metadata": {
                "name": self._spec.id,
                **({"namespace": namespace} if namespace else {}),
                "labels": {labels.MANAGED_BY: labels.OURS, labels.JOB: self._spec.id},
            },
            "spec": self._spec_of_group(),
        }

    def _spec_of_group(self) -> dict[str, Any]:
        if self._group not in (COSCHEDULING, VOLCANO):
            return {"schedulingPolicy": {"gang": {"minCount": self._spec.nodes}}}
        # Volcano orders groups by a priority of their own.
        priority = self._options.priority_class if self._group == VOLCANO else None
        return {"minMember": self._spec.nodes, **({"priorityClassName": priority} if priority else {})}

    def on(self, served: Collection[str]) -> Gang:
        """Return the gang on a cluster that serves these APIs: the newest of Kubernetes' own, or none."""
        own = next((api for api in OWN_GANGS if api in served), NO_GANG)
        return Gang(self._spec, self._options._replace(gang=own))

    def with_group(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return a planned Job whose pods belong to the group."""
        template = job["spec"]["template"]
        pods = {**template, "spec": {**template["spec"], **self.pod_fields}}
        return {**job, "spec": {**job["spec"], "template": pods}}
