"""ResourceQuotas: what a namespace may have at once, counted when a pod is admitted."""

from __future__ import annotations

from tests.doubles.cluster.sandbox import number
from tests.doubles.cluster.store import ApiError, Object, Store

ENDED = ("Succeeded", "Failed")


def check(store: Store, namespace: str, pod: Object) -> None:
    """Refuse a pod that exceeds a quota, in the words of k8s.io/apiserver's resourcequota admission."""
    for quota in store.all("resourcequotas", namespace):
        hard = (quota.get("spec") or {}).get("hard") or {}
        if quota.get("status") == {"hard": {}}:  # made just now: nobody has counted yet what is used
            message = f"status unknown for quota: {quota['metadata']['name']}, resources: {','.join(hard)}"
            raise ApiError(403, "Forbidden", f'pods "" is forbidden: {message}', about=("pods", ""))
        others = [other for other in store.all("pods", namespace) if other["status"].get("phase") not in ENDED]
        for name, limit in hard.items():
            requested, used = _usage(name, pod), sum(_usage(name, other) for other in others)
            if used + requested > number(limit):
                message = f"exceeded quota: {quota['metadata']['name']}, requested: {name}={_amount_text(requested)}, "
                message += f"used: {name}={_amount_text(used)}, limited: {name}={limit}"
                pod_name = pod["metadata"].get("name", "")
                raise ApiError(403, "Forbidden", f'pods "{pod_name}" is forbidden: {message}', about=("pods", pod_name))


def _usage(name: str, pod: Object) -> float:
    if name in ("pods", "count/pods"):
        return 1
    side, _, resource = name.partition(".") if name.startswith(("requests.", "limits.")) else ("requests", "", name)
    found = (container.get("resources", {}).get(side, {}).get(resource, "0") for container in pod["spec"]["containers"])
    return sum(map(number, found))


def _amount_text(amount: float) -> str:
    return f"{round(amount * 1000)}m" if amount % 1 else str(int(amount))
