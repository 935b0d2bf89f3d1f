"""IAM's simulation of a role's policies, which moto does not have: added to moto, which keeps the policies.

As the service evaluates them: a Deny beats an Allow, and what no statement allows is denied. An action that is
simulated is compared with what policies name whatever its case, and resources with their wildcards:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse

Statement = Mapping[str, Any]


def serve_simulations() -> None:
    """Let every moto of this process answer `SimulatePrincipalPolicy`."""
    IamResponse.simulate_principal_policy = _simulate  # type: ignore[attr-defined]


def _simulate(response: Any) -> ActionResult:
    parameters = response._get_params()
    name = parameters["PolicySourceArn"].rpartition("/")[2]
    response.backend.get_role(name)  # raises NoSuchEntity
    statements = list(_statements(response.backend, name))
    context = {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in parameters.get("ContextEntries", ())}
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": _decision(statements, action, resource, context),
        }
        for action in parameters["ActionNames"]
        for resource in parameters.get("ResourceArns", ["*"])
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _statements(iam: Any, role: str) -> Iterator[Statement]:
    for policy in iam.list_role_policies(role):
        document = iam.get_role_policy(role, policy)[1]
        yield from json.loads(document)["Statement"]


def _decision(statements: list[Statement], action: str, resource: str, context: Mapping[str, list[str]]) -> str:
    effects = {one["Effect"] for one in statements if _applies(one, action, resource, context)}
    if "Deny" in effects:
        return "explicitDeny"
    return "allowed" if "Allow" in effects else "implicitDeny"


def _applies(statement: Statement, action: str, resource: str, context: Mapping[str, list[str]]) -> bool:
    conditions = statement.get("Condition", {})
    assert set(conditions) <= {"StringEquals"}, "no other condition is known here"
    equals = conditions.get("StringEquals", {})
    return (
        any(_matches(pattern.lower(), action.lower()) for pattern in _listed(statement["Action"]))
        and any(_matches(pattern, resource) for pattern in _listed(statement["Resource"]))
        and all(set(context.get(key, ())) & set(_listed(wanted)) for key, wanted in equals.items())
    )


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def _matches(pattern: str, text: str) -> bool:
    parts = (".*" if letter == "*" else "." if letter == "?" else re.escape(letter) for letter in pattern)
    return re.fullmatch("".join(parts), text) is not None
