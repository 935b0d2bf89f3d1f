"""What a flag is told of a job: enough to target it by, and nothing that the job computes with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn._text.small_file import read_small_text

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments
    from lyftlearn.config import Config

_REMOTE = r"[:/]([^:/@]+/[^/@]+?)(?:\.git)?/?$"  # never what may be a password


def evaluation_context(config: Config, arguments: Arguments, repository: str | None) -> Mapping[str, Any]:
    """Return the targeting attributes of a job. Percentages are sticky by `model`."""
    return {
        "model": arguments.name,
        "kind": str(arguments.kind),
        "project": config.project,
        "repository": repository,
        "team": config.team,
        "environment": config.environment,
        "user": os.environ.get("USER") or os.environ.get("LOGNAME"),
        "labels": dict(arguments.labels),
        "nodes": arguments.nodes,
        "gpu": arguments.resources.gpu,
        "image": arguments.image or config.image,
    }


def repository_name(config: Config) -> str | None:
    """Return `owner/name` of the repository: `repository` in configuration, else from the version control's remote.

    Never raises: a checkout that cannot be read is one without a name.
    """
    if config.repository:
        return config.repository
    try:
        return repository_at(config.source.absolute().parent if config.source else Path.cwd())
    except FileNotFoundError:  # a working directory that is gone
        return None


def repository_at(start: Path) -> str | None:
    """Return `owner/name` of the repository that a directory belongs to, as its remote has it. Never raises."""
    try:
        found = next((folder / ".git" for folder in (start, *start.parents) if (folder / ".git").exists()), None)
        return None if found is None else _name_in_git(found)
    except (OSError, UnicodeDecodeError):
        return None


def _name_in_git(dot_git: Path) -> str:
    import configparser  # noqa: PLC0415 - only where a repository must be named

    directory = dot_git if dot_git.is_dir() else _worktree(dot_git)
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        parser.read_string(_without_indentation(directory / "config"))
        url = parser.get('remote "origin"', "url") or ""
    except (OSError, UnicodeDecodeError, configparser.Error):
        return dot_git.parent.name
    match = re.search(_REMOTE, url)
    return match[1] if match else dot_git.parent.name


def _worktree(dot_git: Path) -> Path:
    """Return the common directory behind a worktree's `.git` file."""
    named = read_small_text(dot_git).removeprefix("gitdir:").strip()
    directory = Path(os.path.realpath(dot_git.parent / named))
    return directory.parents[1] if directory.parent.name == "worktrees" else directory


def _without_indentation(path: Path) -> str:
    return "\n".join(line.strip() for line in read_small_text(path).splitlines())
