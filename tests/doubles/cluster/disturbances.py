"""What happens to requests on their way: answers that are lost, and answers that others give in the server's place."""

from __future__ import annotations

from dataclasses import dataclass

from tests.doubles.cluster.store import Object

EVERY_TIME = -1


@dataclass
class Disturbance:
    """For `times` requests of a verb on a kind, such as "create" and "jobs"; "" is any.

    commit: the request is carried out first. status: of the answer that is given instead; 0 cuts the connection.
    body: a document, or the text of whoever stands in front of the server.
    """

    verb: str
    kind: str
    times: int = EVERY_TIME
    commit: bool = False
    status: int = 0
    body: Object | str = ""

    def strikes(self, verb: str, kind: str) -> bool:
        """Whether this request is one of those; counts it."""
        if self.times == 0 or self.verb not in ("", verb) or self.kind not in ("", kind):
            return False
        self.times -= self.times > 0
        return True


def refusal(status: int, reason: str, message: str, name: str = "") -> Object:
    """The API's own body of a refusal."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"name": name} if name else {},
        "code": status,
    }


# Every kind of answer that a request may get which was to settle a doubt. The texts are those of an API server whose
# RBAC informers have not synced, of admission, of load balancers and of expired logins.
ANSWERS: dict[str, tuple[int, Object | str]] = {
    "reset": (0, ""),
    "400": (400, refusal(400, "BadRequest", "the server rejected our request for an unknown reason")),
    "401": (401, refusal(401, "Unauthorized", "Unauthorized")),
    "403-rbac": (
        403,
        refusal(
            403,
            "Forbidden",
            'jobs.batch is forbidden: User "ci" cannot create resource "jobs" in API group "batch" in the namespace '
            '"ml": RBAC: role.rbac.authorization.k8s.io "lyftlearn" not found',
        ),
    ),
    "403-quota": (403, refusal(403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: batch')),
    "403-webhook": (403, refusal(403, "Forbidden", 'admission webhook "policy.example.com" denied the request: no')),
    "403-text": (403, "<html><h1>403 Forbidden</h1></html>"),
    "404-namespace": (404, refusal(404, "NotFound", 'namespaces "ml" not found', "ml")),
    "404-resource": (404, refusal(404, "NotFound", "the server could not find the requested resource")),
    "404-text": (404, "404 page not found"),
    "409-conflict": (
        409,
        refusal(409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "compute": the object was modified'),
    ),
    "422": (422, refusal(422, "Invalid", 'ValidatingAdmissionPolicy "labels" denied request: no team label')),
    "429": (429, "Too many requests, please try again later."),
    "500": (500, refusal(500, "InternalError", "etcdserver: leader changed")),
    "502-text": (502, "<html><h1>502 Bad Gateway</h1></html>"),
    "503": (503, refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request")),
    "504": (504, refusal(504, "Timeout", "Timeout: request did not complete within requested timeout")),
    "200-text": (200, "<html>Log in to continue</html>"),
    "200-json": (200, '{"login": "https://login.example.com"}'),
    "302-text": (302, "Found"),
}
