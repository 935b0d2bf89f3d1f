"""The one document that says everything about a job: where it is, how it is read, checked and completed."""

from __future__ import annotations

import os
import sys

from . import CONTRACT
from .faults import configuration_failure
from .json_text import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

VARIABLE = "LYFTLEARN_BUNDLE"
PROJECTED = "/var/run/lyftlearn/bundle.json"
CHANNEL = "input/data/lyftlearn/bundle.json"
MAY_REFER = ("hyperparameters", "env", "command")

# No pattern is compiled here, and `re` not loaded: most of a start would be theirs.
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_SECRET_CHARACTERS = _NAME_CHARACTERS | frozenset("+=@")
_PROVIDER_TEXTS = (
    "path",
    "prefix",
    "region",
    "endpoint",
    "url",
    "service",
    "from",
    "to",
    "user_type",
    "auth_key",
    "case",
)

LARGEST = 1 << 31
"""Seconds, and counts: what the clocks and the kernel still take."""
LARGEST_BYTES = 1 << 63
MOST_GPUS = 1 << 12
MOST_PORT = (1 << 16) - 1
LARGEST_ID = (1 << 32) - 1
"""Of a user or group: -1 means none to the kernel."""
NOTHING = type(None)
REQUIRED = object()
FIELDS: tuple[tuple[str, tuple[type, ...], object], ...] = (
    ("job.id", (str,), REQUIRED),
    ("job.name", (str,), REQUIRED),
    ("job.kind", (str,), REQUIRED),
    ("job.model", (str, NOTHING), None),
    ("command", (list,), REQUIRED),
    ("hyperparameters", (dict,), {}),
    ("env", (dict,), {}),
    ("secrets.names", (list,), []),
    ("secrets.provider", (dict, NOTHING), None),
    ("inputs", (dict,), {}),
    ("artifact", (str, NOTHING), None),
    ("artifact_sha256", (str, NOTHING), None),
    ("source", (dict, NOTHING), None),
    ("packages", (dict, NOTHING), None),
    ("outputs", (dict,), {}),
    ("model", (bool,), False),
    ("output_uri", (str, NOTHING), None),
    ("pack", (str,), "runtime"),
    ("checkpoints", (dict, NOTHING), None),
    ("resources.cpu", (int, float), 1.0),
    ("resources.memory", (int, NOTHING), None),
    ("resources.gpu", (int,), 0),
    ("resources.shared_memory", (int, NOTHING), None),
    ("nodes", (int,), 1),
    ("timeout", (int, float, NOTHING), None),
    ("grace", (int, float), 30),
    ("retries", (int,), 0),
    ("user", (dict, NOTHING), None),
    ("metrics.relay", (bool,), False),
    ("metrics.gateway", (str, NOTHING), None),
    ("metrics.socket", (str, NOTHING), None),
    ("log", (str, NOTHING), None),
    ("hide", (list,), []),
    ("notebook", (dict, NOTHING), None),
    ("spark", (dict, NOTHING), None),
    ("serving", (dict, NOTHING), None),
)


class Bundle:
    """A checked document: every known field present, unknown ones kept."""

    def __init__(self, document: dict[str, Any], origin: str) -> None:
        self.document = document
        self.origin = origin

    def __getitem__(self, field: str) -> Any:
        value: Any = self.document
        for part in field.split("."):
            value = value[part]
        return value


def find_location(environ: Mapping[str, str], ml: str, projected: str = PROJECTED) -> str | None:
    """Where the bundle is: a path, an `s3://` URI, the JSON text itself, or None."""
    location = environ.get(VARIABLE)
    if location:
        return location
    return next((path for path in (projected, os.path.join(ml, CHANNEL)) if os.path.exists(path)), None)


def load(location: str) -> Bundle:
    """Read, complete and check the bundle at `location`."""
    inline = location.lstrip().startswith("{")
    origin = "" if inline else location
    document = parse(location if inline else _fetch(location, "").decode("utf-8", "surrogateescape"), "the bundle")
    if not isinstance(document, dict):
        raise configuration_failure("the bundle is not a JSON object")
    _check_version(document)
    for field in MAY_REFER:
        if field in document:
            document[field] = _resolve(field, document[field], origin)
    return Bundle(check(document), origin)


def parse(text: str, what: str) -> Any:
    """JSON whose integers may have any number of digits."""
    lift_limit = getattr(sys, "set_int_max_str_digits", None)
    if lift_limit:
        lift_limit(0)
    try:
        return loads(text)
    except (ValueError, RecursionError) as error:
        raise configuration_failure(f"{what} cannot be read as JSON: {type(error).__name__}") from error


def _check_version(document: dict[str, Any]) -> None:
    version = document.get("contract")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise configuration_failure(f"bundle: contract: expected a version number, saw {version!r}")
    if version > CONTRACT:
        raise configuration_failure(
            f"bundle: this job speaks contract {version}, this runtime knows up to {CONTRACT}: "
            "submit it with the lyftlearn that matches the runtime, or bring the image's runtime up to date"
        )


def _resolve(field: str, value: Any, origin: str) -> Any:
    """Follow `{"$ref": location, "sha256": digest}`; an object with other keys too is a value like any other."""
    if not isinstance(value, dict) or set(value) != {"$ref", "sha256"} or not _is_sha256(str(value["sha256"])):
        return value
    if not _is_text(value["$ref"]):
        raise configuration_failure(f"bundle: {field}: $ref: expected a URI or a path, saw {value['$ref']!r}")
    content = _fetch(value["$ref"], origin)
    import hashlib

    digest = hashlib.sha256(content).hexdigest()
    if digest != value["sha256"]:
        raise configuration_failure(
            f"bundle: {field}: what is at {value['$ref']} has sha256 {digest}, expected {value['sha256']}"
        )
    return parse(content.decode("utf-8", "surrogateescape"), f"bundle: {field} at {value['$ref']}")


def _fetch(location: str, origin: str) -> bytes:
    if "://" not in location and not location.startswith("/"):
        location = os.path.join(os.path.dirname(origin), location)
    from .storage import LARGEST_DOCUMENT, check_size, read_bytes

    if "://" in location:
        return read_bytes(location)
    try:
        with open(location, "rb") as file:
            check_size(f"bundle: {location}", os.fstat(file.fileno()).st_size)
            return file.read(LARGEST_DOCUMENT)
    except OSError as error:
        raise configuration_failure(f"bundle: {location} cannot be read: {error.strerror}") from error


def check(document: dict[str, Any]) -> dict[str, Any]:
    """The document with defaults filled in; every fault in one message."""
    faults: list[str] = []
    for field, kinds, default in FIELDS:
        _complete(document, field, kinds, default, faults)
    if not faults:
        faults = [fault for rule in RULES for fault in rule(document)]
    if faults:
        raise configuration_failure(*(f"bundle: {fault}" for fault in faults))
    return document


def _complete(document: dict[str, Any], field: str, kinds: tuple[type, ...], default: Any, faults: list[str]) -> None:
    *parents, last = field.split(".")
    holder: Any = document
    for parent in parents:
        holder = holder.setdefault(parent, {})
        if not isinstance(holder, dict):
            faults.append(f"{parent}: expected an object, saw {type(holder).__name__}")
            return
    if last not in holder and default is REQUIRED:
        faults.append(f"{field}: missing")
        return
    value = holder.setdefault(last, default)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join("null" if kind is NOTHING else kind.__name__ for kind in kinds)
        faults.append(f"{field}: expected {expected}, saw {type(value).__name__}")


def _command_rule(document: dict[str, Any]) -> list[str]:
    command = document["command"]
    fine = command and all(map(_is_text, command))
    return [] if fine else ["command: expected a list of at least one string"]


def _env_rule(document: dict[str, Any]) -> list[str]:
    return [
        f"env.{name}: expected a name without '=' and a text value, neither with a NUL"
        for name, value in document["env"].items()
        if not name or "=" in name or not (_is_text(name) and _is_text(value))
    ]


def _is_text(value: object) -> bool:
    """Whether the kernel takes it: no NUL, and no half of a character."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_name(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and text not in (".", "..") and _NAME_CHARACTERS.issuperset(text)


def _is_secret(text: str) -> bool:
    return all(part not in ("", ".", "..") and _SECRET_CHARACTERS.issuperset(part) for part in text.split("/"))


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and set("0123456789abcdef").issuperset(text)


def _names_rule(document: dict[str, Any]) -> list[str]:
    faults = [
        f"{field}: {name!r} is no name: letters, digits, '.', '_' and '-', at most 64"
        for field in ("inputs", "outputs")
        for name in document[field]
        if not _is_name(name, 64)
    ]
    if not _is_name(document["job"]["id"], 253):
        faults.append(f"job.id: {document['job']['id']!r} is no name: letters, digits, '.', '_' and '-', at most 253")
    secrets = [name for name in document["secrets"]["names"] if not _is_secret(str(name))]
    return faults + [f"secrets.names: {name!r} is no name" for name in secrets]


def _texts_rule(document: dict[str, Any]) -> list[str]:
    """What becomes a variable, a path or a URI."""
    texts = {f"job.{key}": document["job"][key] for key in ("name", "kind", "model")}
    texts.update({key: document[key] for key in ("artifact", "output_uri", "log")})
    texts.update({"metrics.socket": document["metrics"]["socket"]})
    return [f"{field}: cannot be a variable or a path" for field, text in texts.items() if not _is_text(text or "")]


def _secrets_rule(document: dict[str, Any]) -> list[str]:
    names, provider = document["secrets"]["names"], document["secrets"]["provider"]
    if not names:
        return []
    if not provider:
        return ["secrets.provider: missing, but the job names secrets"]
    return [
        f"secrets.provider.{field}: expected text, saw {type(value).__name__}"
        for field, value in provider.items()
        if field in _PROVIDER_TEXTS and not isinstance(value, (str, NOTHING))
    ] + (["secrets.provider.path: missing"] if provider.get("type") == "files" and not provider.get("path") else [])


def _members_rule(document: dict[str, Any]) -> list[str]:
    faults = [
        f"inputs.{name}: expected an object with mode 'mounted', 'linked' with a path and within, or 'fetch' and a uri"
        for name, entry in document["inputs"].items()
        if not isinstance(entry, dict) or not _is_input(entry)
    ]
    return faults + [
        f"outputs.{name}: expected an object, its uri text or null, and within a path"
        for name, entry in document["outputs"].items()
        if not isinstance(entry, dict)
        or not (entry.get("uri") is None or _is_text(entry["uri"]))
        or not _is_path(entry.get("within", "/"))
    ]


def _is_input(entry: dict[str, Any]) -> bool:
    if entry.get("mode") == "linked":
        return _is_path(entry.get("path")) and _is_path(entry.get("within"))
    return entry.get("mode") == "mounted" or _is_text(entry.get("uri"))


def _is_path(value: object) -> bool:
    return _is_text(value) and str(value).startswith("/")


def _packages_rule(document: dict[str, Any]) -> list[str]:
    packages = document["packages"]
    if packages is None or (_is_text(packages.get("uri")) and _is_text(packages.get("index") or "")):
        return []
    return ["packages: expected a uri, and an index that is text or null"]


def _moved_rule(document: dict[str, Any]) -> list[str]:
    """`source` and `checkpoints` say where they are, unless they are mounted."""
    faults = [
        f"{field}: expected mode 'mounted', or a uri"
        for field in ("source", "checkpoints")
        if document[field] and document[field].get("mode") != "mounted" and not _is_text(document[field].get("uri"))
    ]
    interval = (document["checkpoints"] or {}).get("interval", 1)
    return faults if _is_number(interval) and interval > 0 else [*faults, "checkpoints.interval: expected seconds"]


def _numbers_rule(document: dict[str, Any]) -> list[str]:
    faults = [f"{field}: expected 0 or more" for field in ("retries", "grace") if not 0 <= document[field] < LARGEST]
    if not 1 <= document["nodes"] < LARGEST:
        faults.append("nodes: less than 1, or too many")
    if document["timeout"] is not None and not 0 < document["timeout"] < LARGEST:
        faults.append("timeout: expected more than 0")
    resources = document["resources"]
    limits = {"cpu": LARGEST, "memory": LARGEST_BYTES, "gpu": MOST_GPUS, "shared_memory": LARGEST_BYTES}
    return faults + [
        f"resources.{field}: expected 0 or more, and less than {limit}"
        for field, limit in limits.items()
        if resources[field] is not None and not 0 <= resources[field] < limit
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _hide_rule(document: dict[str, Any]) -> list[str]:
    return [] if all(isinstance(name, str) for name in document["hide"]) else ["hide: expected names of variables"]


def _notebook_rule(document: dict[str, Any]) -> list[str]:
    """`idle_timeout`: seconds or null. `options`: of JupyterLab. `token`, `state`: paths, or null."""
    notebook = document["notebook"]
    if notebook is None:
        return []
    idle = notebook.setdefault("idle_timeout", None)
    faults = [] if idle is None or (_is_number(idle) and 0 < idle < LARGEST) else ["notebook.idle_timeout: no seconds"]
    options = notebook.get("options", [])
    if not isinstance(options, list) or not all(map(_is_text, options)):
        faults.append("notebook.options: expected a list of texts")
    paths = (name for name in ("token", "state") if not _is_text(notebook.get(name) or ""))
    return faults + [f"notebook.{name}: expected a path or null" for name in paths]


def _spark_rule(document: dict[str, Any]) -> list[str]:
    if document["spark"] is None:
        return []
    from .spark.rules import spark_faults

    return spark_faults(document["spark"])


def _serving_rule(document: dict[str, Any]) -> list[str]:
    """`port`: on which the command answers. The model's digest: 64 hexadecimal digits, or null."""
    serving, digest = document["serving"], document["artifact_sha256"]
    faults = [] if digest is None or _is_sha256(digest) else ["artifact_sha256: expected a SHA-256 or null"]
    port = serving and serving.get("port")
    if serving is not None and not (isinstance(port, int) and 0 < port <= MOST_PORT):
        faults.append(f"serving.port: expected a number from 1 to {MOST_PORT}")
    return faults


def _pack_rule(document: dict[str, Any]) -> list[str]:
    faults = []
    if document["pack"] not in ("runtime", "substrate"):
        faults.append(f"pack: expected 'runtime' or 'substrate', saw {document['pack']!r}")
    packs = document["pack"] == "runtime" and (document["model"] or _outputs_to_pack(document))
    if packs and document["output_uri"] is None:
        faults.append("output_uri: missing, and the runtime is to keep the model or the outputs")
    return faults


def _outputs_to_pack(document: dict[str, Any]) -> list[str]:
    return [name for name, entry in document["outputs"].items() if isinstance(entry, dict) and not entry.get("uri")]


def _gateway_rule(document: dict[str, Any]) -> list[str]:
    gateway = document["metrics"]["gateway"]
    host, _, port = (gateway or "").rpartition(":")
    fine = gateway is None or (host and "\n" not in host and port.isascii() and port.isdecimal() and len(port) <= 5)
    return [] if fine else [f"metrics.gateway: expected host:port, saw {gateway!r}"]


def _user_rule(document: dict[str, Any]) -> list[str]:
    user = document["user"]
    fine = user is None or all(type(user.get(key)) is int and 0 <= user[key] < LARGEST_ID for key in ("uid", "gid"))
    return [] if fine else ["user: expected integers uid and gid"]


RULES = (
    _command_rule,
    _env_rule,
    _names_rule,
    _secrets_rule,
    _members_rule,
    _packages_rule,
    _moved_rule,
    _numbers_rule,
    _texts_rule,
    _hide_rule,
    _notebook_rule,
    _spark_rule,
    _serving_rule,
    _pack_rule,
    _gateway_rule,
    _user_rule,
)
