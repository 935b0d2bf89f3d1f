"""Where a study is kept: `tuning/<id>/` in the storage, by conditional writes.

`study.json` says what is searched and never changes. `00000.json`, `00001.json` and so on hold a hundred trials each,
so the end of one rewrites a hundred and not all. A record only ever gains: first it is drawn, then its end is known. So
two drivers of one study, of which one has not noticed that it was replaced, write the same, and nothing is lost where
their writes meet. `stop.json` is there when somebody has asked the search to stop.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lyftlearn._storage import Storage
from lyftlearn._studies.space import drawn_values
from lyftlearn._studies.study import FORMAT, Study
from lyftlearn._studies.trial_record import TrialRecord
from lyftlearn.errors import BackendUnavailable, LyftLearnError

CHUNK = 100
_AT_ONCE = 8  # chunks that are read at once: a round trip each, and nobody counts them for us
_LARGEST = 64 << 20  # bytes: a call may have 16 MiB of hyperparameters and as many of choices, and JSON may escape them
_RACES = 100
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What reading a document raises that is no study's."""


class StudyReader:
    """Reads a study, in any process. What can no longer change is read once."""

    def __init__(self, storage: Storage, study_id: str) -> None:
        self._storage = storage
        self._prefix = f"tuning/{study_id}"
        self._study: Study | None = None
        self._complete: dict[int, list[TrialRecord]] = {}

    def study(self) -> Study | None:
        """Return what is searched; None before the driver has begun. Raises LyftLearnError if it is damaged."""
        if self._study is None:
            document, _ = self._read("study.json")
            try:
                self._study = Study.from_json(document) if document else None
            except _BROKEN as exc:
                raise self._damage("study.json", exc) from exc
        return self._study

    def records(self) -> list[TrialRecord]:
        """Return every trial that was drawn, in order."""
        study = self.study()
        if study is None:
            return []
        chunks = range(-(-study.trials // CHUNK))
        return [record for found in self._chunks(chunks) for record in found]

    def age(self) -> float:
        """Return the seconds since the driver first began, by the clock of the storage."""
        stored = self._storage.read(f"{self._prefix}/study.json", _LARGEST)
        return stored.age.total_seconds() if stored else 0.0

    def is_stopped(self) -> bool:
        """Whether somebody has asked the search to stop."""
        return self._storage.read(f"{self._prefix}/stop.json") is not None

    def ask_to_stop(self) -> None:
        """Keep for the driver, whenever it starts, that the search is to stop. May be repeated."""
        self._storage.create(f"{self._prefix}/stop.json", b'{"format": 1}')

    def _chunks(self, chunks: range) -> Iterator[list[TrialRecord]]:
        """Yield the chunks that are there, a few read at once; the first that is empty is the last."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(chunks), _AT_ONCE):
                found = list(pool.map(self._chunk, chunks[start : start + _AT_ONCE]))
                yield from found
                if not found[-1]:
                    return

    def _chunk(self, chunk: int) -> list[TrialRecord]:
        if chunk not in self._complete:
            records = list(self._read_chunk(chunk)[0].values())
            if len(records) < CHUNK or any(record.end is None for record in records):
                return records
            self._complete[chunk] = records
        return self._complete[chunk]

    def _read_chunk(self, chunk: int) -> tuple[dict[int, TrialRecord], str | None]:
        name = _chunk_name(chunk)
        document, version = self._read(name)
        try:
            records = [self._record(fields) for fields in document.get("trials", ())]
        except _BROKEN as exc:
            raise self._damage(name, exc) from exc
        return {record.number: record for record in sorted(records, key=lambda record: record.number)}, version

    def _record(self, fields: Mapping[str, Any]) -> TrialRecord:
        record = TrialRecord.from_json(fields)
        if self._study is not None:
            drawn_values(self._study.space, record.draw)  # raises where no value of the space was drawn
        return record

    def _read(self, name: str) -> tuple[Mapping[str, Any], str | None]:
        """Return a document and its version; nothing and None where there is none."""
        stored = self._storage.read(f"{self._prefix}/{name}", _LARGEST)
        if stored is None:
            return {}, None
        try:
            document: Mapping[str, Any] = json.loads(stored.data)
            version = document["format"]
        except (ValueError, LookupError, TypeError, RecursionError) as exc:
            raise self._damage(name, exc) from exc
        if version != FORMAT:
            raise LyftLearnError(f"{self._uri(name)} has format {version!r}: upgrade lyftlearn to read this search")
        return document, stored.version

    def _damage(self, name: str, error: Exception) -> LyftLearnError:
        return LyftLearnError(f"{self._uri(name)} is damaged ({type(error).__name__}: {error}): restore it")

    def _uri(self, name: str) -> str:
        return self._storage.uri(f"{self._prefix}/{name}")


class StudyWriter(StudyReader):
    """Keeps a study, for its driver. `known` is every trial by its number, as it stands in the storage."""

    def __init__(self, storage: Storage, study: Study) -> None:
        super().__init__(storage, study.id)
        self._study = study
        self._versions: dict[int, str | None] = {}
        self._by_chunk: dict[int, dict[int, TrialRecord]] = {}
        self.known: dict[int, TrialRecord] = {}

    def open(self) -> None:
        """Write down what is searched, and read what is known of it."""
        assert self._study is not None  # noqa: S101 - for the type checker
        self._storage.create(f"{self._prefix}/study.json", _encode(self._study.document))
        for chunk in range(-(-self._study.trials // CHUNK)):
            if not self._take(chunk):
                return

    def keep(self, records: Iterable[TrialRecord]) -> None:
        """Add what is new. Whatever else was written meanwhile stays, and is known afterwards."""
        by_chunk: dict[int, dict[int, TrialRecord]] = {}
        for record in records:
            by_chunk.setdefault(record.number // CHUNK, {})[record.number] = record
        for chunk, found in by_chunk.items():
            self._keep_in_chunk(chunk, found)

    def _keep_in_chunk(self, chunk: int, records: Mapping[int, TrialRecord]) -> None:
        for _ in range(_RACES):
            after = _merge(self._by_chunk.get(chunk, {}), records)
            version = self._storage.write(self._key(chunk), _encode(_document(after)), self._versions.get(chunk))
            if version is not None:
                self._versions[chunk] = version
                self._know(chunk, after)
                return
            self._take(chunk)
        raise BackendUnavailable(f"{self._uri(_chunk_name(chunk))} changed {_RACES} times while it was being written")

    def _take(self, chunk: int) -> bool:
        """Learn what stands in a chunk; return whether there is one."""
        records, self._versions[chunk] = self._read_chunk(chunk)
        self._know(chunk, records)
        return bool(records)

    def _know(self, chunk: int, records: dict[int, TrialRecord]) -> None:
        self._by_chunk[chunk] = records
        self.known.update(records)

    def _key(self, chunk: int) -> str:
        return f"{self._prefix}/{_chunk_name(chunk)}"


def _merge(before: Mapping[int, TrialRecord], new: Mapping[int, TrialRecord]) -> dict[int, TrialRecord]:
    """Return both: of a trial that both know, the one whose end is known, else the one that stood first."""
    after = dict(before)
    for number, record in new.items():
        stands = before.get(number)
        if stands is None or (stands.end is None and record.end is not None and record.job_id == stands.job_id):
            after[number] = record
    return dict(sorted(after.items()))


def _document(records: Mapping[int, TrialRecord]) -> dict[str, Any]:
    return {"format": FORMAT, "trials": [record.as_json() for record in records.values()]}


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _chunk_name(chunk: int) -> str:
    return f"{chunk:05}.json"
