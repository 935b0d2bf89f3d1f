"""Who may do what: tokens, and the rules of Roles."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.doubles.cluster.store import ApiError, Object


@dataclass
class Caller:
    """A user, and the rules of the one Role that is bound to it; None may do everything."""

    name: str
    rules: list[Object] | None = None


@dataclass
class Access:
    """Callers by token. Without any, everybody may do everything."""

    callers: dict[str, Caller] = field(default_factory=dict)

    def caller(self, header: str) -> Caller:
        if not self.callers:
            return Caller("anybody")
        found = self.callers.get(header.removeprefix("Bearer ").strip())
        if found is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return found

    @staticmethod
    def allows(caller: Caller, verb: str, group: str, resource: str) -> bool:
        if caller.rules is None:
            return True
        return any(
            verb in rule["verbs"] and resource in rule["resources"] and group in rule["apiGroups"]
            for rule in caller.rules
        )

    def check(self, caller: Caller, verb: str, group: str, resource: str, namespace: str) -> None:
        if not self.allows(caller, verb, group, resource):
            message = (
                f'{resource} is forbidden: User "{caller.name}" cannot {verb} resource "{resource}" '
                f'in API group "{group}" in the namespace "{namespace}"'
            )
            raise ApiError(403, "Forbidden", message)
