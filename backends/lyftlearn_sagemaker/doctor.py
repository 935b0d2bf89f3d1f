"""What `lyftlearn doctor` sees of SageMaker: each check passes, fails with a remedy, or says why it cannot know."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from lyftlearn.backend import Check, Verdict
from lyftlearn.errors import LyftLearnError
from lyftlearn_sagemaker import warm_pools
from lyftlearn_sagemaker.api.errors import AwsError, translate
from lyftlearn_sagemaker.record import TAG
from lyftlearn_sagemaker.role_permissions import SERVICE, RolePermissions
from lyftlearn_sagemaker.status.finder import training_jobs_on
from lyftlearn_sagemaker.submission.images import resolve
from lyftlearn_sagemaker.submission.instances import first_instance
from lyftlearn_sagemaker.submission.queueing import TYPE
from lyftlearn_sagemaker.submission.regions import is_directory_bucket

if TYPE_CHECKING:
    from lyftlearn.backend import BackendSettings
    from lyftlearn_sagemaker.api.client import AwsClient
    from lyftlearn_sagemaker.job_options import JobOptions
    from lyftlearn_sagemaker.options import Options

_Result: TypeAlias = tuple[Verdict, str]
_PORTS_OF_DRIVERS = 32  # by which executors of Spark reach a driver: docs/how-to/spark.md
_ENDPOINTS = ("s3", "sagemaker.api", "logs", "ecr.api", "ecr.dkr", "sts")  # what a job in a VPC without NAT needs
# Codes that say for certain that a thing is not there: of botocore's models of IAM, ECR, SQS and EC2, of a HEAD to S3.
_ABSENT = frozenset((
    "NoSuchEntity", "NoSuchEntityException", "RepositoryNotFoundException", "ImageNotFoundException", "NoSuchBucket",
    "404", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidSubnetID.NotFound",
))  # fmt: skip
_ASKS_NOBODY = ("configuration", "identity", "metrics gateway")
"""What is looked at even where AWS does not know who asks, or cannot be reached."""
_QUOTA_PAGE = 100
_LAST_JOBS = 100


def checks(settings: BackendSettings, options: Options, aws: AwsClient) -> Iterator[Check]:
    """Yield every check. None of them changes anything.

    Each request is sent once, and where AWS does not say who asks, nothing more is asked: without a network or
    credentials every question takes seconds to fail, and fails in the same words.
    """
    doctor = _Doctor(settings, options, aws)
    steps: dict[str, Callable[[], _Result]] = {
        "configuration": doctor.configuration,
        "identity": doctor.identity,
        "sagemaker": doctor.service,
        "role": doctor.role,
        "role's permissions": doctor.permissions,
        "searches": doctor.searches,
        "bucket": doctor.bucket,
        "image": doctor.image,
        "quotas": doctor.quotas,
        "warm pools": doctor.warm_pools,
        "VPC endpoints": doctor.endpoints,
        **({"spark": doctor.spark} if settings.spark and settings.spark.on_kubernetes else {}),
        "metrics gateway": doctor.gateway,
        "events queue": doctor.queue,
        "job queues": doctor.job_queues,
    }
    known = True
    for name, step in steps.items():
        title = f"{settings.name}: {name}"
        if not known and name not in _ASKS_NOBODY:
            yield Check(title, Verdict.WARNING, "not looked at, because AWS did not say who asks: see identity")
            continue
        check = _check(title, step)
        known = known and (name != "identity" or check.verdict is Verdict.OK)
        yield check


def _check(name: str, step: Callable[[], _Result]) -> Check:
    try:
        verdict, detail = step()
    except AwsError as error:
        verdict, detail = _failure(error)
    except LyftLearnError as exc:
        verdict, detail = Verdict.WARNING, f"unknown: {exc}"
    except LookupError as exc:  # AWS's models require hardly any member of an answer
        verdict, detail = Verdict.WARNING, f"unknown: the answer of AWS lacks {exc}"
    return Check(name, verdict, detail)


def _failure(error: AwsError) -> _Result:
    """Return what an error proves: that what is asked for is not there, or nothing."""
    if error.is_missing or error.code in _ABSENT:
        return Verdict.FAILED, f"is not there: {translate(error)}"
    if error.is_misconfiguration or error.code == "NoCredentials":
        return Verdict.FAILED, str(translate(error))
    return Verdict.WARNING, f"unknown: {translate(error)}"


def _absence_fails(step: Callable[[], _Result]) -> _Result:
    """Return what a step finds; what AWS says is not there is a failure, where being refused a look is none."""
    try:
        return step()
    except AwsError as exc:
        if not exc.is_missing:
            raise
        return Verdict.FAILED, f"is not there: {exc}"


class _Doctor:
    """The checks. One that may not be made raises, and is reported as unknown."""

    def __init__(self, settings: BackendSettings, options: Options, aws: AwsClient) -> None:
        self._settings = settings
        self._options = options
        self._aws = aws
        self._roles = RolePermissions(aws, settings.storage_url)

    @property
    def _job(self) -> JobOptions:
        return self._options.job

    def configuration(self) -> _Result:
        if self._options.faults:
            return Verdict.FAILED, "; ".join(f"{path} {problem}" for path, problem in self._options.faults)
        return Verdict.OK, f"{len(self._options.models)} models have options of their own"

    def identity(self) -> _Result:
        caller = self._aws.call("sts", "get_caller_identity", {})
        return Verdict.OK, f"{caller['Arn']} in {self._aws.region}"

    def service(self) -> _Result:
        self._aws.call("sagemaker", "list_training_jobs", {"MaxResults": 1})
        return Verdict.OK, f"training jobs can be listed in {self._aws.region}"

    def role(self) -> _Result:
        if not self._job.role:
            return Verdict.FAILED, f"[{self._settings.name}] role is not set: name the role that jobs have"
        role = self._aws.call("iam", "get_role", {"RoleName": _last(self._job.role)})["Role"]
        if _trusts(role["AssumeRolePolicyDocument"]):
            return Verdict.OK, f"{self._job.role} can be assumed by {SERVICE}"
        return Verdict.FAILED, f"{self._job.role} does not trust {SERVICE}: add it to the role's trust policy"

    def permissions(self) -> _Result:
        if not self._job.role:
            return Verdict.WARNING, "unknown: there is no role"
        if is_directory_bucket(self._settings.storage_url):
            return Verdict.WARNING, "unknown: directory buckets grant by s3express:CreateSession; see the role's policy"
        if denied := self._roles.denied_to_jobs(self._job.role):
            return Verdict.FAILED, f"{self._job.role} may not {', '.join(denied)}: allow it"
        closed = ", ".join(self._roles.denied_to_notebooks(self._job.role))
        notebooks = f"; nobody can open its notebooks, for it may not {closed}" if closed else ""
        return Verdict.OK, f"the role may read and write its storage, write its logs and pull images{notebooks}"

    def searches(self) -> _Result:
        """Look at the role of each search's driver. Only who named one for searches is sure to want them."""
        every = (self._job, *self._options.models.values())
        roles = sorted({(driver, one.role) for one in every if one.role and (driver := one.tune_role or one.role)})
        if not roles or is_directory_bucket(self._settings.storage_url):
            return Verdict.WARNING, "unknown, as the role's permissions are"
        problems = {
            driver: f"{driver} may not {', '.join(denied)}"
            for driver, trial in roles
            if (denied := self._roles.denied_to_drivers(driver, trial))
        }
        if not problems:
            return Verdict.OK, f"{', '.join(dict.fromkeys(driver for driver, _ in roles))} may submit their trials"
        verdict = Verdict.FAILED if {one.tune_role for one in every} & {*problems} else Verdict.WARNING
        return verdict, f"none can be driven: {'; '.join(problems.values())}: see docs/how-to/sagemaker.md"

    def bucket(self) -> _Result:
        if not self._settings.storage_url.startswith("s3://"):
            return Verdict.FAILED, f"storage.url is {self._settings.storage_url}: SageMaker needs s3://bucket/prefix"
        name = self._settings.storage_url.removeprefix("s3://").partition("/")[0]
        answer = self._aws.call("s3", "head_bucket", {"Bucket": name})
        region = answer.get("BucketRegion", self._aws.region)
        if region != self._aws.region:
            return Verdict.FAILED, f"{name} is in {region}, jobs run in {self._aws.region}: use a bucket there"
        return Verdict.OK, f"{name} is there"

    def image(self) -> _Result:
        if not self._job.image:
            return Verdict.WARNING, f"unknown: [{self._settings.name}] image is not set, and jobs name their own"
        image = resolve(self._job.image, self._aws.region, None)
        if image.uri is None:
            return Verdict.FAILED, f"[{self._settings.name}] image {image.fault}"
        registry, _, name = image.uri.partition("/")
        repository, _, version = name.partition("@") if "@" in name else name.partition(":")
        image_id = {"imageDigest": version} if "@" in name else {"imageTag": version or "latest"}
        request = {"registryId": registry.partition(".")[0], "repositoryName": repository, "imageIds": [image_id]}
        described = self._aws.call("ecr", "describe_images", request)["imageDetails"][0]
        return Verdict.OK, f"{image.uri}, {described.get('imageSizeInBytes', 0) / 1e9:.1f} GB"

    def quotas(self) -> _Result:
        names = self._used_quotas()
        if not names:
            return Verdict.WARNING, "unknown: no instance type is pinned, and no job has run yet"
        quotas = self._quotas()
        missing = sorted(name for name in names if quotas.get(name, 0) < 1)
        if missing:
            return Verdict.FAILED, f"{', '.join(missing)}: the quota is 0; ask for more in Service Quotas"
        return Verdict.OK, ", ".join(f"{quotas[name]:g} x {name}" for name in sorted(names))

    def warm_pools(self) -> _Result:
        found = list(warm_pools.advice(self._last_jobs()))
        if found:
            return Verdict.WARNING, "; ".join(found)
        return Verdict.OK, f"no model of the last {_LAST_JOBS} jobs would gain by `keep_alive`"

    def _used_quotas(self) -> set[str]:
        """The quotas of pinned types, and of those that the last jobs had."""
        options = (self._job, *self._options.models.values())
        uses = {(one.instances_pin, one.spot, one.keep_alive > 0) for one in options if one.instances_pin}
        uses |= {_use(job) for job in self._last_jobs()}
        names = {f"{kind} for {'spot ' if spot else ''}training job usage" for kind, spot, _ in uses}
        return names | {f"{kind} for training warm pool usage" for kind, _, warm in uses if warm}

    def _last_jobs(self) -> list[Mapping[str, Any]]:
        ours = {"Filters": [{"Name": f"Tags.{TAG}digest", "Operator": "Exists"}]}
        order = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": _LAST_JOBS}
        request = {"Resource": "TrainingJob", "SearchExpression": ours, **order}
        return list(training_jobs_on(self._aws.call("sagemaker", "search", request)))

    def endpoints(self) -> _Result:
        subnets = sorted({subnet for one in (self._job, *self._options.models.values()) for subnet in one.vpc_subnets})
        if not subnets:
            return Verdict.OK, "jobs run outside of any VPC"
        described = self._aws.call("ec2", "describe_subnets", {"SubnetIds": subnets})["Subnets"]
        lacking = {vpc: self._missing_endpoints(vpc) for vpc in sorted({subnet["VpcId"] for subnet in described})}
        if any(lacking.values()):
            missing = "; ".join(
                f"{vpc} has no endpoint for {', '.join(names)}" for vpc, names in lacking.items() if names
            )
            return Verdict.WARNING, f"{missing}: jobs need a NAT gateway instead"
        return Verdict.OK, f"{', '.join(lacking)}: every endpoint that a job needs is there"

    def _missing_endpoints(self, vpc: str) -> list[str]:
        request = {"Filters": [{"Name": "vpc-id", "Values": [vpc]}]}
        endpoints = self._aws.call("ec2", "describe_vpc_endpoints", request)["VpcEndpoints"]
        there = {one["ServiceName"].partition(f"{self._aws.region}.")[2] for one in endpoints}
        of_secrets = ("secretsmanager",) if self._job.secrets.get("type") == "secretsmanager" else ()
        return [name for name in (*_ENDPOINTS, *of_secrets) if name not in there]

    def spark(self) -> _Result:
        """Whether executors on Kubernetes come through to drivers, as far as the security groups of jobs say."""
        settings, groups = self._settings.spark, list(self._job.vpc_security_groups)
        first = settings.first_port if settings else 0
        last = first + _PORTS_OF_DRIVERS - 1
        way = f"TCP {first}-{last} from executors' pods to drivers"
        if settings and not settings.server:
            return Verdict.FAILED, "[spark] server and credentials are not set: drivers find no cluster"
        if not groups:
            return (
                Verdict.FAILED,
                f"{way} is closed: jobs run outside of any VPC. Set vpc.subnets and vpc.security_groups",
            )
        described = self._aws.call("ec2", "describe_security_groups", {"GroupIds": groups})["SecurityGroups"]
        rules = [rule for group in described for rule in group["IpPermissions"]]
        if not any(_opens(rule, first, last) for rule in rules):
            return (
                Verdict.FAILED,
                f"{', '.join(groups)} lets nobody in at {way.removeprefix('TCP ')}: add a rule for TCP",
            )
        return Verdict.OK, f"{', '.join(groups)} lets somebody in at {way}; {last + 1}-{last + 16} lead to executors"

    def gateway(self) -> _Result:
        if not self._job.metrics:
            return Verdict.WARNING, f"[{self._settings.name}] metrics is not set: jobs' StatsD packets go nowhere"
        host, _, port = self._job.metrics.rpartition(":")
        try:
            socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
        except (OSError, ValueError) as exc:
            return Verdict.WARNING, f"unknown: {self._job.metrics} has no address here ({exc}); jobs may see one"
        return Verdict.OK, f"{self._job.metrics} has an address here"

    def queue(self) -> _Result:
        if not self._options.events:
            return Verdict.WARNING, f"[{self._settings.name}] events is not set: jobs are followed by polling"
        request = {"QueueUrl": self._options.events, "AttributeNames": ["Policy", "ApproximateNumberOfMessages"]}
        attributes = self._aws.call("sqs", "get_queue_attributes", request).get("Attributes", {})
        if "events.amazonaws.com" not in attributes.get("Policy", ""):
            return Verdict.FAILED, "its policy does not let events.amazonaws.com send: see docs/how-to/sagemaker.md"
        return Verdict.OK, f"{attributes.get('ApproximateNumberOfMessages', '?')} messages wait"

    def job_queues(self) -> _Result:
        names = self._options.queues
        if not names:
            return Verdict.OK, "train jobs go through no queue"
        described = self._aws.call("batch", "describe_job_queues", {"jobQueues": list(names)})["jobQueues"]
        known = {key: queue for queue in described for key in (queue["jobQueueName"], queue["jobQueueArn"])}
        problems = [f"{name} {problem}" for name in names if (problem := _queue_problem(known.get(name)))]
        if problems:
            return Verdict.FAILED, f"{'; '.join(problems)}: see docs/how-to/sagemaker.md"
        return Verdict.OK, f"{', '.join(names)}: enabled, for training jobs"

    def _quotas(self) -> dict[str, float]:
        request: dict[str, Any] = {"ServiceCode": "sagemaker", "MaxResults": _QUOTA_PAGE}
        quotas: dict[str, float] = {}
        while True:
            page = self._aws.call("service-quotas", "list_service_quotas", request)
            quotas |= {quota["QuotaName"]: quota["Value"] for quota in page["Quotas"]}
            if not page.get("NextToken"):
                return quotas
            request["NextToken"] = page["NextToken"]


def _opens(rule: Any, first: int, last: int) -> bool:
    """Whether a rule of a security group is about all of these ports; -1 stands for every protocol."""
    if rule["IpProtocol"] == "-1":
        return True
    return bool(rule["IpProtocol"] == "tcp" and rule["FromPort"] <= first and last <= rule["ToPort"])


def _queue_problem(queue: Any) -> str | None:
    """Return what keeps train jobs from going through a queue of Batch."""
    if queue is None:
        return "is not there"
    if queue.get("jobQueueType") != TYPE:
        return f"is not of the type {TYPE}"
    return None if queue["state"] == "ENABLED" else f"is {queue['state'].lower()}"


def _trusts(policy: Any) -> bool:
    document = json.loads(policy) if isinstance(policy, str) else policy
    for statement in document.get("Statement", []):
        services = statement.get("Principal", {}).get("Service", [])
        if statement.get("Effect") == "Allow" and SERVICE in ([services] if isinstance(services, str) else services):
            return True
    return False


def _use(job: Any) -> tuple[str, bool, bool]:
    """The instance type of a job, and whether it was on spot, and in a warm pool."""
    resources = job["ResourceConfig"]
    return (
        resources.get("SelectedInstanceType") or first_instance(resources),
        bool(job.get("EnableManagedSpotTraining")),
        "KeepAlivePeriodInSeconds" in resources,
    )


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]
