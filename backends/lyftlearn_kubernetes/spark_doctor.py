"""What keeps executors of Spark and their drivers apart: network policies, and what a driver may not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Check, Verdict
from lyftlearn.errors import AccessDenied
from lyftlearn_kubernetes import labels
from lyftlearn_kubernetes.api.cluster import NETWORK_POLICIES
from lyftlearn_kubernetes.api.errors import translate_errors
from lyftlearn_kubernetes.submission.spark import DRIVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lyftlearn.backend import SparkSpec
    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.options import Options

_TO_DRIVER, _TO_EXECUTORS = 32, 16  # ports, as docs/how-to/spark.md lists them
_ANY = "any"


def checks(cluster: Cluster, spark: SparkSpec, options: Options) -> Iterator[Check]:
    """Yield whether both ways are open, as far as the network policies of the namespace say."""
    if not (options.spark_service_account or options.service_account):
        detail = "drivers create executors as the namespace's default account: set spark.service_account"
        yield Check("spark account", Verdict.WARNING, detail)
    try:
        with translate_errors("listing networkpolicies"):
            policies = list(cluster.list(NETWORK_POLICIES))
    except AccessDenied as exc:
        yield Check("spark network", Verdict.WARNING, f"network policies cannot be looked at: {exc}")
        return
    closed = list(_closed_ways(policies, spark.first_port, dict(options.labels)))
    for words in closed:
        yield Check("spark network", Verdict.FAILED, words)
    if not closed:
        first = spark.first_port
        ways = f"TCP {first}-{first + _TO_DRIVER - 1} to drivers and {first + _TO_DRIVER}-{first + 47} to executors"
        yield Check("spark network", Verdict.OK, f"no network policy of {cluster.namespace} keeps out {ways}")


def _closed_ways(policies: list[dict[str, Any]], first: int, own: dict[str, str]) -> Iterator[str]:
    """Yield each direction that is closed. What a policy selects gets nothing but what some policy lets in."""
    executor = {**own, DRIVER: _ANY, "spark-role": "executor"}
    ours = {labels.MANAGED_BY: labels.OURS, labels.JOB: _ANY, labels.NAME: _ANY}
    drivers = {"jobs": ours | {labels.KIND: "process"}, "notebooks": ours | {labels.KIND: "notebook"}}
    for what, driver in drivers.items():
        pod = {**own, **driver}
        for source, target, ports, words in (
            (executor, pod, (first, first + _TO_DRIVER - 1), f"from executors to the drivers of {what}"),
            (pod, executor, (first + _TO_DRIVER, first + 47), f"from the drivers of {what} to executors"),
        ):
            names = [one["metadata"]["name"] for one in policies if _isolates(one, target)]
            is_open = any(_lets_in(one, source, ports) for one in policies if _isolates(one, target))
            made_for_it = what == "notebooks" and target is pod and names == ["lyftlearn-notebooks"]
            if names and not is_open and not made_for_it:
                yield f"{', '.join(names)} keeps out TCP {ports[0]}-{ports[1]} {words}: allow it"


def _isolates(policy: Mapping[str, Any], pod: Mapping[str, str]) -> bool:
    spec = policy["spec"]
    return "Ingress" in spec.get("policyTypes", ["Ingress"]) and _selects(spec.get("podSelector") or {}, pod)


def _lets_in(policy: Mapping[str, Any], source: Mapping[str, str], ports: tuple[int, int]) -> bool:
    return any(
        _from(rule.get("from"), source) and _on(rule.get("ports"), ports)
        for rule in policy["spec"].get("ingress") or ()
    )


def _from(peers: list[dict[str, Any]] | None, source: Mapping[str, str]) -> bool:
    """Whether a pod of the same namespace is among the peers. Addresses and namespaces may hold it: nobody knows."""
    if not peers:
        return True
    return any(
        "ipBlock" in peer or "namespaceSelector" in peer or _selects(peer.get("podSelector") or {}, source)
        for peer in peers
    )


def _on(allowed: list[dict[str, Any]] | None, ports: tuple[int, int]) -> bool:
    if not allowed:
        return True
    numbered = [one for one in allowed if one.get("protocol", "TCP") == "TCP"]
    return any(
        "port" not in one
        or (isinstance(one["port"], int) and one["port"] <= ports[0] and one.get("endPort", one["port"]) >= ports[1])
        for one in numbered
    )


def _selects(selector: Mapping[str, Any], pod: Mapping[str, str]) -> bool:
    """Whether the selector takes a pod with these labels; the value `any` of ours stands for whatever it is."""
    wanted = selector.get("matchLabels") or {}
    if any(pod.get(key) not in (value, _ANY) for key, value in wanted.items()):
        return False
    return all(_meets(one, pod) for one in selector.get("matchExpressions") or ())


def _meets(expression: Mapping[str, Any], pod: Mapping[str, str]) -> bool:
    value, values = pod.get(expression["key"]), expression.get("values") or ()
    return {
        "Exists": value is not None,
        "DoesNotExist": value is None,
        "In": value in (*values, _ANY),
        "NotIn": value not in values,
    }[expression["operator"]]
