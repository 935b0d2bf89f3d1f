"""Jobs on this machine: each under a detached supervisor, its state in a directory, found by id from any process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lyftlearn.backend import Backend, BackendSettings


def create(settings: BackendSettings) -> Backend:
    """Return the backend called `settings.name`: `local`, `local-kubernetes` or `local-sagemaker`."""
    from lyftlearn_local.backend import LocalBackend  # noqa: PLC0415 - supervisors load this package without it

    return LocalBackend(settings)
