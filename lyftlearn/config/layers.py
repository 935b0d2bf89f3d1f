"""The files that configuration comes from, and how they become one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lyftlearn._contract.fault import Fault
from lyftlearn._contract.ids import OWN_LETTERS
from lyftlearn._contract.options import Option, display_value, nearest, read_options
from lyftlearn._text.encoding import is_unicode
from lyftlearn._text.small_file import read_small_text
from lyftlearn.config import migrations
from lyftlearn.config.images import image_faults
from lyftlearn.config.keys import MIGRATION, MODEL, TABLES, TOP
from lyftlearn.config.migrations import MIGRATIONS, migration_faults
from lyftlearn.config.mounts import contradictions, mount_faults
from lyftlearn.config.spark import spark_faults
from lyftlearn.errors import InvalidJob

FILE = "lyftlearn.toml"
IMAGES, MOUNTS = "images", "mounts"
_DEEPEST = 20  # tables in tables
PLATFORM_FILE = "/etc/lyftlearn/lyftlearn.toml"
_GROUP = "lyftlearn.backends"


class Layer(NamedTuple):
    """One place that configuration comes from.

    origin: what a person is told of it. folder: where its relative paths start; None for the working directory.
    """

    origin: str
    folder: Path | None
    tables: Mapping[str, Any]


def read_layers(config: str | os.PathLike[str] | Mapping[str, Any] | None) -> tuple[Path | None, list[Layer]]:
    """Return the repository's file, if there is one, and the layers, the lowest first. Raises InvalidJob."""
    if isinstance(config, Mapping):
        faults = [("config", f"{display_value(key)} is no key: write a text") for key in _odd_keys(config, 0)]
        if faults:
            raise InvalidJob(faults)
        return None, [Layer("config", None, config)]
    if config is not None and not isinstance(config, str | os.PathLike):
        raise InvalidJob([("config", f"is {display_value(config)}: write the path of a file, or a mapping")])
    named = os.environ.get("LYFTLEARN_PLATFORM_CONFIG")
    platform = Path(named or PLATFORM_FILE)
    source = Path(config) if config is not None else _repository_file()
    paths = [platform] if named or platform.exists() else []
    return source, [_layer(path) for path in [*paths, *([source] if source else [])]]


def _odd_keys(tables: Mapping[Any, Any], depth: int) -> Iterator[Any]:
    """Yield keys that no file can have, and so no mapping that stands for one."""
    for key, value in tables.items():
        if not isinstance(key, str) or depth > _DEEPEST or not is_unicode(key):
            yield key
        elif isinstance(value, Mapping):
            yield from _odd_keys(value, depth + 1)


def merge(layers: Sequence[Layer]) -> tuple[dict[str, Any], dict[str, Layer]]:
    """Return all tables as one, and the layer of each value by its dotted key. Raises InvalidJob with every fault."""
    instances = {name for layer in layers for name in _instances(layer)}
    faults = [fault for layer in layers for fault in _faults(layer, instances)]
    if faults:
        raise InvalidJob(faults)
    merged: dict[str, Any] = {}
    origins: dict[str, Layer] = {}
    for layer in layers:
        merged = _over(merged, _with_absolute_paths(layer))
        origins |= dict.fromkeys(_keys(layer.tables), layer)
    faults = [*contradictions(merged.get(MOUNTS, {})), *spark_faults(merged.get("spark", {}))]
    if faults := [*faults, *migrations.contradictions(merged.get(MIGRATIONS, {}), merged.get("backend", "local"))]:
        raise InvalidJob(faults)
    return merged, origins


def _repository_file() -> Path | None:
    named = os.environ.get("LYFTLEARN_CONFIG")
    if named:
        return Path(named)
    try:
        here = Path.cwd()
    except FileNotFoundError as exc:
        raise InvalidJob([("configuration", "the working directory is gone: change to one that is there")]) from exc
    return next((path for folder in (here, *here.parents) if (path := folder / FILE).is_file()), None)


def _layer(path: Path) -> Layer:
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        tables = tomllib.loads(read_small_text(path))
    except OSError as exc:
        raise InvalidJob([(str(path), f"cannot be read ({exc.strerror}): name a file that is there")]) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InvalidJob([(str(path), f"is not TOML: {exc}")]) from exc
    return Layer(str(path), path.absolute().parent, tables)


def _over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = [key for key in under.keys() & over.keys() if isinstance(under[key], Mapping)]
    return {**under, **over, **{key: _over(under[key], over[key]) for key in both if isinstance(over[key], Mapping)}}


def _keys(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _with_absolute_paths(layer: Layer) -> dict[str, Any]:
    """Return the layer's tables with its relative paths as paths that hold everywhere."""
    if layer.folder is None:
        return dict(layer.tables)
    tables = {
        name: _with_paths(layer.tables[name], TABLES[name], layer.folder) for name in TABLES.keys() & layer.tables
    }
    if MIGRATIONS in layer.tables:
        named = layer.tables[MIGRATIONS]
        tables[MIGRATIONS] = {name: _with_paths(table, MIGRATION, layer.folder) for name, table in named.items()}
    return _with_paths({**layer.tables, **tables}, TOP, layer.folder)


def _with_paths(table: Mapping[str, Any], options: Sequence[Option], folder: Path) -> dict[str, Any]:
    paths = {
        option.key: option.kind.resolve(table[option.key], folder)
        for option in options
        if option.kind.resolve is not None and option.key in table
    }
    return {**table, **paths}


def _instances(layer: Layer) -> Collection[str]:
    """Return the names of the backends that a layer adds, if it says so as it should."""
    backends = layer.tables.get("backends")
    instances = backends.get("instances") if isinstance(backends, Mapping) else None
    return instances.keys() if isinstance(instances, Mapping) else ()


def _faults(layer: Layer, instances: Collection[str]) -> Iterator[Fault]:
    top = {name: value for name, value in layer.tables.items() if name in {option.key for option in TOP}}
    yield from (Fault(f"{layer.origin}: {path[1:]}", problem) for path, problem in read_options("", top, TOP)[1])
    for name, value in layer.tables.items():
        where = f"{layer.origin}: {name}"
        if name in top:
            continue
        if not isinstance(value, Mapping):
            yield Fault(where, _advice(name, value))
        elif name == IMAGES:
            yield from image_faults(where, value)
        elif name == "models":
            yield from _model_faults(where, value)
        elif name == MIGRATIONS:
            yield from migration_faults(where, value)
        elif name == MOUNTS:
            yield from mount_faults(where, value)
        elif name in TABLES:
            yield from read_options(where, value, TABLES[name])[1]
        elif name not in instances:
            yield from _unknown_table(where, name)


def _model_faults(where: str, models: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the tables `[models.<name>]`."""
    for model, table in models.items():
        if isinstance(table, Mapping):
            yield from read_options(f"{where}.{model}", table, MODEL)[1]
        else:
            problem = f"is {display_value(table)}: write the table [models.{model}]"
            yield Fault(f"{where}.{model}", problem)


def _advice(name: str, value: Any) -> str:
    keys = [option.key for option in TOP]
    if name in TABLES:
        return f"is {display_value(value)}: write the table [{name}]"
    meant = nearest(name, keys)
    return f"is not known: write {', '.join(keys)}, or the table of a backend" + (
        f"; did you mean {meant}?" if meant else ""
    )


def _unknown_table(where: str, name: str) -> Iterator[Fault]:
    """Yield a fault for a table that is nearly the name of one we know; others belong to backends of elsewhere."""
    if name in OWN_LETTERS:
        return
    from importlib.metadata import entry_points  # noqa: PLC0415 - only for tables of others

    known = [*TABLES, IMAGES, "models", MOUNTS, MIGRATIONS, *OWN_LETTERS, *entry_points(group=_GROUP).names]
    meant = nearest(name, known)
    if name not in known and meant is not None:
        yield Fault(where, f"is not known: did you mean [{meant}]?")
