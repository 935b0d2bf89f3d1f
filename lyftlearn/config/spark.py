"""`[spark]`: where Spark's executors run, what they have, and what its configuration says in every job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from lyftlearn._contract.fault import Fault
from lyftlearn._contract.options import (
    TABLE,
    TEXT,
    TEXTS,
    Kind,
    Option,
    matching,
    one_of,
    whole_number,
)
from lyftlearn._text.quantities import quantity

if TYPE_CHECKING:
    from lyftlearn._contract.spec_parts import SparkSpec

KUBERNETES = "kubernetes"
_PORTS_NEEDED = 48  # of the driver, of its block manager, and of the executors' block managers, 16 sessions each
_DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SMALLEST = 1 << 29  # less holds no Java process and Python
# What Spark itself shows to nobody begins like this: `spark.redaction.regex`.
_HIDDEN = r"(?i)(secret|password|token|(access|secret)[._-]?key)$"
_LOOKED_UP = "${"  # Hadoop's and Spark's own way to name a variable, such as `${env.KEY}`


def _size(value: Any) -> int:
    """Return bytes. Raises ValueError for what is no size of an executor."""
    try:
        size = quantity(value)
    except ValueError:
        raise ValueError from None
    if size < _SMALLEST:
        raise ValueError
    return size


def _settings(value: Any) -> dict[str, str]:
    """Return settings by their whole name, whether a file quotes it or TOML took its dots for tables.

    What is wrong with one is told by `spark_faults`, without its value: it may be a secret.
    """
    if not isinstance(value, Mapping):
        raise ValueError  # noqa: TRY004 - as every kind of value does
    return {name: _text(setting) or "" for name, setting in _flat(value)}


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str | None:
    """Return a setting as Spark reads it; None for what is none."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) and "\n" not in str(value) else None


_NAME = matching(_DNS_LABEL, "a DNS label: lower-case letters, digits and '-', at most 63")
_SERVER = matching(r"https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~/-]*)?", "the URL of an API server, https://...")
_SIZE = Kind('a size of 512Mi or more, such as "4Gi"', _size, {"type": "string"})
_CONF = Kind(
    'a table of Spark\'s settings, such as { "spark.sql.shuffle.partitions" = "64" }',
    _settings,
    {"type": "object", "propertyNames": {"pattern": "^spark"}},
)
SPARK = (
    Option(
        key="executors",
        kind=one_of("local", KUBERNETES),
        default="local",
        doc="Where executors run: in the job's own container (Spark's local mode), or as pods on Kubernetes. On this "
        "machine always the first.",
        example=KUBERNETES,
    ),
    Option(
        key="images",
        kind=TEXTS,
        doc="The images that have Spark, as calls or `[jobs] image` name them; `*` stands for any letters. Every "
        "job's, where it is not set.",
        example=["lyftlearn-distributed:*"],
    ),
    Option(
        key="instances",
        kind=whole_number(1, 10_000),
        doc="How many executors a session has. By default what the image's own configuration says, or 2.",
        example=8,
    ),
    Option(
        key="cores",
        kind=whole_number(1, 1024),
        doc="The cores of each executor. By default as many whole ones as the job has.",
        example=4,
    ),
    Option(
        key="memory",
        kind=_SIZE,
        doc="The memory of each executor's pod: five of seven parts are Java's heap. By default what the job has.",
        example="8Gi",
    ),
    Option(
        key="image",
        kind=TEXT,
        doc="The image of executors, with the Spark and the Python of the job's. By default the job's own.",
        example="registry.example/lyftlearn-distributed:1.1",
    ),
    Option(
        key="namespace",
        kind=_NAME,
        doc="Where executors are created. By default the job's own namespace, where it has one.",
        example="ml",
    ),
    Option(
        key="service_account",
        kind=TEXT,
        doc="The service account of executors. By default the one that a pod of the backend has, or the namespace's.",
        example="trainer",
    ),
    Option(
        key="server",
        kind=_SERVER,
        doc="The cluster's API server, as jobs outside of it reach it.",
        example="https://cluster.example:6443",
    ),
    Option(
        key="credentials",
        kind=matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "the name of a secret"),
        doc="The secret with `token` and `ca.crt` by which jobs outside of the cluster create executors: the keys of "
        "a service account's token.",
        example="spark-cluster",
    ),
    Option(
        key="first_port",
        kind=whole_number(1024, 65535 - _PORTS_NEEDED + 1),
        default=7078,
        doc="The first of 48 ports: 32 at which executors reach the driver, and 16 at which they are reached.",
        example=20000,
    ),
    Option(
        key="pod",
        kind=TABLE,
        doc="What executors' pods have beside what lyftlearn and Spark say, as Kubernetes writes a pod.",
        example={"spec": {"nodeSelector": {"pool": "spark"}}},
    ),
    Option(
        key="jars",
        kind=TEXTS,
        doc="Further JARs, for the driver and for executors (`spark.jars`): `local://` names one of the image.",
        example=["local:///opt/jars/delta-spark.jar"],
    ),
    Option(
        key="conf",
        kind=_CONF,
        doc="Further settings of Spark. They win over those of the image, and over what lyftlearn derives.",
        example={"spark.sql.shuffle.partitions": "64"},
    ),
)


def spark_spec(values: Mapping[str, Any], image: str | None, executor_image: str | None) -> SparkSpec | None:
    """Return what a job whose image is called `image` gets; None where that image has no Spark.

    values: of `SPARK`, by `spark.<key>`. executor_image: the name of executors' image on Kubernetes.
    """
    patterns = values["spark.images"]
    if patterns is not None and not any(fnmatchcase(image or "", pattern) for pattern in patterns):
        return None
    from lyftlearn._contract.spec_parts import SparkSpec  # noqa: PLC0415 - only for those who have Spark

    return SparkSpec(
        on_kubernetes=values["spark.executors"] == KUBERNETES,
        instances=values["spark.instances"],
        cores=values["spark.cores"],
        memory=values["spark.memory"],
        image=executor_image,
        namespace=values["spark.namespace"],
        service_account=values["spark.service_account"],
        server=values["spark.server"],
        credentials=values["spark.credentials"],
        first_port=values["spark.first_port"],
        pod=values["spark.pod"] or {},
        jars=tuple(values["spark.jars"] or ()),
        conf=values["spark.conf"] or {},
    )


def spark_faults(table: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong in the table `[spark]` of all files together; a setting's value is not repeated."""
    pair = ("server", "credentials")
    missing = [key for key in pair if key not in table]
    if len(missing) == 1:
        there = next(key for key in pair if key in table)
        yield Fault(f"spark.{missing[0]}", f"is missing, and {there} is set: write both, or neither")
    conf = table.get("conf")
    for name, value in _flat(conf if isinstance(conf, Mapping) else {}):
        text = _text(value)
        if not name.startswith("spark."):
            yield Fault(f"spark.conf.{name}", "is no setting of Spark: write a name that begins with spark.")
        elif text is None:
            yield Fault(
                f"spark.conf.{name}", "is not what Spark reads: write one line of text, a number, true or false"
            )
        elif re.search(_HIDDEN, name) and _LOOKED_UP not in text:
            remedy = 'put it into a secret of the job, and write "${env.NAME}" with the name of its key'
            yield Fault(f"spark.conf.{name}", f"is a secret by its name, and everybody reads this file: {remedy}")
