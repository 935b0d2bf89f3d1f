"""The configuration table of a local backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lyftlearn.backend import (
    PRICE_OPTIONS,
    Fault,
    Option,
    Prices,
    options,
    read_mount_tables,
    read_options,
    take_prices,
)

if TYPE_CHECKING:
    from lyftlearn.backend import BackendSettings

OPTIONS = (
    Option(
        key="parallel",
        kind=options.whole_number(1),
        default=16,
        doc="How many jobs run at once. Others wait in a queue, oldest first.",
        example=4,
    ),
    Option(
        key="pending",
        kind=options.POSITIVE_DURATION,
        doc="How long a job may wait in the queue. By default as long as it takes. It travels with the job.",
        example="24h",
    ),
    Option(
        key="namespaces",
        kind=options.one_of("auto", "always", "never"),
        default="auto",
        doc="Whether jobs run in namespaces of their own, through bubblewrap. `auto` means where that works.",
        example="always",
    ),
    Option(
        key="containers",
        kind=options.one_of("auto", "podman", "docker", "never"),
        default="auto",
        doc="What runs a job in the image that it names. `auto` means podman or docker, whichever answers first.",
        example="podman",
    ),
    Option(
        key="image_required",
        kind=options.FLAG,
        default=False,
        doc="Whether a job is refused whose image cannot be run here. Otherwise the plan says so in a note.",
        example=True,
    ),
    Option(
        key="secrets",
        kind=options.PATH,
        doc="A directory with a file `<secret>/<key>` for each key of a secret. By default `secrets` below the home.",
        example="./secrets",
    ),
    Option(
        key="metrics",
        kind=options.GATEWAY,
        doc="The StatsD gateway to which jobs' metrics are passed on. Without one they go nowhere.",
        example="127.0.0.1:8125",
    ),
    Option(
        key="python",
        kind=options.PATH,
        doc="The Python that runs jobs. By default the one that submits them, or its kin where that is no program.",
        example="/opt/venv/bin/python3",
    ),
    *PRICE_OPTIONS,
)


MOUNT_OPTIONS = (
    Option(
        key="directory",
        kind=options.PATH,
        doc="The directory of this machine that stands for the mount. By default the one at its path.",
        example="~/rides",
    ),
    Option(
        key="read_only",
        kind=options.FLAG,
        doc="Whether outputs may not be written there. By default as the mount itself says.",
        example=True,
    ),
)
"""What `[mounts.<name>.local]` has; the other local backends have tables of their own names."""


class Directory(NamedTuple):
    """The directory of this machine that stands for a mount. path: where people name its files."""

    name: str
    path: str
    directory: Path
    read_only: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """`[local]` with every default filled in; `faults` is what is wrong with it, told by every plan."""

    parallel: int
    pending: timedelta | None = None
    namespaces: str
    containers: str
    image_required: bool
    secrets: Path
    metrics: str | None = None
    python: str | None = None
    mounts: tuple[Directory, ...] = ()
    prices: Prices = field(default_factory=Prices)
    faults: tuple[Fault, ...] = field(default=())


def read(settings: BackendSettings) -> Options:
    """Return the options of the table; what is faulty has its default."""
    values, faults = read_options(settings.name, settings.table, OPTIONS)
    secrets, python = values["secrets"], values["python"]
    mounts, mount_faults = _read_mounts(settings)
    return Options(
        parallel=values["parallel"],
        pending=values["pending"],
        namespaces=values["namespaces"],
        containers=values["containers"],
        image_required=values["image_required"],
        secrets=settings.path("secrets", secrets) if secrets else settings.home.absolute() / "secrets",
        metrics=values["metrics"],
        python=str(settings.path("python", python)) if python else None,
        mounts=tuple(mounts),
        prices=take_prices(values, f"[{settings.name}.prices]"),
        faults=(*faults, *mount_faults),
    )


def _read_mounts(settings: BackendSettings) -> tuple[list[Directory], list[Fault]]:
    """Return the mounts as directories of this machine, and what is wrong with their tables."""
    directories: list[Directory] = []
    faults: list[Fault] = []
    for table in read_mount_tables(settings.name, settings.mounts, MOUNT_OPTIONS):
        mount, directory = table.mount, Path(table.values["directory"] or table.mount.path).expanduser()
        place = (mount.folder / directory).absolute()
        faults += table.faults
        directories.append(Directory(name=mount.name, path=mount.path, directory=place, read_only=table.read_only))
    return directories, faults
