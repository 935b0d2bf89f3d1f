"""What every session is told, and all that a session in local mode is."""

from __future__ import annotations

from .conf_files import Settings
from .home import credentials_provider

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..bundle import Bundle
    from ..layout import Layout

LOOPBACK = "127.0.0.1"
SESSIONS = 16
"""Of one container, each with a port of the driver, one of its block manager, and one of its executors'."""
MIB = 1 << 20
_OVERHEAD = 0.4
"""What Python and all else beside Java's heap take, as a part of the heap: `spark.kubernetes.memoryOverheadFactor` of
programs in Python."""
_LEAST_OVERHEAD = 384 * MIB
"""`spark.executor.minMemoryOverhead`."""
S3A = "spark.hadoop.fs.s3a"


def local_settings(bundle: Bundle, layout: Layout, variables: Mapping[str, str], home: str) -> Settings:
    """The driver is its own executor, and nobody else reaches it. Names: Spark's "Spark Configuration"."""
    settings, spark, resources = Settings(), bundle["spark"], bundle["resources"]
    settings.placed = {
        "spark.master": f"local[{max(1, int(resources['cpu']))}]",
        "spark.submit.deployMode": "client",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
    }
    settings.derived = {
        "spark.local.dir": layout.at("tmp"),
        "spark.ui.enabled": "false",  # a server that nobody has to show who they are to
        "spark.ui.showConsoleProgress": "false",
        **({"spark.driver.memory": f"{heap(resources['memory']) // MIB}m"} if resources["memory"] else {}),
        **_s3(variables, home),
    }
    settings.configured = {**({"spark.jars": ",".join(spark["jars"])} if spark.get("jars") else {}), **spark["conf"]}
    return settings


def heap(memory: int) -> int:
    """The bytes of `memory` that are Java's heap: it, and what comes on top of it, are no more than `memory`."""
    return max(memory // 2, min(int(memory / (1 + _OVERHEAD)), memory - _LEAST_OVERHEAD))


def _s3(variables: Mapping[str, str], home: str) -> dict[str, str]:
    """`s3://` and `s3a://`, with the credentials and the region that everything else in the job has."""
    provider = credentials_provider(home)
    if provider is None:
        return {}
    endpoint = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL")
    region = variables.get("AWS_REGION")
    return {
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        f"{S3A}.aws.credentials.provider": provider,
        **({f"{S3A}.endpoint.region": region} if region else {}),
        **({f"{S3A}.endpoint": endpoint, f"{S3A}.path.style.access": "true"} if endpoint else {}),
    }
