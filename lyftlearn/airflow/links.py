"""Buttons of a task in Airflow's UI. Their addresses are known as soon as the job is, and kept as XComs."""

# Airflow has an environment of its own.
# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink

from lyftlearn._client import Client


class JobLink(BaseOperatorLink):
    """A link that the operator knows by its `xcom_key`."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address, which Airflow asks for when the task ends; empty where there is none."""
        del ti_key
        return str(operator.links.get(self.xcom_key, ""))


class PlatformLink(JobLink):
    """Leads to the job in the console of its platform."""

    name = "Job on its platform"


class DashboardLink(JobLink):
    """Leads to the job in lyftlearn's dashboard."""

    name = "Job in the dashboard"


LINKS = (PlatformLink(), DashboardLink())


def links_of(client: Client, job_id: str) -> dict[str, str]:
    """Return the addresses of a job's pages, by the keys of their XComs, as far as there are any."""
    watch = client._watch_of(job_id)  # noqa: SLF001 - a friend of the client
    dashboard = client._config.dashboard_url  # noqa: SLF001 - as above
    addresses = (watch.backend.link(job_id), dashboard and f"{dashboard.rstrip('/')}/jobs/{job_id}")
    return {link.xcom_key: address for link, address in zip(LINKS, addresses, strict=True) if address}
