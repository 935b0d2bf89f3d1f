"""The contract's paths: made, or linked to where the substrate keeps them."""

from __future__ import annotations

import os

from .detect import TRAINING
from .faults import configuration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .bundle import Bundle

ROOT_VARIABLE = "LYFTLEARN_ROOT"
ML_VARIABLE = "LYFTLEARN_SUBSTRATE_ML"
WRITABLE = ("config", "outputs", "model", "checkpoints", "source", "tmp", "home")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's name for it
MODE_TMP = 0o1777
READ_WRITE_SEARCH = 7


class Layout:
    """The directories of one job."""

    def __init__(self, root: str, ml: str) -> None:
        self.root = root
        self.ml = ml

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
        found = {f"LYFTLEARN_{name.upper()}_DIR": self.at(name) for name in names}
        return {**found, "LYFTLEARN_HYPERPARAMETERS": self.hyperparameters}


def places(environ: Mapping[str, str]) -> Layout:
    """The roots, by default `/lyftlearn` and `/opt/ml`."""
    return Layout(environ.get(ROOT_VARIABLE) or "/lyftlearn", environ.get(ML_VARIABLE) or "/opt/ml")


def build(layout: Layout, bundle: Bundle, substrate: str) -> None:
    """Make every directory of the contract, and links where SageMaker keeps the real ones."""
    try:
        os.makedirs(layout.root, exist_ok=True)
        os.makedirs(layout.at("inputs"), exist_ok=True)
        if substrate == TRAINING:
            _link_to_sagemaker(layout, bundle)
        for name in ("secrets", *WRITABLE):
            os.makedirs(layout.at(name), exist_ok=True)
        for name in bundle["inputs"]:
            os.makedirs(layout.at("inputs", name), exist_ok=True)
        _make_outputs(layout, bundle, substrate)
    except OSError as error:
        raise configuration(
            f"{error.filename or layout.root} cannot be made: {error.strerror}. "
            f"The image must start as root, or a writable volume be mounted at {layout.root}"
        ) from error


def _link_to_sagemaker(layout: Layout, bundle: Bundle) -> None:
    targets = {"model": "model", "outputs": "output/data", "checkpoints": "checkpoints", "tmp": "lyftlearn/tmp"}
    for name, target in targets.items():
        os.makedirs(os.path.join(layout.ml, target), exist_ok=True)
        _link(layout.at(name), os.path.join(layout.ml, target))
    for channel, entry in bundle["inputs"].items():
        if entry.get("mode") == "mounted":
            _link(layout.at("inputs", channel), os.path.join(layout.ml, "input", "data", channel))


def _make_outputs(layout: Layout, bundle: Bundle, substrate: str) -> None:
    """One directory each; on SageMaker those with a URI of their own lie where the platform does not pack them."""
    for name, entry in bundle["outputs"].items():
        if entry.get("uri") and substrate == TRAINING:
            apart = os.path.join(layout.ml, "lyftlearn", "outputs", name)
            os.makedirs(apart, exist_ok=True)
            _link(layout.at("outputs", name), apart)
        os.makedirs(layout.at("outputs", name), exist_ok=True)


def _link(path: str, target: str) -> None:
    if os.path.ismount(path):
        return
    if os.path.islink(path):
        os.unlink(path)
    elif os.path.isdir(path):
        _remove_empty(path)
    os.symlink(target, path)


def _remove_empty(path: str) -> None:
    if os.listdir(path):
        raise configuration(f"{path} is not empty in the image, and belongs to the job: remove it from the image")
    os.rmdir(path)


def own(layout: Layout, bundle: Bundle) -> None:
    """Give the writable paths to the job's user, with all that was restored or unpacked into them."""
    user = bundle["user"]
    temporary = os.path.realpath(layout.at("tmp"))
    if os.geteuid() in (0, os.stat(temporary).st_uid):
        os.chmod(temporary, MODE_TMP)
    if user is None or os.geteuid() != 0:
        return
    apart = [layout.at("outputs", name) for name in bundle["outputs"]]
    for path in [layout.at(name) for name in WRITABLE] + apart:
        _chown_tree(os.path.realpath(path), user["uid"], user["gid"])


def _chown_tree(top: str, uid: int, gid: int) -> None:
    os.chown(top, uid, gid)
    for directory, folders, files in os.walk(top):
        for name in folders + files:
            os.chown(os.path.join(directory, name), uid, gid, follow_symlinks=False)


def check_user(bundle: Bundle) -> None:
    """Refuse a user that this process cannot become."""
    user = bundle["user"]
    if user and os.geteuid() not in (0, user["uid"]):
        raise configuration(
            f"user: the job asks for uid {user['uid']}, the container started as {os.geteuid()}: it must start as root"
        )


def check_shared_memory(wanted: int | None, path: str = SHARED_MEMORY) -> None:
    """Refuse to start with less shared memory than was asked for."""
    if not wanted:
        return
    size = _filesystem_size(path)
    if size < wanted:
        raise configuration(f"resources.shared_memory: {path} has {size} bytes, the job asks for {wanted}")


def _filesystem_size(path: str) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_blocks * found.f_frsize


def writable_home(candidates: list[str], uid: int, gid: int, fallback: str) -> str:
    """The first home that the user may write to."""
    return next((home for home in candidates if _may_write(home, uid, gid)), fallback)


def _may_write(path: str, uid: int, gid: int) -> bool:
    if path in ("", "/") or not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        return False
    found = os.stat(path)
    if uid in (0, os.geteuid()):
        return True
    shift = 6 if found.st_uid == uid else 3 if found.st_gid == gid else 0
    return (found.st_mode >> shift) & READ_WRITE_SEARCH == READ_WRITE_SEARCH
