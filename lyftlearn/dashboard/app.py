"""The pages and their addresses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from lyftlearn import _pages, ops
from lyftlearn._client import Client
from lyftlearn._migration import page as migration_page
from lyftlearn._text.display import printable
from lyftlearn._text.small_file import read_small_text
from lyftlearn.backend import Check, Verdict
from lyftlearn.dashboard import jobs, models, views
from lyftlearn.dashboard.feeds import Feeds, log_text
from lyftlearn.dashboard.kept import Kept
from lyftlearn.dashboard.viewers import Door, Viewer, is_own_form
from lyftlearn.errors import LyftLearnError
from lyftlearn.history.settle import settle
from lyftlearn.history.store import History
from lyftlearn.ops.cost import BY, CostRow, cost_rows
from lyftlearn.parity import _json as parity_json
from lyftlearn.parity import _page as parity_page
from lyftlearn.types import JobStatus

if TYPE_CHECKING:
    from lyftlearn._session import Session

_SECONDS_TO_SETTLE = 4.0
_PATIENCE = 0.2  # seconds that a page waits for an answer that is being made
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_SIGNS = {Verdict.OK: "✓ ok", Verdict.WARNING: "! warning", Verdict.FAILED: "✗ failed"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a dashboard is opened. user_header: in which a proxy names the user. allow_stop: whether it stops jobs."""

    token: str
    user_header: str | None = None
    allow_stop: bool = False


@dataclass
class _Dashboard:
    """What the pages ask."""

    client: Client
    settings: Settings
    history: History = field(init=False)
    feeds: Feeds = field(init=False)

    def __post_init__(self) -> None:
        session = self.client._session  # noqa: SLF001 - the client's other half
        config = session.config
        self.config = config
        self.history = session.history.open()
        self.feeds = Feeds(self._follow)
        self._asking: dict[str, Kept[tuple[Any, str | None]]] = {}
        self._costs: dict[tuple[str, tuple[str, ...] | None], Kept[list[CostRow]]] = {}
        self.news = Kept(lambda: self._take_up(session), 5)
        self.models = Kept(lambda: models.of_all(self.history, datetime.now(UTC) - models.WINDOW), 30)
        self.migration = Kept(self._migration, 300)  # it judges every model
        self.checks: Kept[list[Check]] = Kept(lambda: list(ops.doctor(self.config_source)), 60)

    @property
    def config_source(self) -> Any:
        """What a second client reads the same configuration from."""
        return self.client._given  # noqa: SLF001 - as above

    def _take_up(self, session: Session) -> None:
        """Write into the history what waits on this machine, and how jobs have ended that nobody saw ending."""
        settle(session.history.history(), session.registry, seconds=_SECONDS_TO_SETTLE)

    def _follow(self, job_id: str) -> Iterable[str]:
        return log_text(self.client.job(job_id), follow=True)

    def _migration(self) -> Mapping[str, Any]:
        report, status = ops.migration_report(client=self.client), ops.migration_status(client=self.client)
        return migration_page.values(report, status)

    def show_jobs(self, request: Request) -> Response:
        """A page of jobs, filtered by what the query names."""
        self.news.get(_PATIENCE)
        asked, viewer = request.query_params, _viewer(request)
        where = {name: asked[name] for name in jobs.FILTERS if asked.get(name)}
        text = asked.get("text", "").strip()
        search = jobs.Search(where=where, text=text, teams=viewer.teams, after=_position(asked.get("after", "")))
        found = jobs.find(self.history, search)
        kept = {**where, **({"text": text} if text else {})}
        last = found.jobs[-1] if found.more else None
        older = urlencode({**kept, "after": f"{last['at'].isoformat()} {last['job_id']}"}) if last else ""
        return self._page(
            request,
            "jobs",
            title="Jobs",
            rows=[views.job_row(job) for job in found.jobs],
            asked={name: asked.get(name, "") for name in (*jobs.FILTERS, "text")},
            statuses=[jobs.OPEN, *(str(one) for one in JobStatus if one.finished)],
            older=older,
            newest=urlencode(kept) if "after" in asked else "",
            is_first="after" not in asked,
        )

    def show_job(self, request: Request) -> Response:
        """All that is known of one job."""
        known = self._read_job(request)
        if known is None:
            return self._absent(request)
        job_id, job = known.job["job_id"], known.job
        is_open = job["status"] is None
        state, link = self._state(job_id) if is_open else (None, None)
        status = str(state.status) if state else job["status"] or jobs.OPEN
        return self._page(
            request,
            "job",
            title=job["model"],
            id=job_id,
            kind=job["kind"],
            model=job["model"],
            repository=job["repository"] or "",
            status=status,
            colour=views.colour(status),
            facts=views.job_facts(known),
            sources=views.job_sources(known),
            phases=views.phases(job["timings"]),
            message=(state.message if state else job["message"]) or "",
            command=" ".join(job["command"] or []),
            call=views.call(job),
            outputs=job["outputs"] or {},
            obstacles=known.obstacles,
            shadows=known.shadows,
            differences=known.differences,
            link=link,
            may_stop=self.settings.allow_stop and is_open,
            stop_token=_viewer(request).stop_token,
            stopped="stopped" in request.query_params,
        )

    def _state(self, job_id: str) -> tuple[Any, str | None]:
        """Return what the backend says of a job now, and its page in the platform's console; nothing if it is slow.

        What comes later is there for the next page.
        """
        asking = self._asking.pop(job_id, None) or Kept(lambda: self._ask_state(job_id), float("inf"))
        answer = asking.get(_PATIENCE)
        if answer is None:
            self._asking[job_id] = asking
        return (answer.value if answer else None) or (None, None)

    def _ask_state(self, job_id: str) -> tuple[Any, str | None]:
        try:
            job = self.client.job(job_id)
            return job.state, job._shared_watch().backend.link(job_id)  # noqa: SLF001 - a friend of the handle
        except LyftLearnError:  # the history has said what it knows
            return None, None

    async def stream_log(self, request: Request) -> Response:
        """The log of a job as server-sent events: lists of lines, and at last why there are no more."""
        known = self._read_job(request)
        if known is None:
            return PlainTextResponse("no such job\n", 404)
        return StreamingResponse(_events(self.feeds, known.job["job_id"]), media_type="text/event-stream")

    def show_log(self, request: Request) -> Response:
        """The log so far, as a text."""
        known = self._read_job(request)
        if known is None:
            return PlainTextResponse("no such job\n", 404)
        return StreamingResponse(self._log_lines(known.job["job_id"]), media_type="text/plain; charset=utf-8")

    def _log_lines(self, job_id: str) -> Iterator[str]:
        try:
            for line in log_text(self.client.job(job_id), follow=False):
                yield f"{printable(line)}\n"
        except LyftLearnError as error:
            yield f"{error}\n"

    async def stop_job(self, request: Request) -> Response:
        """Ask a job to stop, if an operator allows it and the form is ours."""
        known = self._read_job(request)
        async with request.form(max_fields=4) as form:
            token = str(form.get("token", ""))
        if not self.settings.allow_stop or known is None or not is_own_form(request, token):
            return PlainTextResponse("nothing was stopped\n", 403)
        job_id = known.job["job_id"]
        try:
            self.client.job(job_id).stop()
        except LyftLearnError as error:
            return PlainTextResponse(f"{error}\n", 502)
        return RedirectResponse(f"/jobs/{job_id}?stopped", 303)

    def show_models(self, request: Request) -> Response:
        """Every model of the last 30 days, on each backend."""
        answer = self.models.get(_PATIENCE)
        found = models.merge(models.visible(answer.value or [], _viewer(request).teams)) if answer else []
        shown = found[:200]
        return self._page(
            request,
            "models",
            title="Models",
            answer=answer,
            rows=[views.figures_row(one) for one in shown],
            more=len(found) - len(shown),
        )

    def show_model(self, request: Request) -> Response:
        """One model over the last 30 days."""
        asked, viewer = request.query_params, _viewer(request)
        model, repository = asked.get("model", ""), asked.get("repository") or None
        since = datetime.now(UTC) - models.WINDOW
        known = self.models.get(_PATIENCE)
        sides = sorted({one.backend for one in (known.value if known else None) or [] if one.model == model})
        daily = models.by_day(self.history, since, repository, model, sides)
        figures = models.merge(models.visible(daily, viewer.teams))
        if not figures:
            return self._absent(request)
        charts = {
            "Jobs that succeeded": ("success", "{:.0%}".format),
            "Mean duration of those": ("duration", views.seconds_text),
            "Mean start-up": ("start_up", views.seconds_text),
            "Cost of a day": ("cost", lambda cost: views.money(cost, figures[0].currency)),
        }
        return self._page(
            request,
            "model",
            title=model,
            model=model,
            repository=repository or "",
            charts=[
                {"title": title, "written": written, **drawn}
                for title, (value, written) in charts.items()
                if (drawn := models.chart(figures, value)) is not None
            ],
            rows=[views.figures_row(one) for one in reversed(figures)],
        )

    def show_costs(self, request: Request) -> Response:
        """What jobs of the last 30 days have cost, by what the query names."""
        by, teams = request.query_params.get("by", "team"), _viewer(request).teams
        by = by if by in BY else "team"
        question = (by, None if teams is None else tuple(teams))
        if question not in self._costs:
            self._costs[question] = Kept(lambda: self._count_costs(*question), 30)
        answer = self._costs[question].get(_PATIENCE)
        found = (answer.value if answer else None) or []
        return self._page(
            request,
            "costs",
            title="Cost",
            by=by,
            choices=BY,
            answer=answer,
            rows=[views.cost_row(one) for one in found[:200]],
            more=max(0, len(found) - 200),
        )

    def _count_costs(self, by: str, teams: tuple[str, ...] | None) -> list[CostRow]:
        return cost_rows(self.history, by, datetime.now(UTC) - models.WINDOW, teams)

    def show_migration(self, request: Request) -> Response:
        """How the migration goes."""
        if self.config.migration_to is None:
            text = "No migration is configured: [migration] to names the new backend."
            return self._page(request, "text", title="Migration", text=text)
        answer = self.migration.get(_PATIENCE)
        values = answer.value if answer and answer.value else None
        return self._page(request, "migration", **{"title": "Migration", "answer": answer, **(values or {})})

    def show_parity(self, request: Request) -> Response:
        """What was measured last."""
        path = ops.last_parity(self.config)
        try:
            measured = parity_json.load(read_small_text(path), str(path))
        except (OSError, LyftLearnError):
            text = "Nothing was measured yet: lyftlearn parity run does, and keeps its result here."
            return self._page(request, "text", title="Parity", text=text)
        return self._page(request, "parity", **parity_page.values(measured))

    def show_doctor(self, request: Request) -> Response:
        """The checks of `lyftlearn doctor`."""
        answer = self.checks.get(_PATIENCE)
        found = (answer.value if answer else None) or []
        rows = [
            {"name": one.name, "sign": _SIGNS[one.verdict], "detail": one.detail, "css": str(one.verdict)}
            for one in found
        ]
        return self._page(request, "doctor", title="Doctor", answer=answer, rows=rows)

    def send_static(self, request: Request) -> Response:
        """A style sheet or the script."""
        name = request.path_params["name"]
        file = files(_pages).joinpath("templates", *(["dashboard"] if name.startswith("dashboard") else []), name)
        suffix = f".{name.rpartition('.')[2]}"
        if suffix not in _TYPES or not file.is_file():
            return PlainTextResponse("not found\n", 404)
        return Response(file.read_bytes(), media_type=_TYPES[suffix], headers={"cache-control": "max-age=3600"})

    def _read_job(self, request: Request) -> jobs.Known | None:
        self.news.get(_PATIENCE)
        return jobs.read(self.history, request.path_params["job_id"], _viewer(request).teams)

    def show_absence(self, request: Request, error: Exception) -> Response:
        """Say that the history cannot be read."""
        text = f"The history of jobs cannot be read: {error}"
        return self._page(request, "text", title="No answer", text=text, status_code=503)

    def _absent(self, request: Request) -> Response:
        return self._page(
            request, "text", title="Not found", text="The history knows no such job or model.", status_code=404
        )

    def _page(self, request: Request, template: str, *, status_code: int = 200, **values: Any) -> Response:
        viewer = _viewer(request)
        shared = {"path": request.url.path, "viewer": viewer.name, "sees_everything": viewer.sees_everything}
        return HTMLResponse(_pages.render(f"dashboard/{template}.html", **shared, **values), status_code)


def application(client: Client, settings: Settings) -> Starlette:
    """Return the dashboard of a client's configuration, as an ASGI application."""
    pages = _Dashboard(client, settings)
    routes = [
        Route("/", pages.show_jobs),
        Route("/jobs/{job_id}", pages.show_job),
        Route("/jobs/{job_id}/log", pages.stream_log),
        Route("/jobs/{job_id}/log.txt", pages.show_log),
        Route("/jobs/{job_id}/stop", pages.stop_job, methods=["POST"]),
        Route("/models", pages.show_models),
        Route("/model", pages.show_model),
        Route("/costs", pages.show_costs),
        Route("/migration", _for_operators(pages.show_migration)),
        Route("/parity", _for_operators(pages.show_parity)),
        Route("/doctor", _for_operators(pages.show_doctor)),
        Route("/static/{name}", pages.send_static),
    ]
    door = Middleware(
        Door, access=pages.config.dashboard_access, user_header=settings.user_header, token=settings.token
    )
    return Starlette(routes=routes, middleware=[door], exception_handlers={SQLAlchemyError: pages.show_absence})


def _for_operators(page: Callable[[Request], Response]) -> Callable[[Request], Response]:
    def show(request: Request) -> Response:
        if _viewer(request).sees_everything:
            return page(request)
        return PlainTextResponse("this page is for those who see all teams\n", 403)

    return show


def _viewer(request: Request) -> Viewer:
    viewer: Viewer = request.state.viewer
    return viewer


def _position(text: str) -> tuple[datetime, str] | None:
    """Return the time and the id that a link to older jobs carries; None for what is none."""
    at, _, job_id = text.rpartition(" ")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC), job_id)


async def _events(feeds: Feeds, job_id: str) -> AsyncIterator[str]:
    async for news in feeds.read(job_id):
        if isinstance(news, str):
            yield f"event: end\ndata: {json.dumps(news)}\n\n"
        else:
            yield f"data: {json.dumps(news)}\n\n" if news else ": nothing new\n\n"
