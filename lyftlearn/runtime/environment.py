"""The variables of the user's command."""

from __future__ import annotations

import os

from . import CONTRACT
from .capacity import Capacity
from .detect import HOSTING, KUBERNETES, SERVING, TRAINING
from .expansion import expand, expand_in_order, service_variables
from .layout import writable_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .bundle import Bundle
    from .layout import Layout
    from .nodes import Nodes

PRIVATE = ("OLDPWD", "LYFTLEARN_BUNDLE", "LYFTLEARN_ROOT")
OURS = (
    "JOB_ID",
    "JOB_NAME",
    "JOB_KIND",
    "MODEL",
    "ATTEMPT",
    "CONTRACT",
    "NODE_RANK",
    "NODES",
    "HOSTS",
    "HYPERPARAMETERS",
    "CAPACITY_ENDS_AT",
)
"""After `LYFTLEARN_`, and any capital letters before `_DIR`."""
SAGEMAKER = ("AWS_EXECUTION_ENV", "ECS_CONTAINER_METADATA_URI", "ECS_CONTAINER_METADATA_URI_V4")
SAGEMAKER_PREFIXES = ("SM_", "SAGEMAKER_", "TRAINING_JOB_", "PROCESSING_JOB_")
"""What SageMaker adds and no program may lean on. What credentials and GPUs need is not in it: AWS_REGION,
AWS_DEFAULT_REGION, AWS_CONTAINER_CREDENTIALS_*, AWS_CONTAINER_AUTHORIZATION_TOKEN*, NVIDIA_*, CUDA_*, NCCL_*, FI_*."""
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "BLIS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "JULIA_NUM_THREADS",
    "GOMAXPROCS",
    "LOKY_MAX_CPU_COUNT",
    "PYTHON_CPU_COUNT",
)
STATSD_HOST = "127.0.0.1"
STATSD_PORT = "8125"


def initial_environment() -> dict[str, str]:
    """The variables this process was started with: Python adds LC_CTYPE to its own where no locale is set."""
    environ = dict(os.environ)
    try:
        with open("/proc/self/environ", "rb") as file:
            started_with = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
    except OSError:  # a system that is not Linux
        return environ
    if b"LC_CTYPE" not in started_with:
        environ.pop("LC_CTYPE", None)
    return environ


class Environment:
    """Everything that the variables are made from; `attempt` alone changes between runs of the command.

    files_only: secrets that are files, and no variables.
    """

    def __init__(
        self, bundle: Bundle, layout: Layout, nodes: Nodes, inherited: Mapping[str, str], substrate: str
    ) -> None:
        self.bundle = bundle
        self.layout = layout
        self.nodes = nodes
        self.substrate = substrate
        self.directory = layout.at("source") if bundle["source"] else os.getcwd()
        self.capacity = Capacity.from_environ(inherited)
        self.inherited = visible_variables(inherited, substrate, bundle["hide"])
        self.secrets: dict[str, str] = {}
        self.statsd_port: str | None = None
        self.notebook: dict[str, str] = {}
        self.packages: str | None = None
        self.spark: dict[str, str] = {}
        opens_cluster = (bundle["spark"] or {}).get("credentials")
        self.files_only: list[str] = [opens_cluster] if opens_cluster else []
        self.pod = inherited.get("LYFTLEARN_SUBSTRATE_CONTAINER") if substrate == KUBERNETES else None
        self.serving: dict[str, str] = {}

    def variables(self, attempt: int) -> dict[str, str]:
        """What the command sees: defaults, inherited, secrets, contract, the job's own, LYFTLEARN_*; later wins."""
        contract = self._contract(attempt)
        services = service_variables(self.inherited) if self.substrate in (KUBERNETES, SERVING) else []
        known = {**{name: self.inherited[name] for name in services}, **self.secrets, **contract}
        own = expand_in_order(self.bundle["env"], known)
        ours = {name: value for name, value in contract.items() if name.startswith("LYFTLEARN_")}
        here = {"PWD": self.directory}
        every = {**self._defaults(), **self.inherited, **here, **self.secrets, **contract, **own, **ours}
        return {**every, **self._package_paths(every), **self.spark, **self.serving}

    def _package_paths(self, variables: Mapping[str, str]) -> dict[str, str]:
        """What the source requires comes before what the image has."""
        if self.packages is None:
            return {}
        first = {"PYTHONPATH": self.packages, "PATH": os.path.join(self.packages, "bin")}
        return {name: os.pathsep.join(filter(None, (path, variables.get(name)))) for name, path in first.items()}

    def command(self, variables: Mapping[str, str]) -> list[str]:
        """The command with `$(NAME)` expanded."""
        services = service_variables(self.inherited) if self.substrate in (KUBERNETES, SERVING) else []
        names = {*services, *self.secrets, *self._contract(1), *self.bundle["env"]}
        known = {name: variables[name] for name in names}
        return [expand(word, known) for word in self.bundle["command"]]

    def _contract(self, attempt: int) -> dict[str, str]:
        return {
            **self._identity(),
            "LYFTLEARN_ATTEMPT": str(attempt),
            "LYFTLEARN_CONTRACT": str(CONTRACT),
            **self.layout.variables(),
            **self.nodes.variables(self.bundle["resources.gpu"]),
            **(self.capacity.variables() if self.capacity else {}),
            **self._region(),
            **self._metrics(),
            "TMPDIR": self.layout.at("tmp"),
            **self.notebook,
        }

    def _identity(self) -> dict[str, str]:
        fields = {"JOB_ID": "job.id", "JOB_NAME": "job.name", "JOB_KIND": "job.kind", "MODEL": "job.model"}
        values = {f"LYFTLEARN_{name}": self.bundle[field] for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}

    def _region(self) -> dict[str, str]:
        names = ("AWS_REGION", "AWS_DEFAULT_REGION")
        regions = [self.bundle["env"].get(name) or self.inherited.get(name) for name in names]
        region = next((value for value in regions if value), None)
        return {name: value or region for name, value in zip(names, regions)} if region else {}

    def _metrics(self) -> dict[str, str]:
        if self.statsd_port is None:
            defaults = {"STATSD_HOST": STATSD_HOST, "STATSD_PORT": STATSD_PORT}
            return {name: self.inherited.get(name, value) for name, value in defaults.items()}
        return {"STATSD_HOST": STATSD_HOST, "STATSD_PORT": self.statsd_port}

    def _defaults(self) -> dict[str, str]:
        resources = self.bundle["resources"]
        threads = str(max(1, int(resources["cpu"])))
        gpus = ",".join(str(index) for index in range(resources["gpu"]))
        locale = {} if {"LANG", "LC_ALL"} & set(self.inherited) else {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        # Python keeps what a program prints until its end otherwise: followers wait, and a traceback comes first.
        python = {"PYTHONUNBUFFERED": "1"}
        return {"PATH": os.defpath, **locale, **python, **dict.fromkeys(THREADS, threads), "CUDA_VISIBLE_DEVICES": gpus}

    def choose_home(self) -> None:
        """HOME that the job's user can write to: the image's where it can, else one of the job's own."""
        user = self.bundle["user"] or {"uid": os.geteuid(), "gid": os.getegid()}
        same = user["uid"] == os.geteuid()
        candidates = [self.inherited.get("HOME", "") if same else "", *_passwd_home(user["uid"])]
        self.inherited["HOME"] = writable_home(candidates, user["uid"], user["gid"], self.layout.at("home"))


def visible_variables(inherited: Mapping[str, str], substrate: str, hide: list[str]) -> dict[str, str]:
    """What of the container's own variables the command may see."""
    shown = {name: value for name, value in inherited.items() if name not in hide and not _is_ours(name)}
    if substrate not in (TRAINING, HOSTING):
        return shown
    return {name: value for name, value in shown.items() if not _is_sagemakers(name)}


def _is_ours(name: str) -> bool:
    before, _, own = name.partition("LYFTLEARN_")
    if before or not own:
        return name in PRIVATE
    kind, _, rest = own.partition("_DIR")
    is_directory = own == f"{kind}_DIR" and not rest and kind.isascii() and kind.isalpha() and kind.isupper()
    return own.startswith("SUBSTRATE") or name in PRIVATE or own in OURS or is_directory


def _is_sagemakers(name: str) -> bool:
    return name.startswith(SAGEMAKER_PREFIXES) or name in SAGEMAKER


def _passwd_home(uid: int) -> list[str]:
    import pwd

    try:
        return [pwd.getpwuid(uid).pw_dir]
    except KeyError:
        return []
