"""Kubeconfig files: read, merged as kubectl does, and refused by name where something in them is not understood."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lyftlearn.backend import read_small_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from urllib.parse import SplitResult

_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_TEXT, _TRUTH, _TEXTS, _TABLE, _TABLES, _ANY = (
    "a text",
    "true or false",
    "a list of texts",
    "a table",
    "a list of tables",
    "",
)
# Of k8s.io/client-go/tools/clientcmd/api/v1, types.go.
_KNOWN: Mapping[str, Mapping[str, str]] = {
    "cluster": {
        "server": _TEXT,
        "tls-server-name": _TEXT,
        "insecure-skip-tls-verify": _TRUTH,
        "certificate-authority": _TEXT,
        "certificate-authority-data": _TEXT,
        "proxy-url": _TEXT,
        "disable-compression": _TRUTH,
        "extensions": _TABLES,
    },
    "context": {"cluster": _TEXT, "user": _TEXT, "namespace": _TEXT, "extensions": _ANY},
    "user": {
        "client-certificate": _TEXT,
        "client-certificate-data": _TEXT,
        "client-key": _TEXT,
        "client-key-data": _TEXT,
        "token": _TEXT,
        "tokenFile": _TEXT,
        "as": _TEXT,
        "as-uid": _TEXT,
        "as-groups": _TEXTS,
        "as-user-extra": _TABLE,
        "username": _TEXT,
        "password": _TEXT,
        "auth-provider": _ANY,
        "exec": _TABLE,
        "extensions": _ANY,
    },
    "exec": {
        "command": _TEXT,
        "args": _TEXTS,
        "env": _TABLES,
        "apiVersion": _TEXT,
        "installHint": _TEXT,
        "provideClusterInfo": _TRUTH,
        "interactiveMode": _TEXT,
    },
}
_BESIDE = "beside"  # what else an entry has than its name and its table
_LISTS = ("clusters", "contexts", "users")


def read_all(paths: Sequence[Path]) -> dict[str, Any]:
    """Merge kubeconfig files as kubectl does: whatever was named first stays. Raises OSError and ValueError."""
    merged: dict[str, Any] = {"clusters": [], "contexts": [], "users": [], "current-context": None}
    for path in paths:
        document = _read(path)
        merged["current-context"] = merged["current-context"] or document.get("current-context")
        for kind in _LISTS:
            known = {entry["name"] for entry in merged[kind]}
            merged[kind] += [entry for entry in document[kind] if entry["name"] not in known]
    return merged


def entry(merged: Mapping[str, Any], kind: str, name: object) -> dict[str, Any]:
    """Return the cluster, context or user of a name. Raises ValueError, with everything in it that cannot be used."""
    found = next((one for one in merged[f"{kind}s"] if one["name"] == name), None)
    if found is None:
        raise ValueError(f"the kubeconfig has no {kind} {name!r}")
    table = {key: value for key, value in found[kind].items() if value is not None}
    plugin = table.get("exec")
    faults = [
        *(f"{key} stands beside {kind}, where it says nothing: indent it" for key in found[_BESIDE]),
        *_faults(kind, table),
        *(_faults("exec", plugin) if isinstance(plugin, dict) else ()),
    ]
    if faults:
        raise ValueError(f"the kubeconfig's {kind} {name!r} cannot be used: {'; '.join(faults)}")
    return table


def _faults(kind: str, table: Mapping[str, Any]) -> Iterator[str]:
    known = _KNOWN[kind]
    for key, value in table.items():
        if key not in known:
            yield f"{key} is not known here: take it out, or write one of {', '.join(sorted(known))}"
        elif value is not None and not _fits(value, known[key]):
            yield f"{key} has to be {known[key]}"


def _fits(value: object, expected: str) -> bool:
    if expected == _TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if expected == _TABLES:
        return isinstance(value, list) and all(isinstance(item, dict) for item in value)
    kinds: Mapping[str, type] = {_TEXT: str, _TRUTH: bool, _TABLE: dict, _ANY: object}
    return isinstance(value, kinds[expected])


def _read(path: Path) -> dict[str, Any]:
    """Return a kubeconfig whose files are named from the root on."""
    document = _parse(path)
    for kind in _LISTS:
        document[kind] = [_entry(path, kind, item) for item in _entries(path, document, kind)]
    return document


def _parse(path: Path) -> dict[str, Any]:
    """Return the document. What the parser quotes may be a token, so a fault is told by its line alone."""
    try:
        document = _load(path, read_small_text(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text in UTF-8") from None
    if not isinstance(document, dict | None):
        raise TypeError(f"{path} is no kubeconfig: a table with clusters, contexts and users is expected")
    return document or {}


def _load(path: Path, text: str) -> Any:
    """Return what a text says."""
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 - planning asks nobody

    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe one
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ValueError(f"{path} is not valid YAML{where}") from None


def _entries(path: Path, document: Mapping[str, Any], kind: str) -> list[Any]:
    entries = document.get(kind) or []
    if not isinstance(entries, list):
        raise TypeError(f"{path}: {kind} has to be a list")
    return entries


def _entry(path: Path, kind: str, item: Any) -> dict[str, Any]:
    single = kind.removesuffix("s")
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise TypeError(f"{path}: every entry of {kind} has to be a table with a name")
    table = item.get(single) or {}
    if not isinstance(table, dict):
        raise TypeError(f"{path}: {single} of {item['name']!r} has to be a table")
    beside = sorted(str(key) for key in item if key not in ("name", single))
    return {"name": item["name"], single: {**table, **_from_the_root(path.absolute().parent, table)}, _BESIDE: beside}


def _from_the_root(base: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the files of an entry, and the command of its plugin, which are relative to the kubeconfig."""
    files: dict[str, Any] = {key: str(base / table[key]) for key in _FILES if _is_text(table.get(key))}
    plugin = table.get("exec")
    command = plugin.get("command") if isinstance(plugin, dict) else None
    if isinstance(plugin, dict) and isinstance(command, str) and "/" in command:
        files["exec"] = {**plugin, "command": str(base / command)}
    return files


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def server_url(cluster: Mapping[str, Any]) -> SplitResult:
    """Return the API server's URL as client-go reads it: `host:port` alone is http, or https where TLS is configured.

    Raises ValueError.
    """
    text = cluster.get("server") or "localhost:8080"
    keys = ("certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify")
    scheme = "https" if any(cluster.get(key) for key in keys) else "http"
    parts = urlsplit(text if "://" in text else f"{scheme}://{text}")
    problem = _problem(parts)
    if problem:
        raise ValueError(f"the cluster's server is no URL that can be used: {problem}")
    return parts


def _problem(parts: SplitResult) -> str:
    try:
        port = parts.port
    except ValueError:
        return "its port is no number up to 65535"
    if parts.username is not None or parts.password is not None:
        return "it holds a user or a password: write them under `users`"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "write https://<host>:<port>"
    if parts.query or parts.fragment or any(character.isspace() for character in parts.geturl()):
        return "it has a query, a fragment or a blank"
    return ""
