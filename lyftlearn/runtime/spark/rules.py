"""What a bundle says about Spark, checked: nothing of it is trusted."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SERVER = re.compile(r"https?://[^\s/]+(/\S*)?")
_LAST_PORT = 65535 - 47


def spark_faults(spark: dict[str, Any]) -> list[str]:
    """Every fault of the field `spark`."""
    conf, jars = spark.setdefault("conf", {}), spark.setdefault("jars", [])
    faults = []
    if not isinstance(conf, dict) or not all(_is_setting(name, value) for name, value in conf.items()):
        faults.append("spark.conf: expected names that begin with spark., and a line of text for each")
    if not isinstance(jars, list) or not all(_is_line(jar) for jar in jars):
        faults.append("spark.jars: expected a list of lines of text")
    if spark.get("executors") not in ("local", "kubernetes"):
        faults.append(f"spark.executors: expected 'local' or 'kubernetes', saw {spark.get('executors')!r}")
    return faults + (_cluster_faults(spark) if spark.get("executors") == "kubernetes" else [])


def _cluster_faults(spark: dict[str, Any]) -> list[str]:
    port = spark.setdefault("first_port", 7078)
    faults = [] if type(port) is int and 1024 <= port <= _LAST_PORT else ["spark.first_port: expected a port"]
    faults += [
        f"spark.{field}: expected a name or null"
        for field in ("namespace", "credentials", "service_account")
        if not (spark.get(field) is None or (isinstance(spark[field], str) and _NAME.fullmatch(spark[field])))
    ]
    faults += [
        f"spark.{field}: expected 1 or more, or null"
        for field in ("instances", "cores", "memory")
        if not (spark.get(field) is None or (type(spark[field]) is int and spark[field] > 0))
    ]
    server, image, source = spark.get("server"), spark.get("image"), spark.get("source")
    if not (server is None or (isinstance(server, str) and _SERVER.fullmatch(server))):
        faults.append("spark.server: expected a URL or null")
    if not (image is None or _is_line(image)):
        faults.append("spark.image: expected a name or null")
    if not (source is None or (isinstance(source, dict) and _is_line(source.get("uri")))):
        faults.append("spark.source: expected a uri, or null")
    if not isinstance(spark.setdefault("pod", {}), dict):
        faults.append("spark.pod: expected an object")
    return faults


def _is_setting(name: object, value: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"spark\.[^\s=:\\#!]+", name) is not None and _is_line(value)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and not set(value) & set("\0\r\n")
