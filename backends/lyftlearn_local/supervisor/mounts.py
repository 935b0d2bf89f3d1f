"""What a container is shown of this machine: its job, its node, and what the job names."""

from __future__ import annotations

import contextlib
from pathlib import Path

from lyftlearn_local.layouts.layout import JOB_DIRECTORY, LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from lyftlearn_local.layouts.layout import ContainerLayout, NodeContext

FILES_DIRECTORY = "/var/run/lyftlearn-files"
FILES_VARIABLE = "LYFTLEARN_SUBSTRATE_FILES"
"""Tells the runtime below which directory it finds what a `file://` URI names."""
_FILE_VARIABLES = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
)
"""Of those that are passed on from the shell, the ones that name a file."""


def options(context: NodeContext, layout: ContainerLayout, environment: dict[str, str]) -> list[str]:
    """Return the engine's options. What leads to the files goes into the layout's variables. Raises LaunchError."""
    layout.variables[FILES_VARIABLE] = FILES_DIRECTORY
    readonly = dict.fromkeys((*layout.readonly, *_secrets(context.run), *_named_by_variables(layout, environment)))
    return [
        *_mount(context.job.path, JOB_DIRECTORY, read_only=True),
        *_mount(context.directory, context.inside(context.directory)),
        *(word for pair in layout.binds for word in _mount(*pair)),
        *(word for pair in readonly for word in _mount(*pair, read_only=True)),
        *_files(context.run["container"]["files"]),
    ]


def _secrets(run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield those asked for and no other; the runtime says which are missing."""
    for name in run["secrets"]:
        outside = Path(run["secrets_directory"], name)
        if outside.is_dir():
            yield str(outside), f"{run['secrets_inside']}/{name}"


def _named_by_variables(layout: ContainerLayout, environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name in _FILE_VARIABLES:
        if (value := environment.get(name)) and (path := Path(value)).exists():
            layout.variables[name] = f"{FILES_DIRECTORY}-of-variables/{name}"
            yield str(path.resolve()), layout.variables[name]


def _files(named: list[tuple[str, str]]) -> Iterator[str]:
    """Yield options for what the job's URIs name; parents first, so that below what is read can be written."""
    for name, access in sorted(named):
        path = Path(name)
        if access == "write":
            _make_output(path)
        if path.exists():
            yield from _mount(path, f"{FILES_DIRECTORY}{path}", read_only=access != "write")


def _make_output(path: Path) -> None:
    try:
        _make_directories(path)
    except OSError as error:
        words = f"{path}, where the job is to leave what it makes, cannot be made: {error.strerror}"
        raise LaunchError("platform", words) from error


def _make_directories(path: Path) -> int:
    """Make a directory and those above it, none more open than the one that it is in; return its permissions."""
    if not path.is_dir():
        mode = _make_directories(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir((mode | 0o700) & 0o777)
    return path.stat().st_mode


def _mount(outside: str | Path, inside: str, *, read_only: bool = False) -> list[str]:
    """Return the option; its value is one line of CSV, so that paths may hold whatever paths may."""
    fields = ["type=bind", f"source={outside}", f"target={inside}", *(["readonly"] if read_only else [])]
    return ["--mount", ",".join(_csv(field) for field in fields)]


def _csv(field: str) -> str:
    quoted = field.replace('"', '""')
    return f'"{quoted}"' if quoted != field or "," in field or "\n" in field else field
