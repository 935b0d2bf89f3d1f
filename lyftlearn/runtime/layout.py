"""The contract's paths: made, or linked to where the substrate keeps them."""

from __future__ import annotations

import os
import stat

from .detect import TRAINING
from .faults import configuration_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .bundle import Bundle

ROOT_VARIABLE = "LYFTLEARN_ROOT"
ML_VARIABLE = "LYFTLEARN_SUBSTRATE_ML"
NOTEBOOK = "notebook"
"""The directory of the files that a notebook keeps from run to run."""
WRITABLE = ("config", "outputs", "model", "checkpoints", "source", "tmp", "home")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's name for it
MODE_TMP = 0o1777
READ_WRITE_SEARCH = 7


class Layout:
    """The directories of one job."""

    def __init__(self, root: str, ml: str) -> None:
        self.root = root
        self.ml = ml

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Layout:
        """Take the roots that the variables name, by default `/lyftlearn` and `/opt/ml`."""
        return cls(environ.get(ROOT_VARIABLE) or "/lyftlearn", environ.get(ML_VARIABLE) or "/opt/ml")

    def at(self, *parts: str) -> str:
        """A path of the contract."""
        return os.path.join(self.root, *parts)

    @property
    def hyperparameters(self) -> str:
        """The file of the hyperparameters."""
        return self.at("config", "hyperparameters.json")

    def variables(self) -> dict[str, str]:
        """The variables that tell the paths."""
        names = ("inputs", "outputs", "model", "checkpoints", "source", "secrets")
        paths = {f"LYFTLEARN_{name.upper()}_DIR": self.at(name) for name in names}
        return {**paths, "LYFTLEARN_HYPERPARAMETERS": self.hyperparameters}


def build(layout: Layout, bundle: Bundle, substrate: str) -> None:
    """Make every directory of the contract, and links where SageMaker keeps the real ones."""
    try:
        _make(layout.root)
        if substrate == TRAINING:
            from . import sagemaker_paths

            sagemaker_paths.link(layout, bundle)
        for name in ("inputs", "secrets", *WRITABLE):
            _make(layout.at(name))
        if bundle["notebook"]:
            _make(layout.at(NOTEBOOK))
        for part in ("inputs", "outputs"):
            for name, entry in bundle[part].items():
                if entry.get("mode") != "linked":
                    _make(layout.at(part, name))
    except OSError as error:
        raise configuration_failure(
            f"{error.filename or layout.root} cannot be made: {error.strerror}. "
            f"The image must start as root, or a writable volume be mounted at {layout.root}"
        ) from error


def _make(path: str) -> None:
    """Make a directory. One that a volume's group was handed down to by its parent hands it down no further."""
    os.makedirs(path, exist_ok=True)
    status = os.stat(path)
    if status.st_mode & stat.S_ISGID and status.st_uid == os.geteuid():
        os.chmod(path, stat.S_IMODE(status.st_mode) & ~stat.S_ISGID)


def give_to_user(layout: Layout, bundle: Bundle) -> None:
    """Give the writable paths to the job's user, with all that was fetched, restored or unpacked."""
    user = bundle["user"]
    temporary = os.path.realpath(layout.at("tmp"))
    if os.geteuid() in (0, os.stat(temporary).st_uid):
        os.chmod(temporary, MODE_TMP)
    if user is None or os.geteuid() != 0:
        return
    os.chown(layout.root, user["uid"], user["gid"])  # so that a program may replace its directories
    if bundle["notebook"]:
        os.chown(layout.at(NOTEBOOK), user["uid"], user["gid"])  # what is in it has its owner from earlier runs
    for name in (*WRITABLE, *(os.path.join("inputs", channel) for channel in _fetched_channels(bundle))):
        _chown_tree(os.path.realpath(layout.at(name)), user["uid"], user["gid"])


def _fetched_channels(bundle: Bundle) -> list[str]:
    """Those whose files the runtime made. A file that only its owner may read is to be read by the job's user."""
    return [channel for channel, entry in bundle["inputs"].items() if entry.get("mode") not in ("linked", "mounted")]


def _chown_tree(top: str, uid: int, gid: int) -> None:
    os.chown(top, uid, gid)
    for directory, folders, files in os.walk(top):
        for name in folders + files:
            os.chown(os.path.join(directory, name), uid, gid, follow_symlinks=False)


def check_user(bundle: Bundle) -> None:
    """Refuse a user that this process cannot become."""
    user = bundle["user"]
    if user and os.geteuid() not in (0, user["uid"]):
        raise configuration_failure(
            f"user: the job asks for uid {user['uid']}, the container started as {os.geteuid()}: it must start as root"
        )


def check_shared_memory(minimum: int | None, path: str = SHARED_MEMORY) -> None:
    """Refuse to start with less shared memory than was asked for."""
    if not minimum:
        return
    size = _filesystem_size(path)
    if size < minimum:
        raise configuration_failure(f"resources.shared_memory: {path} has {size} bytes, the job asks for {minimum}")


def _filesystem_size(path: str) -> int:
    try:
        filesystem = os.statvfs(path)
    except OSError:
        return 0
    return filesystem.f_blocks * filesystem.f_frsize


def writable_home(candidates: list[str], uid: int, gid: int, fallback: str) -> str:
    """The first home that the user may write to."""
    return next((home for home in candidates if _may_write(home, uid, gid)), fallback)


def _may_write(path: str, uid: int, gid: int) -> bool:
    if path in ("", "/") or not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        return False
    status = os.stat(path)
    if uid in (0, os.geteuid()):
        return True
    shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
    return (status.st_mode >> shift) & READ_WRITE_SEARCH == READ_WRITE_SEARCH
