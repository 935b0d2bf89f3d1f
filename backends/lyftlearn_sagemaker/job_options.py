"""What one job is given by the table `[sagemaker]`, or by `[sagemaker.models.<name>]` where its model differs.

Nothing of it is ever said at a call site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lyftlearn.backend import Fault, Option, options


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What one job gets. Times are in seconds.

    instances_*: glob patterns of instance types; `pin` is one type. architecture: of the machines, `x86_64` or `arm64`.
    keep_alive: how long a warm pool outlives its job. spot_wait: how long beyond its own time a spot job may wait for
    capacity. pending: how long a job may wait for capacity. inputs: `exact` or `directories`, what a URI without `/` at
    its end may be. python: how the image starts Python. system_share: the part of an instance's memory that the job
    does not get.
    """

    role: str | None
    tune_role: str | None
    image: str | None
    python: str
    instances_pin: str | None
    instances_allow: tuple[str, ...]
    instances_deny: tuple[str, ...]
    instances_prefer: tuple[str, ...]
    instances_architecture: str
    instances_system_share: float
    instances_choices: int
    vpc_subnets: tuple[str, ...]
    vpc_security_groups: tuple[str, ...]
    keys_volume: str | None
    keys_output: str | None
    network_isolation: bool
    encrypt_traffic: bool
    spot: bool
    spot_wait: int
    pending: int
    training_plan: str | None
    queue: str | None
    share: str | None
    quota_share: str | None
    priority: int | None
    checkpoints: bool
    keep_alive: int
    infrastructure_retries: int
    inputs: str
    input_mode: str
    user_uid: int | None
    user_gid: int | None
    metrics: str | None
    secrets: Mapping[str, Any]
    tags: Mapping[str, str]


def _read_pending(seconds: int) -> int:
    if not _SHORTEST_PENDING <= seconds <= _LONGEST_PENDING:
        raise ValueError
    return seconds


def _read_secrets(value: Any) -> Mapping[str, Any]:
    """Return the table of a secret store. Raises ValueError with what to write."""
    table = options.TABLE.read(value)
    store = table.get("type", "secretsmanager")
    if store not in _SECRET_STORES:
        raise ValueError(f"type = one of {', '.join(_SECRET_STORES)}")
    required, optional = _SECRET_STORES[store]
    unknown = sorted(table.keys() - {"type", *required, *optional})
    missing = [key for key in required if key not in table]
    if unknown or missing or not all(isinstance(item, str) for item in table.values()):
        needs = f"{' and '.join(required)} and, if needed, " if required else ""
        raise ValueError(f"texts; {store} has {needs}{', '.join(optional)}")
    return {"type": store, **table}


_SECRET_STORES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "secretsmanager": ((), ("prefix", "region", "endpoint")),
    "confidant": (("url", "service", "from", "auth_key"), ("to", "user_type", "region", "endpoint", "case")),
}
"""Kind of store to the keys that it needs, and those that it may have; docs/reference/container-contract.md."""
SECONDS = options.Kind(
    options.DURATION.expected,
    lambda value: int(options.DURATION.read(value).total_seconds()),
    options.DURATION.schema,
)
_SECRETS = options.Kind("a table with the type of a store of secrets, and its keys", _read_secrets, {"type": "object"})
_COUNT = options.whole_number(0)
_SHORTEST_PENDING, _LONGEST_PENDING, _MOST_CHOICES = 1800, 2419200, 5  # of the service model; a test compares them
_PENDING = options.Kind(
    'a duration from "30m" to "28d"', lambda value: _read_pending(SECONDS.read(value)), options.DURATION.schema
)
_TRAINING_PLAN = options.matching(
    r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:training-plan/.+", "the ARN of a training plan"
)
# Names of AWS Batch as botocore's model of it describes them: CreateJobQueueRequest, ShareAttributes, CreateQuotaShare.
_NAME_OF_BATCH = r"[A-Za-z0-9_-]{1,128}"
_QUEUE = options.matching(
    rf"(arn:aws[a-z-]*:batch:[a-z0-9-]+:[0-9]{{12}}:job-queue/)?{_NAME_OF_BATCH}", "the name or the ARN of a job queue"
)
_BATCH_NAME = options.matching(_NAME_OF_BATCH, "letters, digits, '-' and '_', at most 128")
_SHARE = options.matching(r"[A-Za-z0-9]{1,255}", "letters and digits, at most 255")
JOB_OPTIONS = (
    Option(
        key="role",
        kind=options.TEXT,
        doc="The role of the jobs.",
        example="arn:aws:iam::123456789012:role/lyftlearn-jobs",
    ),
    Option(
        key="tune.role",
        kind=options.TEXT,
        doc="The role of searches' drivers, which submit jobs. By default `role`.",
        example="arn:aws:iam::123456789012:role/lyftlearn-searches",
    ),
    Option(
        key="image",
        kind=options.TEXT,
        doc="The image of jobs that name none, if `[jobs] image` is not set either.",
        example="123456789012.dkr.ecr.us-east-1.amazonaws.com/lyftlearn/base:1",
    ),
    Option(
        key="python",
        kind=options.TEXT,
        default="python3",
        doc="The command that starts Python in the image.",
        example="/opt/conda/bin/python",
    ),
    Option(
        key="instances.pin",
        kind=options.TEXT,
        doc="One instance type for every job. A job that needs more is refused.",
        example="ml.m5.4xlarge",
    ),
    Option(
        key="instances.allow",
        kind=options.TEXTS,
        default=(),
        doc="Patterns of the instance types that may be chosen. A type that is named in full may be burstable.",
        example=["ml.m5.*", "ml.g5.*"],
    ),
    Option(
        key="instances.deny",
        kind=options.TEXTS,
        default=(),
        doc="Patterns of the instance types that are never chosen.",
        example=["ml.p5*"],
    ),
    Option(
        key="instances.prefer",
        kind=options.TEXTS,
        default=(),
        doc="Patterns of the instance types that come first, in this order, where they fit.",
        example=["ml.m6i.*"],
    ),
    Option(
        key="instances.architecture",
        kind=options.one_of("x86_64", "arm64"),
        default="x86_64",
        doc="The architecture of the machines.",
        example="arm64",
    ),
    Option(
        key="instances.system_share",
        kind=options.number(0, 1, below=True),
        default=0.06,
        doc="The share of an instance's memory that is kept for the system. At least 1 GiB is kept.",
        example=0.1,
    ),
    Option(
        key="instances.choices",
        kind=options.whole_number(1, _MOST_CHOICES),
        default=1,
        doc="How many instance types a job may run on. It runs on the first one in order that has capacity.",
        example=3,
    ),
    Option(
        key="vpc.subnets",
        kind=options.TEXTS,
        default=(),
        doc="The subnets of the jobs. Without them, jobs run outside of any VPC of yours.",
        example=["subnet-0a1b2c3d"],
    ),
    Option(
        key="vpc.security_groups",
        kind=options.TEXTS,
        default=(),
        doc="The security groups of the jobs, in the VPC of the subnets.",
        example=["sg-0a1b2c3d"],
    ),
    Option(
        key="keys.volume",
        kind=options.TEXT,
        doc="The KMS key of the volumes. The disks of instance types that have their own are encrypted by hardware.",
        example="arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ),
    Option(key="keys.output", kind=options.TEXT, doc="The KMS key of the artifacts.", example="alias/lyftlearn"),
    Option(
        key="network_isolation",
        kind=options.FLAG,
        default=False,
        doc="Whether jobs have no network. The plan lists what a job would lose.",
        example=True,
    ),
    Option(
        key="encrypt_traffic",
        kind=options.FLAG,
        default=False,
        doc="Whether traffic between the nodes of a job is encrypted.",
        example=True,
    ),
    Option(key="spot", kind=options.FLAG, default=False, doc="Whether jobs use managed spot instances.", example=True),
    Option(
        key="spot_wait",
        kind=SECONDS,
        default="1d",
        doc="How long a job on spot instances may wait for capacity beyond its own timeout.",
        example="6h",
    ),
    Option(
        key="checkpoints",
        kind=options.FLAG,
        default=False,
        doc="Whether `/lyftlearn/checkpoints` is kept in S3. With `spot` or `infrastructure_retries` it always is.",
        example=True,
    ),
    Option(
        key="pending",
        kind=_PENDING,
        default="24h",
        doc="How long a job may wait for an instance with accelerators. SageMaker sets no limit for other instances.",
        example="24h",
    ),
    Option(
        key="training_plan",
        kind=_TRAINING_PLAN,
        doc="The training plan whose reserved capacity jobs use. Pin its instance type.",
        example="arn:aws:sagemaker:us-east-1:123456789012:training-plan/eta-nightly",
    ),
    Option(
        key="queue",
        kind=_QUEUE,
        doc="The AWS Batch job queue, by name or ARN, through which train jobs go. Without it, they start at once.",
        example="ml-training",
    ),
    Option(
        key="share",
        kind=_SHARE,
        doc="The share identifier of jobs in the queue, where the queue has a fair-share policy.",
        example="rides",
    ),
    Option(
        key="quota_share",
        kind=_BATCH_NAME,
        doc="The quota share of jobs in the queue, where the queue has quota management.",
        example="rides-gpu",
    ),
    Option(
        key="priority",
        kind=options.whole_number(0, 9999),
        doc="The scheduling priority of jobs within their share. Higher comes first.",
        example=100,
    ),
    Option(
        key="keep_alive",
        kind=SECONDS,
        default=0,
        doc="How long instances stay warm after a job, at most six hours.",
        example="20m",
    ),
    Option(
        key="infrastructure_retries",
        kind=options.whole_number(0, 30),
        default=1,
        doc="How often SageMaker starts a job again after its own infrastructure failed.",
        example=3,
    ),
    Option(
        key="inputs",
        kind=options.one_of("exact", "directories"),
        default="exact",
        doc="What an input without `/` at its end may be: a file or a directory, or always a directory.",
        example="directories",
    ),
    Option(
        key="input_mode",
        kind=options.one_of("File", "FastFile"),
        default="File",
        doc="The mode of channels: copied before the command starts, or streamed.",
        example="FastFile",
    ),
    Option(key="user.uid", kind=_COUNT, doc="The user of the command. Without it, root.", example=1000),
    Option(key="user.gid", kind=_COUNT, doc="The group of the command.", example=1000),
    Option(
        key="metrics",
        kind=options.GATEWAY,
        doc="The StatsD gateway that the packets of jobs are passed on to.",
        example="statsd.internal:8125",
    ),
    Option(
        key="secrets",
        kind=_SECRETS,
        default={"type": "secretsmanager"},
        doc="The store of secrets: AWS Secrets Manager, or Confidant.",
        example={"type": "secretsmanager", "prefix": "ml/"},
    ),
    Option(key="tags", kind=options.TEXT_TABLE, default={}, doc="Tags of every job.", example={"team": "eta"}),
)
"""What a job gets, and what `[sagemaker.models.<name>]` may change."""


def contradictions(where: str, job: JobOptions) -> Iterator[Fault]:
    """Yield what does not go together in one table."""
    if job.spot and job.keep_alive:
        yield Fault(f"{where}.keep_alive", "spot instances are never kept warm: set keep_alive to 0, or spot to false")
    if job.spot and job.instances_choices > 1:
        problem = "spot jobs run on one instance type: set choices to 1, or spot to false"
        yield Fault(f"{where}.instances.choices", problem)
    for key in ("share", "quota_share", "priority"):
        if getattr(job, key) is not None and not job.queue:
            yield Fault(f"{where}.{key}", "says nothing without a queue: set queue, or take it out")
    if job.share and job.quota_share:
        yield Fault(f"{where}.quota_share", "a queue has shares or quota shares: set one of both")
    if job.spot and job.training_plan:
        problem = "reserved capacity is no spot capacity: set spot to false, or take the plan out"
        yield Fault(f"{where}.training_plan", problem)
    if bool(job.vpc_subnets) != bool(job.vpc_security_groups):
        yield Fault(f"{where}.vpc", "needs both subnets and security_groups")
    if (job.user_uid is None) != (job.user_gid is None):
        yield Fault(f"{where}.user", "needs both uid and gid")
