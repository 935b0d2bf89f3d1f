"""Plans: exact requests, every fault, no secret, and nothing of the API's limits felt by the user."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyftlearn.backend import Plan, Source
from lyftlearn.types import JobKind
from tests.backends.sagemaker.conftest import IMAGE, ROLE, Make
from tests.backends.sagemaker.specs import resources, spec
from tests.doubles.sagemaker.faults import Refused
from tests.doubles.sagemaker.validation import check

LABEL = r"[a-z0-9]([a-z0-9.-]{0,200}/)?[A-Za-z0-9_.-]{1,60}"
LABEL_VALUE = r"([A-Za-z0-9][A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
STORAGE = "s3://lyftlearn-test/prefix"


@pytest.fixture
def storage_url() -> str:
    return STORAGE


def _create(plan: Plan) -> Any:
    assert plan.faults == ()
    return plan.requests[1].body


def _bundle(plan: Plan) -> Any:
    return plan.requests[0].body["Body"]


def test_the_whole_request(make: Make) -> None:
    """What is sent is plain, and what stands in the console says what job it is."""
    job = spec(STORAGE, hyperparameters='{"rate": 0.1, "name": "1.10"}', labels={"team": "eta"})
    body = _create(make().plan(job))
    assert body["TrainingJobName"] == job.id
    assert body["RoleArn"] == ROLE
    assert body["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert body["AlgorithmSpecification"]["ContainerEntrypoint"][-1] == "run"
    assert body["HyperParameters"] == {"rate": "0.1", "name": '"1.10"'}
    assert body["OutputDataConfig"] == {"S3OutputPath": f"{STORAGE}/jobs"}
    assert body["ResourceConfig"] == {"InstanceType": "ml.c7i.large", "InstanceCount": 1, "VolumeSizeInGB": 33}
    assert body["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600 + 10 + 3600}
    tags = {tag["Key"]: tag["Value"] for tag in body["Tags"]}
    assert tags["lyftlearn:label/team"] == "eta"
    assert (tags["lyftlearn:name"], tags["lyftlearn:kind"], tags["lyftlearn:digest"]) == ("eta", "train", job.digest)
    check("CreateTrainingJob", body)


def test_user_values_stay_out_of_the_request(make: Make) -> None:
    """Whoever may describe jobs may not thereby read variables, arguments or names of secrets."""
    job = spec(
        STORAGE, env={"TOKEN": "hunter2-value"}, secrets=("db-secret",), command=("run", "--password=hunter2-arg")
    )
    text = json.dumps(make().plan(job).requests[1].body)
    for hidden in ("hunter2-value", "hunter2-arg", "TOKEN", "db-secret"):
        assert hidden not in text
    assert _bundle(make().plan(job))["env"] == {"TOKEN": "hunter2-value"}


def test_limits_of_the_api_are_not_the_users(make: Make) -> None:
    """A hundred variables, 512 characters, 256 for an argument, 2500 for a hyperparameter: none of it is felt."""
    job = spec(
        STORAGE,
        env={f"VARIABLE_{number}": "x" * 5000 for number in range(500)},
        command=("x" * 5000, *("argument" for _ in range(300))),
        hyperparameters=json.dumps({f"p{number}": "x" * number * 30 for number in range(200)} | {"k" * 300: 1}),
        name="n" * 63,
    )
    plan = make().plan(job)
    body = _create(plan)
    check("CreateTrainingJob", body)
    assert len(body["HyperParameters"]) <= 100
    assert _bundle(plan)["hyperparameters"]["p199"] == "x" * 199 * 30
    assert any("do not fit into SageMaker's console" in note for note in plan.notes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hyperparameters=st.dictionaries(st.text(max_size=300), st.text(max_size=50) | st.none(), max_size=110),
    labels=st.dictionaries(
        st.from_regex(LABEL, fullmatch=True), st.from_regex(LABEL_VALUE, fullmatch=True), max_size=10
    ),
    decision=st.text(max_size=900),
)
def test_no_plan_without_faults_is_refused(make: Make, hyperparameters: Any, labels: Any, decision: str) -> None:
    """The model's own rules, checked by other code, have nothing against what a plan lets through."""
    job = spec(STORAGE, hyperparameters=json.dumps(hyperparameters), labels=labels, decision=decision)
    check("CreateTrainingJob", _create(make().plan(job)))


def test_every_fault_at_once_in_the_users_words(make: Make) -> None:
    """Who mends one fault must not hear of the next only then."""
    job = spec(
        STORAGE,
        image="ubuntu",
        resources=resources(1000),
        timeout=timedelta(days=40),
        inputs={"x": "file:///x"},
        labels={f"label{number}": "x" for number in range(60)},
        output_uri="s3://bucket/elsewhere",
    )
    faults = dict(
        make(role="nonsense", vpc={"subnets": ["not a subnet!"], "security_groups": ["sg-1"]}).plan(job).faults
    )
    assert set(faults) == {
        "image", "resources", "timeout", "inputs.x", "labels", "jobs.output", "sagemaker.role", "sagemaker.vpc",
    }  # fmt: skip
    assert "no URI in ECR" in faults["image"]
    assert "28 days" in faults["timeout"]


def test_storage_must_be_in_s3(make: Make, tmp_path: Any) -> None:
    """A laptop's directory is a place that no instance sees."""
    from lyftlearn.backend import BackendSettings
    from lyftlearn_sagemaker import create

    table = {"role": ROLE, "image": IMAGE}
    backend = create(BackendSettings(name="sagemaker", table=table, home=tmp_path, storage_url="file:///x"))
    job = spec("file:///x")
    assert {"storage.url", "jobs.output"} <= dict(backend.plan(job).faults).keys()


def test_a_directory_is_a_channel(make: Make) -> None:
    """Channels are fast; a prefix that ends in `/` has no siblings that start alike."""
    plan = make(input_mode="FastFile").plan(spec(STORAGE, inputs={"flights": "s3://b/train/", "one": "s3://b/train"}))
    channels = {channel["ChannelName"]: channel for channel in _create(plan)["InputDataConfig"]}
    assert set(channels) == {"lyftlearn", "lyftlearn-runtime", "flights"}
    assert channels["flights"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://b/train/"
    assert (channels["flights"]["InputMode"], channels["lyftlearn"]["InputMode"]) == ("FastFile", "File")
    assert _bundle(plan)["inputs"] == {
        "flights": {"uri": "s3://b/train/", "mode": "mounted"},
        "one": {"uri": "s3://b/train", "mode": "fetch"},
    }


def test_inputs_that_are_known_to_be_directories(make: Make) -> None:
    """An operator may know that nobody names single files, and wants channels."""
    plan = make(inputs="directories").plan(spec(STORAGE, inputs={"flights": "s3://b/train"}))
    assert _create(plan)["InputDataConfig"][-1]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://b/train/"
    assert _bundle(plan)["inputs"]["flights"]["mode"] == "mounted"


def test_more_inputs_than_channels(make: Make) -> None:
    """Twenty channels are SageMaker's limit and not the user's; nor are its names."""
    inputs = {f"input{number}": f"s3://b/{number}/" for number in range(30)} | {"lyftlearn": "s3://b/x/"}
    plan = make().plan(spec(STORAGE, inputs=inputs))
    assert len(_create(plan)["InputDataConfig"]) == 20
    modes = [entry["mode"] for entry in _bundle(plan)["inputs"].values()]
    assert (modes.count("mounted"), modes.count("fetch")) == (18, 13)


def test_source_and_artifact_need_no_boto3_in_the_image(make: Make) -> None:
    """They come as channels, and the runtime unpacks them from there."""
    source = Source(uri=f"{STORAGE}/sources/{'a' * 64}.tar.gz", sha256="a" * 64)
    job = spec(
        STORAGE, kind=JobKind.PREDICT, outputs={"predictions": None}, source=source, artifact="s3://b/j/model.tar.gz"
    )
    bundle = _bundle(make().plan(job))
    assert bundle["source"]["uri"] == f"/opt/ml/input/data/lyftlearn-source/{'a' * 64}.tar.gz"
    assert bundle["artifact"] == "/opt/ml/input/data/lyftlearn-artifact/model.tar.gz"


def test_options_of_a_model(make: Make) -> None:
    """Warm pools, spot, VPC, keys and encryption are an operator's, for each model; no call site knows."""
    backend = make(
        vpc={"subnets": ["subnet-1"], "security_groups": ["sg-1"]},
        keys={"volume": "alias/volume", "output": "alias/output"},
        encrypt_traffic=True,
        models={
            "often": {"keep_alive": "30m"},
            "cheap": {"spot": True, "spot_wait": "1h", "instances": {"pin": "ml.m5.xlarge"}},
        },
    )
    often, cheap = (_create(backend.plan(spec(STORAGE, name=name))) for name in ("often", "cheap"))
    for body in (often, cheap):
        check("CreateTrainingJob", body)
        assert body["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
        assert body["EnableInterContainerTrafficEncryption"] is True
        assert body["ResourceConfig"]["VolumeKmsKeyId"] == "alias/volume"
        assert body["OutputDataConfig"]["KmsKeyId"] == "alias/output"
        assert body["RetryStrategy"] == {"MaximumRetryAttempts": 1}
    assert often["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 1800
    assert "EnableManagedSpotTraining" not in often
    assert cheap["EnableManagedSpotTraining"] is True
    assert cheap["StoppingCondition"] == {"MaxRuntimeInSeconds": 7210, "MaxWaitTimeInSeconds": 10810}
    assert cheap["CheckpointConfig"]["S3Uri"].endswith("/checkpoints")
    assert cheap["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"


def test_the_keep_alive_limit_is_the_services(make: Make) -> None:
    """Six hours; botocore would let seven pass."""
    faults = dict(make(keep_alive="7h").plan(spec(STORAGE)).faults)
    assert "21600" in faults["sagemaker.keep_alive"]


def test_network_isolation_lists_what_the_job_would_lose(make: Make) -> None:
    """Without a network the runtime fetches nothing and sends nothing; that is said before, not found out after."""
    job = spec(
        STORAGE,
        kind=JobKind.PROCESS,
        secrets=("db",),
        outputs={"output": None, "export": "s3://b/export"},
        inputs={"ok": "s3://b/x/", "one": "s3://b/y"},
    )
    ((path, problem),) = make(network_isolation=True, metrics="statsd.internal:8125").plan(job).faults
    assert path == "sagemaker.network_isolation"
    for lost in ("secret db", "metrics to statsd.internal:8125", "output export", "inputs.one"):
        assert lost in problem
    assert "inputs.ok" not in problem
    plain = replace(job, secrets=(), outputs={"output": None}, inputs={"ok": "s3://b/x/"})
    assert _create(make(network_isolation=True).plan(plain))["EnableNetworkIsolation"] is True


def test_conflicting_contents_have_places_of_their_own(make: Make) -> None:
    """A second call with the same key and other arguments must not overwrite the bundle of the job that runs."""
    one = spec(STORAGE)
    other = replace(one, command=("other",))
    assert make().plan(one).requests[0].body["Key"] != make().plan(other).requests[0].body["Key"]


def test_planning_loads_no_boto3(tmp_path: Path) -> None:
    """`import lyftlearn` and plans for the backend that is not chosen cost every submission of the old one."""
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.backends.sagemaker import specs
from lyftlearn.backend import BackendSettings
from lyftlearn_sagemaker import create
table = {{"role": {ROLE!r}, "image": {IMAGE!r}}}
home = Path(sys.argv[1])
backend = create(BackendSettings(name="sagemaker", table=table, home=home, storage_url="{STORAGE}"))
assert backend.plan(specs.spec("{STORAGE}")).faults == ()
print([name for name in ("boto3", "botocore", "sagemaker") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_services_check_is_not_ours() -> None:
    """The tests above lean on the service's own validation; it must see what botocore lets pass."""
    with pytest.raises(Refused, match="Member must satisfy regular expression pattern"):
        check("StopTrainingJob", {"TrainingJobName": "-bad-"})
