"""Who may do what: tokens, impersonation, and the rules of Roles."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from email.message import Message

from tests.doubles.cluster.store import ApiError, Object

EXTRA = "impersonate-extra-"


@dataclass(frozen=True)
class Caller:
    """A user, and the rules of the one Role that is bound to it; None may do everything."""

    name: str
    rules: list[Object] | None = None
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass
class Access:
    """Callers by token. Without any, everybody may do everything.

    synced: whether Roles are known yet; an API server that has just started refuses what they grant for seconds.
    """

    callers: dict[str, Caller] = field(default_factory=dict)
    synced: bool = True
    seen: list[Caller] = field(default_factory=list)

    def caller(self, headers: Message) -> Caller:
        """Who asks, after impersonation: https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/."""
        found = self._impersonate(self._authenticate(headers.get("Authorization") or ""), headers)
        self.seen.append(found)
        return found

    def _authenticate(self, header: str) -> Caller:
        if not self.callers:
            return Caller("anybody")
        found = self.callers.get(header.removeprefix("Bearer ").strip())
        if found is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return found

    def _impersonate(self, caller: Caller, headers: Message) -> Caller:
        name = headers.get("Impersonate-User")
        groups = tuple(headers.get_all("Impersonate-Group") or ())
        uid = headers.get("Impersonate-Uid") or ""
        extra = tuple(
            (key[len(EXTRA) :].lower(), value) for key, value in headers.items() if key.lower().startswith(EXTRA)
        )
        if name is None:
            if groups or uid or extra:
                raise ApiError(400, "BadRequest", f"requested {groups or uid or extra!r} without impersonating a user")
            return caller
        if caller.rules is not None:
            message = f'users "{name}" is forbidden: User "{caller.name}" cannot impersonate resource "users"'
            raise ApiError(403, "Forbidden", message)
        known = next((other for other in self.callers.values() if other.name == name), Caller(name, []))
        return replace(known, groups=groups, uid=uid, extra=extra)

    @staticmethod
    def allows(caller: Caller, verb: str, group: str, resource: str) -> bool:
        if caller.rules is None:
            return True
        return any(
            verb in rule["verbs"] and resource in rule["resources"] and group in rule["apiGroups"]
            for rule in caller.rules
        )

    def allows_user(self, name: str, verb: str, group: str, resource: str) -> bool:
        """Whether somebody may whose token nobody shows; who is not known may nothing."""
        if not self.callers:
            return True
        found = next((one for one in self.callers.values() if one.name == name), Caller(name, []))
        return self.allows(found, verb, group, resource)

    def check(self, caller: Caller, verb: str, group: str, resource: str, namespace: str) -> None:
        if not self.synced or not self.allows(caller, verb, group, resource):
            why = "" if self.synced else ': RBAC: role.rbac.authorization.k8s.io "lyftlearn" not found'
            message = (
                f'{resource} is forbidden: User "{caller.name}" cannot {verb} resource "{resource}" '
                f'in API group "{group}" in the namespace "{namespace}"{why}'
            )
            raise ApiError(403, "Forbidden", message)
