"""Who looks: whoever has the token that was printed, or the user that a proxy names; and what they may see."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from lyftlearn._pages import render

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVERYTHING = "*"
"""In `[dashboard.access]`, in place of a team: all teams, and the pages that are about all of them."""
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Viewer:
    """Who asked. teams: whose jobs they see; None means all. stop_token: what a form of theirs must carry."""

    name: str
    teams: Sequence[str] | None
    stop_token: str

    @property
    def sees_everything(self) -> bool:
        """Whether they also see the pages that are about all teams."""
        return self.teams is None


class Door:
    """Lets in whoever may look, and gives each request its `Viewer`.

    access: the users of each team, where a proxy names the user. user_header: the header in which it does; without
    one, a random token in the first address opens the door, and a cookie keeps it open.
    """

    def __init__(
        self, app: ASGIApp, *, access: Mapping[str, Sequence[str]], user_header: str | None, token: str
    ) -> None:
        self._app = app
        self._access = access
        self._user_header = user_header
        self._token = token
        self._cookie = _digest(token, "cookie")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        answer = self._refuse_or_open(request)
        if answer is None:
            await self._app(scope, receive, _with_headers(send))
        else:
            await answer(scope, receive, _with_headers(send))

    def _refuse_or_open(self, request: Request) -> Response | None:
        if request.url.path.startswith("/static/"):
            return None
        viewer = self._named_by_proxy(request) if self._user_header else self._with_token(request)
        if isinstance(viewer, Viewer):
            request.scope.setdefault("state", {})["viewer"] = viewer
            return None
        return viewer

    def _named_by_proxy(self, request: Request) -> Viewer | Response:
        name = request.headers.get(str(self._user_header), "").strip()
        if not name:
            return _refusal(f"The proxy names no user: it has to set the header {self._user_header}.")
        teams = [team for team, users in self._access.items() if name in users]
        if not teams:
            return _refusal(f"No team shows its jobs to {name}: [dashboard.access] names teams with their users.")
        return Viewer(name, None if EVERYTHING in teams else teams, _digest(self._token, name))

    def _with_token(self, request: Request) -> Viewer | Response:
        if request.url.hostname not in _LOCAL_NAMES:
            return PlainTextResponse("the dashboard answers at 127.0.0.1 and localhost only\n", 421)
        cookie = f"lyftlearn_{request.url.port}"
        if hmac.compare_digest(request.cookies.get(cookie, "").encode(), self._cookie.encode()):
            return Viewer("", None, _digest(self._token, "form"))
        if hmac.compare_digest(request.query_params.get("token", "").encode(), self._token.encode()):
            opened = RedirectResponse(request.url.remove_query_params("token").path, 303)
            opened.set_cookie(cookie, self._cookie, httponly=True, samesite="strict")
            return opened
        return _refusal("This page opens with the address that lyftlearn dashboard printed, which has a token in it.")


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def is_own_form(request: Request, token: str) -> bool:
    """Whether a form was sent from one of our own pages, by the viewer it was made for."""
    viewer: Viewer = request.state.viewer
    site = request.headers.get("sec-fetch-site", "same-origin")
    return site == "same-origin" and hmac.compare_digest(token.encode(), viewer.stop_token.encode())


def _digest(token: str, purpose: str) -> str:
    return hmac.new(token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _refusal(text: str) -> Response:
    return Response(render("dashboard/refused.html", title="Not shown", text=text), 403, media_type="text/html")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            more = [(n.encode(), v.encode()) for n, v in _HEADERS.items() if n.encode() not in names]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending
