"""Jobs on a Kubernetes cluster: one batch/v1 Job each, watched, never polled."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lyftlearn.backend import Backend, BackendSettings


def create(settings: BackendSettings) -> Backend:
    """Return the backend of `settings`. Nothing is contacted yet."""
    from lyftlearn_kubernetes.backend import KubernetesBackend  # noqa: PLC0415 - only for those who use it

    return KubernetesBackend(settings)
