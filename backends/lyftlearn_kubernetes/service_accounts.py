"""What `doctor` looks at of service accounts: that they are there, and that the one of a search's driver may submit."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Check, Verdict
from lyftlearn.errors import AccessDenied
from lyftlearn_kubernetes.api.cluster import SERVICE_ACCOUNTS
from lyftlearn_kubernetes.api.errors import ApiError, translate_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lyftlearn_kubernetes.api.cluster import Cluster
    from lyftlearn_kubernetes.options import Options

_DEFAULT = "default"  # the account that every namespace has, and every pod that names none
_API = "authorization.k8s.io/v1"


def check_accounts(
    cluster: Cluster, options: Options, needed: Iterable[tuple[str, Mapping[str, Any]]]
) -> Iterator[Check]:
    """Yield what is wrong with the accounts of pods, and whether drivers may do what is `needed`.

    needed: each permission by what a person calls it, and as the attributes of an access review.
    """
    every = [options, *options.models.values()]
    named = {name for one in every for name in (one.service_account, one.tune_service_account) if name}
    if missing := sorted(name for name in named if not _exists(cluster, name)):
        detail = f"{cluster.namespace} has no service account {', '.join(missing)}, so no pod with it would start"
        yield Check("service accounts", Verdict.FAILED, f"{detail}: create it")
    permissions = list(needed)
    drivers = {one.tune_service_account or one.service_account or _DEFAULT for one in every}
    asked_for = {one.tune_service_account for one in every}
    for account in sorted(drivers - set(missing)):
        yield _check_driver(cluster, account, permissions, is_named=account in asked_for)


def _check_driver(
    cluster: Cluster, account: str, needed: list[tuple[str, Mapping[str, Any]]], *, is_named: bool
) -> Check:
    """Ask what an account may do. Only who named one for searches is sure to want them."""
    try:
        denied = [name for name, attributes in needed if not _is_allowed(cluster, account, attributes)]
    except AccessDenied:
        who = f"--as system:serviceaccount:{cluster.namespace}:{account}"
        remedy = f"try `kubectl auth can-i create jobs -n {cluster.namespace} {who}`"
        detail = (
            f"unknown whether {account} may drive them: `create localsubjectaccessreviews` is not granted; {remedy}"
        )
        return Check("searches", Verdict.WARNING, detail)
    if not denied:
        return Check("searches", Verdict.OK, f"the service account {account} may submit their trials")
    detail = f"none can be driven by the service account {account}, which may not {', '.join(denied)}"
    verdict = Verdict.FAILED if is_named else Verdict.WARNING
    return Check("searches", verdict, f"{detail}; docs/how-to/kubernetes.md has the RoleBinding")


def _exists(cluster: Cluster, name: str) -> bool:
    """Whether an account is there; one that nobody may look at counts as there."""
    with suppress(AccessDenied), translate_errors("reading service accounts"):
        try:
            cluster.get(SERVICE_ACCOUNTS, name)
        except ApiError as exc:
            if exc.says_missing(name):
                return False
            raise
    return True


def _is_allowed(cluster: Cluster, account: str, attributes: Mapping[str, Any]) -> bool:
    """Ask about another's permission: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/.

    A pod's token is of these groups: https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
    """
    namespace = cluster.namespace
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    review = {
        "apiVersion": _API,
        "kind": "LocalSubjectAccessReview",
        "metadata": {"namespace": namespace},
        "spec": {
            "user": f"system:serviceaccount:{namespace}:{account}",
            "groups": groups,
            "resourceAttributes": attributes,
        },
    }
    with translate_errors("asking for the permissions of a service account"):
        path = f"/apis/{_API}/namespaces/{namespace}/localsubjectaccessreviews"
        answer = cluster.ask("POST", path, body=review)
    return bool((answer.get("status") or {}).get("allowed"))
