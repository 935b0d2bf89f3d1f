"""One check per argument: `(path, value, faults) -> resolved value`.

A check appends what is wrong to `faults` and returns something harmless, so that all arguments are looked at. No
message repeats a value of `env`: it may be what its author forgot to make a secret.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lyftlearn._call.json_text import json_text
from lyftlearn._call.locations import destination, parse_location
from lyftlearn._contract.fault import Fault
from lyftlearn._contract.spec import ResourceRequest
from lyftlearn._text.display import quote
from lyftlearn._text.quantities import duration, quantity, readable
from lyftlearn.runtime.location import Location
from lyftlearn.types import Resources

if TYPE_CHECKING:
    from lyftlearn.config import Config


# Kubernetes: label values and the name part of label keys (apimachinery's validation.IsValidLabelValue).
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
# Kubernetes: DNS-1123 subdomain, for label prefixes and names of Secrets.
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
# POSIX, XBD 8.1: what a shell can name.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# SageMaker: ChannelName, `[A-Za-z0-9\.\-_]+` and at most 64; a path component as well, so it starts with no dot.
_CHANNEL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_RESERVED_CHANNEL = "lyftlearn"  # carries the bundle where a substrate has channels
# Linux, execve(2): MAX_ARG_STRLEN, 32 pages with the closing NUL.
_MAX_STRING = 32 * 4096 - 1
_RESERVED_LABELS = ("lyftlearn/", "kubernetes.io/", "k8s.io/")
_MOST = {"cpu": 1024, "gpu": 64, "nodes": 1000, "retries": 100}
_LARGEST = 64 * 1024**4


def name(path: str, value: Any, faults: list[Fault]) -> str:
    """Check the name of a job or model: a Kubernetes label value, since jobs are found by it."""
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return value
    seen = (
        f"{value[:40]!r}... ({len(value)} characters)" if isinstance(value, str) and len(value) > 63 else quote(value)
    )
    rule = "1 to 63 of A-Z a-z 0-9 . _ -, the first and the last a letter or digit"
    faults.append(Fault(path, f"is {seen}: write {rule}"))
    return "job"


def command(path: str, value: Any, faults: list[Fault]) -> tuple[str, ...]:
    """Check a command and return its argv; a string becomes `/bin/sh -c`."""
    if isinstance(value, str):
        argv: tuple[Any, ...] = ("/bin/sh", "-c", value) if value.strip() else ()
    elif _is_sequence(value):
        argv = tuple(value)
    else:
        faults.append(Fault(path, f"is {quote(value)}: write a string for the shell or a list of strings"))
        return ()
    if not argv or not argv[0]:
        faults.append(Fault(path, "is empty: write what to run"))
    for index, word in enumerate(argv):
        _word(f"{path}[{index}]", word, faults)
    return argv


def _word(path: str, value: Any, faults: list[Fault]) -> None:
    if not isinstance(value, str):
        faults.append(Fault(path, f"is {quote(value)}: write it as a string"))
    else:
        _argument_string(path, value, len(value.encode("utf-8", "replace")), faults)


def _argument_string(path: str, value: str, size: int, faults: list[Fault]) -> None:
    if "\0" in value:
        faults.append(Fault(path, "holds a NUL character, which no program can be given: remove it"))
    elif size > _MAX_STRING:
        problem = f"has {size} bytes, and a program can be given {_MAX_STRING}: make it a hyperparameter or an input"
        faults.append(Fault(path, problem))


def image(path: str, value: Any, faults: list[Fault]) -> str | None:
    """Check an image reference; which ones exist only a substrate knows."""
    if value is not None and (not isinstance(value, str) or not value or re.search(r"\s", value)):
        faults.append(Fault(path, f"is {quote(value)}: write an image reference without spaces"))
        return None
    return value


def source(path: str, value: Any, faults: list[Fault], config: Config | None = None) -> Path | None:
    """Check a source directory or archive and return it as an absolute path."""
    if value is None:
        return None
    try:
        location = Location.parse(os.fspath(value)) if value else None
        directory = Path(location.path).expanduser().absolute() if location else None
    except (TypeError, ValueError, RuntimeError):  # the last one is for `~user` of a user who does not exist
        location = directory = None
    if location is None or directory is None or not location.is_file:
        remedy = "write the path of a directory or archive on this machine, and pass what is elsewhere as an input"
        faults.append(Fault(path, f"is {quote(value)}: {remedy}"))
        return None
    from lyftlearn._transfer import SourceRules, source_faults  # noqa: PLC0415 - only for jobs that bring code

    try:
        directory = Path(location.path).expanduser().absolute()
    except (OSError, RuntimeError) as exc:
        faults.append(Fault(path, f"{quote(location.path)} cannot be found ({exc}): write the path of a directory"))
        return None
    rules = SourceRules.of(config) if config else SourceRules()
    faults.extend(Fault(path, problem) for problem in source_faults(directory, rules))
    return directory


def hyperparameters(path: str, value: Any, faults: list[Fault]) -> str:
    """Check hyperparameters and return them as JSON text."""
    if value is None:
        return "{}"
    if not isinstance(value, Mapping):
        faults.append(Fault(path, f"is {quote(value)}: write a mapping of names to JSON values"))
        return "{}"
    return json_text(path, dict(value), faults)


def inputs(path: str, value: Any, faults: list[Fault], *, is_seen: Callable[[str], bool]) -> Mapping[str, Location]:
    """Check channels and where they come from. is_seen: whether jobs see a path by themselves that is not here."""
    return MappingProxyType(
        {
            _channel(f"{path}.{channel}", channel, faults): parse_location(f"{path}.{channel}", where, faults, is_seen)
            for channel, where in _items(path, value, faults)
        }
    )


def outputs(path: str, value: Any, faults: list[Fault]) -> Mapping[str, str | None]:
    """Check the names of outputs, and the URIs of those that have their own."""
    if isinstance(value, str) or not (isinstance(value, Mapping) or _is_sequence(value)):
        faults.append(Fault(path, f"is {quote(value)}: write a list of names, or a mapping of names to URIs"))
        return {}
    if not isinstance(value, Mapping):
        _no_duplicates(path, value, faults)
        faults.extend(
            Fault(path, f"{quote(one)} is no name: write a text") for one in value if not isinstance(one, str)
        )
        value = dict.fromkeys(one for one in value if isinstance(one, str))
    return MappingProxyType(
        {
            _channel(f"{path}.{output}", output, faults): destination(f"{path}.{output}", uri, faults)
            for output, uri in _items(path, value, faults)
        }
    )


def _channel(path: str, value: Any, faults: list[Fault]) -> str:
    if not isinstance(value, str) or not _CHANNEL.fullmatch(value):
        faults.append(Fault(path, f"{quote(value)} is no name: write 1 to 64 of A-Z a-z 0-9 . _ -, the first no dot"))
    elif value == _RESERVED_CHANNEL:
        faults.append(Fault(path, f"the name {quote(value)} is the platform's own: take another"))
    return str(value)


def env(path: str, value: Any, faults: list[Fault]) -> Mapping[str, str]:
    """Check variables: names that a shell accepts, values that a program can be given."""
    return MappingProxyType({str(key): _variable(path, key, text, faults) for key, text in _items(path, value, faults)})


def _variable(path: str, key: Any, value: Any, faults: list[Fault]) -> str:
    where = f"{path}.{key}"
    if not isinstance(key, str) or not _VARIABLE.fullmatch(key):
        faults.append(
            Fault(path, f"{quote(key)} is a name that no shell accepts: write A-Z a-z 0-9 _, the first no digit")
        )
    elif key.startswith("LYFTLEARN_"):
        faults.append(Fault(where, "the names LYFTLEARN_* are the platform's own: take another"))
    if not isinstance(value, str):
        faults.append(Fault(where, f"is of type {type(value).__name__}: write it as a string"))
        return ""
    _argument_string(where, value, len(f"{key}={value}".encode("utf-8", "replace")), faults)
    return value


def secrets(path: str, value: Any, faults: list[Fault]) -> tuple[str, ...]:
    """Check names of secrets: each is a Kubernetes Secret's."""
    if not _is_sequence(value):
        faults.append(
            Fault(
                path,
                f"is {quote(value)}: write a list of names" + (f", [{quote(value)}]" if isinstance(value, str) else ""),
            )
        )
        return ()
    for index, secret in enumerate(value):
        if not isinstance(secret, str) or len(secret) > 253 or not _SUBDOMAIN.fullmatch(secret):
            faults.append(
                Fault(
                    f"{path}[{index}]", f"is {quote(secret)}: write 1 to 253 of a-z 0-9 - . as Kubernetes names Secrets"
                )
            )
    _no_duplicates(path, value, faults)
    return tuple(value)


def labels(path: str, value: Any, faults: list[Fault]) -> Mapping[str, str]:
    """Check labels by Kubernetes' rules."""
    checked = label_query(path, value, faults)
    for key in checked:
        if key.startswith(_RESERVED_LABELS) or key.rpartition("/")[0].endswith((".kubernetes.io", ".k8s.io")):
            reserved = "the prefixes lyftlearn/, kubernetes.io/ and k8s.io/ are reserved: take another"
            faults.append(Fault(f"{path}.{key}", reserved))
    return checked


def label_query(path: str, value: Any, faults: list[Fault]) -> Mapping[str, str]:
    """Check labels to look for: those of the platform, too."""
    checked: dict[str, str] = {}
    for key, text in _items(path, value, faults):
        if not _is_label(key):
            faults.append(Fault(path, f"{quote(key)} is no label: write [<DNS name>/]<1 to 63 of A-Z a-z 0-9 . _ ->"))
            continue
        if not isinstance(text, str) or (text and not _LABEL.fullmatch(text)):
            remedy = "write at most 63 of A-Z a-z 0-9 . _ -, no mark at its ends"
            faults.append(Fault(f"{path}.{key}", f"is {quote(text)}: {remedy}"))
        checked[key] = str(text) if isinstance(text, str) else ""
    return MappingProxyType(checked)


def _is_label(key: Any) -> bool:
    if not isinstance(key, str):
        return False
    prefix, slash, local = key.rpartition("/")
    return _LABEL.fullmatch(local) is not None and (not slash or _prefix(prefix))


def _prefix(value: str) -> bool:
    return len(value) <= 253 and bool(_SUBDOMAIN.fullmatch(value))


def resources(path: str, value: Any, faults: list[Fault]) -> ResourceRequest:
    """Check resources and return them in numbers."""
    if not isinstance(value, Resources):
        faults.append(Fault(path, f"is {quote(value)}: write lyftlearn.Resources(cpu=..., memory=...)"))
        value = Resources()
    if value.gpu_type is not None and (not isinstance(value.gpu_type, str) or not value.gpu_type):
        faults.append(Fault(f"{path}.gpu_type", f'is {quote(value.gpu_type)}: write a name such as "A10G"'))
    gpu = _whole(f"{path}.gpu", value.gpu, 0, faults)
    if value.gpu_type and gpu == 0:
        faults.append(Fault(f"{path}.gpu_type", f"is {quote(value.gpu_type)} but gpu is 0: ask for gpu=1 or more"))
    shared = value.shared_memory
    return ResourceRequest(
        cpu=_cores(f"{path}.cpu", value.cpu, faults),
        memory=_bytes(f"{path}.memory", value.memory, faults),
        gpu=gpu,
        gpu_type=value.gpu_type,
        disk=_bytes(f"{path}.disk", value.disk, faults),
        shared_memory=None if shared is None else _bytes(f"{path}.shared_memory", shared, faults),
    )


def _cores(path: str, value: Any, faults: list[Fault]) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= _MOST["cpu"]:
        faults.append(Fault(path, f"is {quote(value)}: write a number of cores above 0, at most {_MOST['cpu']}"))
        return 1
    return float(value)


def _bytes(path: str, value: Any, faults: list[Fault]) -> int:
    try:
        size = quantity(value)
    except ValueError as exc:
        faults.append(Fault(path, str(exc)))
        return 0
    if not 0 < size <= _LARGEST:
        faults.append(Fault(path, f"is {quote(value)}: write more than 0 and at most {readable(_LARGEST)}"))
    return size


def nodes(path: str, value: Any, faults: list[Fault]) -> int:
    """Check a number of nodes."""
    return _whole(path, value, 1, faults)


def retries(path: str, value: Any, faults: list[Fault]) -> int:
    """Check a number of retries."""
    return _whole(path, value, 0, faults)


def _whole(path: str, value: Any, least: int, faults: list[Fault]) -> int:
    most = _MOST[path.rpartition(".")[2]]
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    faults.append(Fault(path, f"is {quote(value)}: write a whole number from {least} to {most}"))
    return least


def timeout(path: str, value: Any, faults: list[Fault]) -> timedelta | None:
    """Check a duration; None leaves it to the platform."""
    if value is None:
        return None
    try:
        length = duration(value)
    except ValueError as exc:
        faults.append(Fault(path, str(exc)))
        return None
    if length < timedelta(seconds=1):
        faults.append(Fault(path, f"is {quote(value)}: write at least one second"))
    return length


idle_timeout = timeout


def key(path: str, value: Any, faults: list[Fault]) -> str | None:
    """Check an idempotency key: any text but an empty one."""
    if value is not None and (not isinstance(value, str) or not value):
        faults.append(Fault(path, f"is {quote(value)}: write a text, the same for calls that mean the same job"))
        return None
    return value


def _items(path: str, value: Any, faults: list[Fault]) -> list[tuple[Any, Any]]:
    if value is None:
        return []
    if not isinstance(value, Mapping):
        faults.append(Fault(path, f"is of type {type(value).__name__}: write a mapping"))
        return []
    faults.extend(Fault(path, f"{quote(key)} is no name: write a text") for key in value if not isinstance(key, str))
    return [(key, item) for key, item in value.items() if isinstance(key, str)]


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _no_duplicates(path: str, value: Sequence[Any], faults: list[Fault]) -> None:
    twice = sorted(item for item, times in Counter(map(quote, value)).items() if times > 1)
    if twice:
        faults.append(Fault(path, f"names {', '.join(twice)} more than once: name each once"))
