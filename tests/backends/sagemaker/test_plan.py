"""Plans: exact requests, every fault, no secret, and nothing of the API's limits felt by the user."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyftlearn.backend import Plan, Source
from lyftlearn.types import JobKind
from lyftlearn_sagemaker.submission import documented_rules
from lyftlearn_sagemaker.submission.regions import partition_of_region
from tests.backends.sagemaker.conftest import IMAGE, ROLE, Make
from tests.backends.sagemaker.specs import resources, spec
from tests.doubles.sagemaker.faults import Refused
from tests.doubles.sagemaker.validation import check, model

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
        "image", "resources", "timeout", "inputs.x", "labels", "jobs.output", "sagemaker.role", "sagemaker.vpc.subnets",
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


def test_a_driver_has_a_role_of_its_own_and_a_network(make: Make) -> None:
    """Only what submits jobs may submit jobs, and without a network it cannot."""
    tune = {"role": "arn:aws:iam::123456789012:role/searches"}
    plans = [make(tune=tune).plan(spec(STORAGE, kind=kind)) for kind in (JobKind.TRAIN, JobKind.TUNE)]
    assert [_create(plan)["RoleArn"] for plan in plans] == [ROLE, tune["role"]]
    ((path, problem),) = make(network_isolation=True).plan(spec(STORAGE, kind=JobKind.TUNE)).faults
    assert (path, "submit its trials" in problem) == ("sagemaker.network_isolation", True)


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


def test_faults_name_the_users_fields(make: Make) -> None:
    """Sixty outputs with long URIs are no matter of labels, nor are fifty tags of the configuration."""
    outputs = {f"output{number}": f"s3://bucket/{'x' * 900}/{number}" for number in range(60)}
    faults = dict(make().plan(spec(STORAGE, outputs=outputs)).faults)
    assert set(faults) == {"outputs"}
    assert "variables that SageMaker keeps with a job" in faults["outputs"]
    labels = {f"{'a' * 60}{number}.example/{'b' * 60}": "c" * 60 for number in range(46)}
    many = {f"output{number}": f"s3://bucket/{'x' * 700}/{number}" for number in range(80)}
    assert set(dict(make().plan(spec(STORAGE, outputs=many, labels=labels)).faults)) == {"outputs"}
    ((field, problem),) = make(tags={f"tag{number}": "x" for number in range(50)}).plan(spec(STORAGE)).faults
    assert (field, problem) == ("sagemaker.tags", "are 50, and SageMaker takes 46: give fewer")
    assert {field for field, _ in make(tags={"bad!": "x"}).plan(spec(STORAGE)).faults} == {"sagemaker.tags"}
    assert {field for field, _ in make(tags={"AWS:team": "x"}).plan(spec(STORAGE)).faults} == {"sagemaker.tags"}


def test_faults_of_two_jobs_are_the_same(tmp_path: Any) -> None:
    """A report counts jobs by what stands against them, so no job's own URI may be part of that."""
    from lyftlearn.backend import BackendSettings
    from lyftlearn_sagemaker import create

    table = {"role": ROLE, "image": IMAGE}
    backend = create(BackendSettings(name="sagemaker", table=table, home=tmp_path, storage_url="file:///x"))
    source = Source(uri=f"file:///x/sources/{'a' * 64}.tar.gz", sha256="a" * 64)
    one, other = (backend.plan(spec("file:///x", source=source)).faults for _ in range(2))
    assert one == other
    assert {field for field, _ in one} == {"storage.url", "jobs.output"}


@pytest.mark.parametrize(
    "instance",
    ["ml.g5.xlarge", "ml.p4d.24xlarge", "ml.g6.xlarge", "ml.c5d.xlarge", "ml.m5.large", "ml.p6e-gb200.36xlarge"],
)
def test_a_key_for_the_volume(service: Any, make: Make, instance: str) -> None:
    """AWS refuses a key for a disk that is the instance's own, which its hardware encrypts: the plan says so."""
    backend = make(instances={"pin": instance}, keys={"volume": "alias/volume"})
    asked = resources(1, 1, gpu=0)
    plan = backend.plan(spec(STORAGE, resources=asked))
    if plan.faults:
        assert "does not offer" in plan.faults[0][1]
        return
    has_key = "VolumeKmsKeyId" in _create(plan)["ResourceConfig"]
    assert has_key is (instance == "ml.m5.large")
    assert any(note.startswith("keys.volume") for note in plan.notes) is not has_key
    service.operations._check_prose(_create(plan))


def test_a_disk_that_no_volume_has(service: Any, make: Make) -> None:
    """A volume of EBS has 16 TiB at most; nobody waits for a create to learn that."""
    ((field, problem),) = make().plan(spec(STORAGE, resources=resources(disk=20_000))).faults
    assert (field, problem) == ("resources.disk", "is 21475 GB, and no volume of EBS has more than 16384: ask for less")
    plan = make().plan(spec(STORAGE, resources=resources(disk=20_000)))
    with pytest.raises(Refused):
        service.operations._check_prose(plan.requests[1].body)


@pytest.mark.parametrize("space", ["\t", "\n", "\r", "\x1f", "\x85"])
def test_separators_of_tags(make: Make, space: str) -> None:
    """What Python takes for space is not what AWS takes for a separator: a decision loses it, a tag is refused."""
    decision = json.dumps({"reason": f"a{space}b"})
    plan = make().plan(spec(STORAGE, decision=decision))
    assert plan.faults == ()
    check("CreateTrainingJob", _create(plan))
    refused = make(tags={"team": f"a{space}b"}).plan(spec(STORAGE))
    assert {field for field, _ in refused.faults} == {"sagemaker.tags"}
    with pytest.raises(Refused):
        check("CreateTrainingJob", dict(refused.requests[1].body))
    assert make(tags={"team": "a\u3000b \u00a0"}).plan(spec(STORAGE)).faults == ()


def test_rules_of_the_prose_have_a_source() -> None:
    """A rule that nobody can look up is one that nobody can check; botocore's model is looked up here."""
    shapes = model()["shapes"]
    for rule in documented_rules.RULES:
        shape, _, member = rule.source.partition(".")
        if shape in shapes:
            text = re.sub(r"<[^>]+>", "", shapes[shape]["members"][member]["documentation"])
            text = re.sub(r"\s+", " ", text).replace("\u2019", "'")
            for words in rule.words:
                assert words in text, rule.source


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"keys": {"output": "alias/x"}, "output": "s3://b--use1-az4--x-s3/p"}, "sagemaker.keys.output"),
        ({"role": "arn:aws-cn:iam::123456789012:role/x"}, "sagemaker.role"),
        ({"keys": {"output": "arn:aws:kms:eu-west-1:123456789012:key/1234"}}, "sagemaker.keys.output"),
        ({"keys": {"volume": "arn:aws:kms:eu-west-1:123456789012:key/1234"}}, "sagemaker.keys.volume"),
    ],
)
def test_rules_of_the_prose(make: Make, changes: dict[str, Any], field: str) -> None:
    """What AWS would refuse, or what would fail after it was accepted, is a fault of the plan."""
    output = changes.pop("output", f"{STORAGE}/jobs")
    job = spec(STORAGE)
    plan = make(**changes).plan(replace(job, output_uri=f"{output}/{job.id}/output"))
    assert {path for path, _ in plan.faults} == {field}


def test_the_decision_can_be_read_in_a_tag(make: Make) -> None:
    """It is what a person looks for in the console; JSON without its punctuation is nothing to read."""
    decision = '{"backend": "sagemaker", "stage": "live", "reason": "flag (50%)", "sources": {"x": 1}}'
    tags = {tag["Key"]: tag["Value"] for tag in _create(make().plan(spec(STORAGE, decision=decision)))["Tags"]}
    assert tags["lyftlearn:decision"] == "backend=sagemaker stage=live reason=flag  50  "


def test_endpoints_that_whoever_submits_must_use(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that may use FIPS endpoints only means its jobs, too."""
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    assert _create(make().plan(spec(STORAGE)))["Environment"]["AWS_USE_FIPS_ENDPOINT"] == "true"


def test_partitions_are_botocores() -> None:
    """Whose ARN is whose, and which region is in which partition."""
    session = botocore.session.Session()
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("sagemaker", partition):
            assert partition_of_region(region) == partition
