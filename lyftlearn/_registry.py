"""Finds backends by their names. lyftlearn's own backends are found in the same way as everybody's.

Plugins register a callable under the entry-point group `lyftlearn.backends`. Nothing of a plugin is imported until its
name is used, so a broken one disturbs only those who ask for it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lyftlearn._contract import installed
from lyftlearn._contract.ids import ALPHABET, default_letter, parse
from lyftlearn._text.display import quote
from lyftlearn._text.redaction import redact_causes
from lyftlearn.backend import Backend, BackendSettings
from lyftlearn.errors import InvalidJob, JobNotFound, LyftLearnError

if TYPE_CHECKING:
    from lyftlearn._contract.installed import EntryPoint
    from lyftlearn.config import Config

GROUP = "lyftlearn.backends"


class Registry:
    """The backends that are installed, each made once, when it is first asked for."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._made: dict[str, Backend] = {}
        self._lock = threading.RLock()
        self._found: dict[str, list[EntryPoint]] | None = None

    def names(self) -> list[str]:
        """Return the names of all installed backends, broken ones too."""
        return sorted(self._entry_points())

    def get(self, name: str) -> Backend:
        """Return the backend `name`. Raises LyftLearnError: not installed, claimed twice, or broken."""
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(name)
            return self._made[name]

    def problem(self, name: str) -> str | None:
        """Return why `name` cannot be used, or None."""
        try:
            self.get(name)
        except LyftLearnError as exc:
            return str(exc)
        return None

    def letter(self, name: str) -> str:
        """Return the letter of `name` in ids: from `[backends.letters]`, else one that follows from the name."""
        letter: str = self._config.table("backends").get("letters", {}).get(name) or default_letter(name)
        if len(letter) != 1 or letter not in ALPHABET:
            raise LyftLearnError(f"[backends.letters] {name} is {letter!r}: write one of a-z or 2-7")
        owners = [other for other in self.names() if other != name and self._letter_of(other) == letter]
        if owners:
            raise LyftLearnError(
                f"the backends {name} and {owners[0]} both have the letter {letter!r} in their ids: "
                f"give one of them another in [backends.letters]"
            )
        return letter

    def with_letter(self, letter: str) -> str | None:
        """Return the name of the installed backend whose ids carry `letter`."""
        return next((name for name in self.names() if self._letter_of(name) == letter), None)

    def named_in(self, job_id: str) -> str | None:
        """Return the name of the installed backend that a job's id carries, or None."""
        parsed = parse(job_id)
        return self.with_letter(parsed.letter) if parsed else None

    def of_job(self, job_id: str) -> str:
        """Return the name of the backend that a job's id carries. Raises JobNotFound; InvalidJob if it is no text."""
        if not isinstance(job_id, str):
            raise InvalidJob([("job_id", f"is {quote(job_id)}: write the text that `Job.id` gave")])
        parsed = parse(job_id)
        if parsed is None:
            raise JobNotFound(f"{quote(job_id)} is no job id: write it as `Job.id` gave it")
        name = self.with_letter(parsed.letter)
        if name is None:
            raise JobNotFound(f"{job_id}: no installed backend has the letter {parsed.letter!r} in its ids")
        return name

    def _letter_of(self, name: str) -> str:
        letter: str = self._config.table("backends").get("letters", {}).get(name) or default_letter(name)
        return letter

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        with self._lock:
            if self._found is None:
                found = _entry_points_by_name()
                instances = self._instances().items()
                self._found = found | {name: found.get(kind, []) for name, kind in instances if name not in found}
            return self._found

    def _instances(self) -> Mapping[str, str]:
        """Return the kinds of the backends that configuration adds, by their names."""
        instances: Mapping[str, str] = self._config.table("backends").get("instances", {})
        return instances

    def _make(self, name: str) -> Backend:
        entry_point = self._only(name)
        settings = BackendSettings(
            name=name,
            table=self._config.table(name),
            home=self._config.home,
            storage_url=self._config.storage_url,
            folders=self._config.folders(name),
            models=self._config.table("models"),
            mounts=self._config.mounts(name),
            spark=self._config.configured_spark,
        )
        try:
            made = entry_point.load()(settings)
        except LyftLearnError:
            raise
        except Exception as exc:  # noqa: BLE001 - raised again, as what it means
            raise LyftLearnError(_load_error(entry_point, exc)) from redact_causes(exc)
        if not isinstance(made, Backend):
            raise LyftLearnError(f"{entry_point.owner} registers {name!r}, but {entry_point.value} makes no Backend")
        return made

    def _only(self, name: str) -> EntryPoint:
        found, kind = self._entry_points().get(name, []), self._instances().get(name)
        if kind is not None and name in (one.name for one in found):
            raise LyftLearnError(f"[backends.instances] {name} is installed under this name: choose another name")
        if not found:
            raise LyftLearnError(self._unknown(kind or name))
        if len(found) > 1:
            owners = " and ".join(entry_point.owner for entry_point in found)
            raise LyftLearnError(f"{owners} both register the backend {name!r}: uninstall one of them")
        return found[0]

    def _unknown(self, name: str) -> str:
        import difflib  # noqa: PLC0415 - only for a name that nobody has

        near = difflib.get_close_matches(name, self.names(), n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        return f"no backend {name!r} is installed.{meant} Installed: {', '.join(self.names()) or 'none'}."


def _entry_points_by_name() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry_point in installed.entry_points(GROUP):
        known = found[entry_point.name]
        if all(other.owner != entry_point.owner for other in known):
            known.append(entry_point)
    return dict(found)


def _load_error(entry_point: EntryPoint, exc: Exception) -> str:
    owner, extras = entry_point.owner, ",".join(entry_point.extras)
    wanted = f"{owner}[{extras}]" if extras else owner
    remedy = f": pip install '{wanted}'" if isinstance(exc, ImportError) else ""
    return f"the backend {entry_point.name!r} of {owner} cannot be loaded ({exc}){remedy}"
