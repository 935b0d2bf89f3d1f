"""Every backend at once, on this machine: one `lyftlearn.toml` for all, and an environment variable that chooses.

The three local layouts, the tests' own Kubernetes cluster, and the tests' own SageMaker service over moto. They share
one bucket, one StatsD gateway, and one set of secrets, each platform keeping those where it keeps secrets. Real
platforms come instead where `LYFTLEARN_TEST_CONFIG` names a `lyftlearn.toml`, which then must have all of that itself.
`LYFTLEARN_TEST_BACKENDS` names those that are to be used, with commas between. `local-in-image` is the backend `local`
whose jobs run in an image, by podman or docker: a column of its own wherever backends are compared.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from lyftlearn_sagemaker.api.permissions import (
    DRIVER_JOB_ACTIONS,
    DRIVER_LIST_ACTIONS,
    DRIVER_LOG_ACTIONS,
    DRIVER_ROLE_ACTIONS,
    JOB_ACTIONS,
    NOTEBOOK_ACTIONS,
)
from tests import images
from tests.backends.sagemaker.conftest import BUCKET, CREDENTIALS, ROLE
from tests.backends.sagemaker.conftest import IMAGE as TRAINING_IMAGE
from tests.doubles.cluster.cluster import IMAGE as POD_IMAGE
from tests.doubles.cluster.cluster import Cluster
from tests.doubles.sagemaker import Service, serving
from tests.doubles.sagemaker.policies import serve_simulations
from tests.doubles.sagemaker.surroundings import FileSystem

IN_IMAGE = "local-in-image"
ALL = ("local", "local-kubernetes", "local-sagemaker", IN_IMAGE, "kubernetes", "sagemaker")
BACKENDS = tuple((os.environ.get("LYFTLEARN_TEST_BACKENDS") or ",".join(ALL)).split(","))
# How this machine reaches the network, which jobs of the local backends are told: nobody is reached here.
_PROXIES = [f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "NO", "ALL")]
_OF_THIS_MACHINE = {
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
    *(name for upper in _PROXIES for name in (upper, upper.lower())),
}
FILE_SYSTEM = "fs-0123456789abcdef0"
NEVER = 'containers = "never"'
Secrets = Mapping[str, Mapping[str, str]]
SECRETS: Secrets = {
    "warehouse": {"WAREHOUSE_PASSWORD": "correct horse battery staple", "WAREHOUSE_USER": "eta"},
    "maps": {"MAPS_TOKEN": "tk-4a1f0c", "1st-a-file": "a file only"},
}


class Gateway:
    """A StatsD gateway that keeps what it gets. address: `host:port`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.packets: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True, name="statsd-gateway")
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self._socket.getsockname())
        self._thread.join(120)
        self._socket.close()

    def _listen(self) -> None:
        while packet := self._socket.recv(65_535):
            self.packets.append(packet)


@dataclass(frozen=True)
class Platforms:
    """What runs. config: the `lyftlearn.toml`. environment: variables that every program needs here.

    cluster, service: the tests' own, to which things can be done that nobody can do to real ones.
    """

    config: Path
    environment: Mapping[str, str]
    gateway: Gateway | None = None
    cluster: Cluster | None = None
    service: Service | None = None

    def variables(self, backend: str) -> dict[str, str]:
        """The environment of a program whose jobs go to `backend`."""
        config, name = (self.config_in_image(), "local") if backend == IN_IMAGE else (self.config, backend)
        ours = {name: value for name, value in os.environ.items() if name not in _OF_THIS_MACHINE}
        return {**ours, **self.environment, "LYFTLEARN_CONFIG": str(config), "LYFTLEARN_BACKEND": name}

    def config_in_image(self, image: str | None = None) -> Path:
        """Return the configuration under which this machine runs jobs in `image`, by default one that tests make."""
        image = image or images.python_image(images.require_engine())
        text = self.config.read_text().replace(NEVER, "image_required = true")
        path = self.config.with_name("in-image.toml")
        path.write_text(text + "".join(f'{name} = "{image}"\n' for name in ALL if name.startswith("local")))
        return path


@contextmanager
def platforms(directory: Path, secrets: Secrets = SECRETS) -> Iterator[Platforms]:
    """Every platform, until the block ends. directory: for their state. secrets: what each of them keeps."""
    named = os.environ.get("LYFTLEARN_TEST_CONFIG")
    if named:
        yield Platforms(config=Path(named).absolute(), environment={})
        return
    with ExitStack() as stack:
        gateway = Gateway()
        stack.callback(gateway.close)
        aws = stack.enter_context(_aws())
        environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": aws}
        service = stack.enter_context(serving(aws, _made(directory / "sagemaker")))
        cluster = Cluster(_made(directory / "cluster"))
        stack.callback(cluster.close)
        cluster.node.environment = environment
        _keep_secrets(secrets, directory / "secrets", cluster, aws)
        mounted = _made(directory / "mounted")
        _keep_rides(mounted)
        cluster.node.claims["rides"] = mounted
        service.conduct.file_systems[FILE_SYSTEM] = FileSystem("EFS", mounted)
        config = _write(directory, cluster, gateway, _vpc(_client("ec2", aws)))
        yield Platforms(
            config,
            {**environment, "AWS_ENDPOINT_URL_SAGEMAKER": service.url, "AWS_ENDPOINT_URL_BATCH": service.url},
            gateway,
            cluster,
            service,
        )


@contextmanager
def _aws() -> Iterator[str]:
    """The address of moto."""
    from moto.server import ThreadedMotoServer

    serve_simulations()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    _client("s3", url).create_bucket(Bucket=BUCKET)
    _create_role(_client("iam", url))
    yield url
    server.stop()


def _create_role(iam: Any) -> None:
    """Make the role that jobs run as, which moto may have from an earlier run in this process."""
    statement = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    name = ROLE.rpartition("/")[2]
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    driver = (*DRIVER_JOB_ACTIONS, *DRIVER_LIST_ACTIONS, *DRIVER_LOG_ACTIONS, *DRIVER_ROLE_ACTIONS)
    allowed = {"Effect": "Allow", "Action": [*JOB_ACTIONS, *NOTEBOOK_ACTIONS, *driver], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=name, PolicyName="jobs-and-searches", PolicyDocument=policy)


def _keep_secrets(secrets: Secrets, directory: Path, cluster: Cluster, aws: str) -> None:
    """Put the secrets where each platform keeps secrets."""
    manager = _client("secretsmanager", aws)
    for name, values in secrets.items():
        cluster.create_secret(name, dict(values))
        text = json.dumps(values)
        try:
            manager.create_secret(Name=name, SecretString=text)
        except manager.exceptions.ResourceExistsException:  # from an earlier run in this process
            manager.put_secret_value(SecretId=name, SecretString=text)
        for key, value in values.items():
            path = _made(directory / name) / key
            path.write_text(value)


def _keep_rides(mounted: Path) -> None:
    """Put files on the file system that every platform mounts, and this machine has elsewhere."""
    for month, rides in {"jan": "1\n2\n", "feb": "3\n"}.items():
        (_made(mounted / "rides") / f"{month}.txt").write_text(rides)


def _vpc(ec2: Any) -> str:
    """What `[sagemaker] vpc` says of the default VPC that every account has."""
    subnet = ec2.describe_subnets()["Subnets"][0]
    of_vpc = [{"Name": "vpc-id", "Values": [subnet["VpcId"]]}]
    group = ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"][0]
    return f'{{ subnets = ["{subnet["SubnetId"]}"], security_groups = ["{group["GroupId"]}"] }}'


def _write(directory: Path, cluster: Cluster, gateway: Gateway, vpc: str) -> Path:
    path = directory / "lyftlearn.toml"
    # The image is a name that the test cluster and the test service know; no engine of this machine does.
    local = f'secrets = "{directory / "secrets"}"\nmetrics = "{gateway.address}"\n{NEVER}'
    path.write_text(f"""
project = "parity"
home = "{directory / "home"}"

[storage]
url = "s3://{BUCKET}/lyftlearn"

[jobs]
image = "{POD_IMAGE}"

[local]
{local}

[local-kubernetes]
{local}

[local-sagemaker]
{local}

[kubernetes]
kubeconfig = "{cluster.kubeconfig()}"
metrics = "{gateway.address}"
starting = "3s"
gpus.A10G.selector = {{ "nvidia.com/gpu.product" = "NVIDIA-A10G" }}
notebook = {{ ingress = "{cluster.ingress.url}/notebooks", ingress_class = "nginx" }}

[sagemaker]
role = "{ROLE}"
region = "us-east-1"
metrics = "{gateway.address}"
log_settle = "1s"
vpc = {vpc}

[mounts.data]
path = "/data"
local.directory = "{directory / "mounted"}"
local-kubernetes.directory = "{directory / "mounted"}"
local-sagemaker.directory = "{directory / "mounted"}"
kubernetes.persistentVolumeClaim = "rides"
sagemaker.file_system = "{FILE_SYSTEM}"

[images."{POD_IMAGE}"]
sagemaker = "{TRAINING_IMAGE}"
""")
    return path


def _client(service: str, url: str) -> Any:
    session: Any = boto3
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return session.client(service, endpoint_url=url, region_name="us-east-1", **keys)


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
