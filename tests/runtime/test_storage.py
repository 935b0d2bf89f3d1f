"""Inputs, artifacts and checkpoints, on S3 (a moto server) and on disk."""

import errno
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from lyftlearn.runtime import archives, packing, s3, storage, transfer
from lyftlearn.runtime.checkpoints import Checkpoints
from lyftlearn.runtime.faults import RuntimeFailure
from tests.runtime.conftest import AWS


def put(bucket: Any, **objects: bytes) -> None:
    for key, body in objects.items():
        bucket.put_object(Key=key.replace("__", "/"), Body=body)


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_directory_means_what_is_under_it(bucket: Any, tmp_path: Path) -> None:
    """S3's prefix `train` also matches `train-old`: a job must not train on it."""
    put(bucket, train__a=b"1", train__deep__b=b"2", train_old=b"no", **{"train-old__c": b"no", "train__": b""})
    for index, uri in enumerate((f"s3://{bucket.name}/train", f"s3://{bucket.name}/train/")):
        place = tmp_path / str(index)
        assert transfer.fetch(uri, str(place)) == 2
        assert tree(place) == {"a": b"1", "deep/b": b"2"}


def test_a_bucket_of_s3_express(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes prefixes that end in `/` only, and lists in any order: botocore, ListObjectsV2Request.Prefix."""
    for name, value in {**AWS, "AWS_ENDPOINT_URL": endpoint, "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH": "true"}.items():
        monkeypatch.setenv(name, value)
    s3._clients.clear()
    bucket = boto3.resource("s3", endpoint_url=endpoint).create_bucket(Bucket=f"b{os.urandom(4).hex()}--use1-az4--x-s3")
    put(bucket, **{"data__rides.csv": b"1", "data__rides.csv.bak": b"2", "train__a": b"3"})

    def refuse(params: dict[str, Any], **_: Any) -> None:
        prefix = params["query_string"].get("prefix", "")
        if prefix and not prefix.endswith("/"):
            answer: Any = {"Error": {"Code": "InvalidRequest"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(answer, "ListObjectsV2")

    s3.aws_client("s3").meta.events.register("before-call.s3.ListObjectsV2", refuse)
    assert transfer.fetch(f"s3://{bucket.name}/data/rides.csv", str(tmp_path / "file")) == 1
    assert transfer.fetch(f"s3://{bucket.name}/train", str(tmp_path / "directory")) == 1
    assert (tree(tmp_path / "file"), tree(tmp_path / "directory")) == ({"rides.csv": b"1"}, {"a": b"3"})
    assert storage.store_for("s3://x").find(f"s3://{bucket.name}/data/rides") == []
    s3._clients.clear()


def test_a_file_keeps_its_name(bucket: Any, tmp_path: Path) -> None:
    """Programs open it by the name it had."""
    put(bucket, **{"data__rides.csv": b"1", "data__rides.csv.bak": b"2"})
    assert transfer.fetch(f"s3://{bucket.name}/data/rides.csv", str(tmp_path)) == 1
    assert tree(tmp_path) == {"rides.csv": b"1"}


def test_an_object_that_is_too_large_is_named(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of a job is read as a whole; something else in its place must not fill the container's memory."""
    monkeypatch.setattr(storage, "LARGEST_DOCUMENT", 100)
    put(bucket, fits=b"x" * 100, large=b"x" * 101)
    assert len(storage.read_bytes(f"s3://{bucket.name}/fits")) == 100
    with pytest.raises(RuntimeFailure, match=r"/large has 101 bytes; a job's documents have at most 100"):
        storage.read_bytes(f"s3://{bucket.name}/large")


def test_a_whole_bucket_and_nothing(bucket: Any, tmp_path: Path) -> None:
    """The ends of the range."""
    assert transfer.fetch(f"s3://{bucket.name}/", str(tmp_path)) == 0
    put(bucket, a=b"1")
    assert transfer.fetch(f"s3://{bucket.name}", str(tmp_path)) == 1
    assert transfer.fetch(f"s3://{bucket.name}/b", str(tmp_path)) == 0


def test_keys_that_would_leave_the_channel_are_refused(bucket: Any, tmp_path: Path) -> None:
    """A key is any text; a path is not."""
    put(bucket, **{"in__..__..__x": b"1", "in__ok": b"2"})
    with pytest.raises(RuntimeFailure, match="outside"):
        transfer.fetch(f"s3://{bucket.name}/in/", str(tmp_path / "channel"))
    assert tree(tmp_path) == {}


def test_a_file_that_goes_while_an_output_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a command has left running removes it; the rest of the output is there."""
    (tmp_path / "out").mkdir()
    for name in ("gone", "stays"):
        (tmp_path / "out" / name).write_text(name)

    def put_late(path: str, uri: str) -> None:
        (tmp_path / "out" / "gone").unlink(missing_ok=True)
        storage.put(path, uri)

    monkeypatch.setattr("lyftlearn.runtime.transfer.put", put_late)
    transfer.upload_directory(str(tmp_path / "out"), (tmp_path / "kept").as_uri())
    assert tree(tmp_path / "kept") == {"stays": b"stays"}
    assert "gone is not kept: it is gone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (["a", "a/b"], "'a' would be a file, and the directory of 'a/b'"),
        (["a//b", "a/b"], "'a//b' and 'a/b' would be one file"),
        (["a/./b", "a/b"], "would be one file"),
        (["x/../y"], "'x/../y' would be written outside"),
        (["."], "'.' would be written outside"),
        (["n" * 256], "is longer than the 255 bytes"),
        (["\u00e9" * 128, "z"], "is longer than the 255 bytes"),
    ],
)
def test_names_that_no_directory_can_hold_are_named(bucket: Any, tmp_path: Path, keys: list[str], why: str) -> None:
    """To S3 each key is a name of its own. Here two of them were written into one file at once, in silence."""
    for key in keys:
        bucket.put_object(Key=f"in/{key}", Body=key.encode())
    with pytest.raises(RuntimeFailure, match=re.escape(why)) as caught:
        transfer.fetch(f"s3://{bucket.name}/in", str(tmp_path / "channel"))
    assert caught.value.reason == "configuration"
    assert tree(tmp_path) == {}


def test_a_bucket_that_is_not_there_is_the_job_s_fault(bucket: Any, tmp_path: Path) -> None:
    """The reason tells whom to ask: CONFIGURATION is the user's, PLATFORM is not."""
    with pytest.raises(RuntimeFailure, match="NoSuchBucket") as caught:
        transfer.fetch("s3://no-such-bucket-here/x", str(tmp_path))
    assert caught.value.reason == "configuration"


@pytest.mark.parametrize("names", [["AWS_REGION"], ["AWS_DEFAULT_REGION"]])
def test_the_region_is_known_by_either_name(bucket: Any, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    """boto3 reads one of the two, and a platform may set only the other."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    for name in names:
        monkeypatch.setenv(name, "eu-west-1")
    assert s3.aws_client("secretsmanager").meta.region_name == "eu-west-1"


def test_large_objects_go_up_in_parts_and_are_verified(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model fits one request."""
    monkeypatch.setattr(s3, "SMALL_PART", 5 << 20)
    body = os.urandom(12 << 20)
    sink = storage.store_for("s3://x").sink(f"s3://{bucket.name}/model")
    for start in range(0, len(body), 1 << 20):
        sink.write(body[start : start + (1 << 20)])
    sink.commit()
    stored = bucket.Object("model").get()
    assert stored["Body"].read() == body
    assert stored["ETag"].endswith('-3"')


@pytest.mark.parametrize("parts", [1, 2])
def test_the_first_writer_wins(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    """Of jobs that keep the same at once, and none of the parts of the others stay."""
    monkeypatch.setattr(s3, "SMALL_PART", 5 << 20)
    for uri in (f"s3://{bucket.name}/kept", str(tmp_path / "kept")):
        sinks = [storage.store_for(uri).sink(uri) for _ in range(2)]
        for number, sink in enumerate(sinks):
            for _ in range(parts):
                sink.write(bytes([number]) * (5 << 20 if parts > 1 else 5))
        for sink in sinks:
            sink.commit(only_new=True)
        assert storage.read_bytes(uri)[:1] == b"\0"
    assert list(bucket.multipart_uploads.all()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(("number", "is_kept"), [(errno.EPERM, True), (errno.EOPNOTSUPP, True), (errno.EIO, False)])
def test_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_kept: bool
) -> None:
    """Network file systems and FUSE may have none: then the last writer wins."""

    def link(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    sink = storage.store_for("/").sink(str(tmp_path / "kept"))
    with nullcontext() if is_kept else pytest.raises(RuntimeFailure):
        sink.commit(only_new=True)
    sink.abort()
    assert [path.name for path in tmp_path.iterdir()] == (["kept"] if is_kept else [])


@pytest.fixture
def strict_uploads(bucket: Any) -> list[str]:
    """S3 as its documentation has it: a part's checksum must be declared at the start, and told again at the end."""
    algorithms: list[str] = []

    def start(params: Any, **_: Any) -> None:
        algorithms.append(params["headers"].get("x-amz-checksum-algorithm", ""))

    def part(params: Any, **_: Any) -> None:
        sums = {name.rpartition("-")[2].upper() for name in params["headers"] if name.startswith("x-amz-checksum-")}
        assert sums <= {algorithms[-1]}, "a checksum that was not declared"

    def end(params: Any, **_: Any) -> None:
        parts = params["body"].count(b"<Part>") - params["body"].count(f"<Checksum{algorithms[-1]}>".encode())
        assert not algorithms[-1] or parts == 0, "a part without the checksum that was declared"

    store: Any = storage.store_for("s3://x")
    events = store._client.meta.events
    events.register("before-call.s3.CreateMultipartUpload", start)
    events.register("before-call.s3.UploadPart", part)
    events.register("before-call.s3.CompleteMultipartUpload", end)
    return algorithms


def test_checksums_of_parts_are_declared(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, strict_uploads: list[str]
) -> None:
    """S3 refuses an upload whose parts have checksums of another kind than it began with."""
    monkeypatch.setattr(s3, "SMALL_PART", 5 << 20)
    sink = storage.store_for("s3://x").sink(f"s3://{bucket.name}/model")
    sink.write(bytes(6 << 20))
    sink.write(b"rest")
    sink.commit()
    assert strict_uploads == ["CRC32"]
    small = storage.store_for("s3://x").sink(f"s3://{bucket.name}/small")
    small.write(b"x")
    small.commit()


def test_an_older_boto3_has_md5(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of years ago know no other checksum."""
    monkeypatch.setattr(s3, "SMALL_PART", 5 << 20)
    monkeypatch.setattr(s3, "_declares_checksums", lambda client: False)
    sink = storage.store_for("s3://x").sink(f"s3://{bucket.name}/model")
    sink.write(bytes(6 << 20))
    sink.commit()
    assert bucket.Object("model").content_length == 6 << 20


def test_an_upload_that_is_given_up_leaves_nothing(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of abandoned uploads are paid for and seen by nobody."""
    monkeypatch.setattr(s3, "SMALL_PART", 5 << 20)
    sink = storage.store_for("s3://x").sink(f"s3://{bucket.name}/model")
    sink.write(bytes(6 << 20))
    sink.abort()
    assert list(bucket.objects.all()) == []
    assert list(bucket.multipart_uploads.all()) == []


def test_a_short_upload_is_a_failure(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload is believed when the store says so, not when the client does."""
    monkeypatch.setattr(s3, "SMALL_PART", 5 << 20)
    sink = storage.store_for("s3://x").sink(f"s3://{bucket.name}/model")
    sink.write(bytes(5 << 20))
    monkeypatch.setattr(sink, "_total", (5 << 20) + 1)
    with pytest.raises(RuntimeFailure, match="has 5242880 bytes after the upload of 5242881") as caught:
        sink.commit()
    assert caught.value.reason == "platform"


class Gateway(BaseHTTPRequestHandler):
    """Stands between a network and S3: it answers every write with a page."""

    asked: list[str]
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"<html>please log in</html>")

    def _answer(self, status: int, page: bytes) -> None:
        self.asked.append(self.command)
        self.send_response(status)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        """Not to the test's output."""


def test_a_page_in_place_of_an_answer_is_no_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 200 says nothing: the write is repeated, and then nothing was written."""
    Gateway.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever).start()
        for name, value in {**AWS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}.items():
            monkeypatch.setenv(name, value)
        s3._clients.clear()
        sink = storage.store_for("s3://x").sink("s3://rides/model")
        sink.write(b"1234")
        with pytest.raises(RuntimeFailure, match=r"uploading s3://rides/model: .* status 200 is not AWS"):
            sink.commit()
        server.shutdown()
    s3._clients.clear()
    assert Gateway.asked == ["PUT"] * 8


def test_small_files_are_one_request_each(bucket: Any, tmp_path: Path) -> None:
    """Of thousands, nobody is asked for their sizes, and no threads are started for each."""
    requests: list[str] = []
    store: Any = storage.store_for("s3://x")
    store._client.meta.events.register("before-send.s3", lambda request, **_: requests.append(request.method))
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(bytes([number]) * number)
    transfer.upload_directory(str(tmp_path), f"s3://{bucket.name}/small")
    assert requests == ["PUT"] * 3
    assert transfer.fetch(f"s3://{bucket.name}/small", str(tmp_path / "back")) == 3
    assert requests[3:] == ["GET"] * 4  # a list, and each file
    assert tree(tmp_path / "back") == {"0": b"", "1": b"\1", "2": b"\2\2"}


def run(archive: Path, root: Path, **fields: Any) -> tuple[int, dict[str, Any], bytes]:
    """The runtime with this machine's network and Python; exit code, report, output."""
    job = {"id": "fares-tsa1b2c3d4e5f6", "name": "fares", "kind": "train"}
    text = json.dumps({"contract": 1, "job": job, "command": ["true"], **fields})
    private = {"LYFTLEARN_SUBSTRATE": "local", "LYFTLEARN_ROOT": str(root), "LYFTLEARN_BUNDLE": text}
    private["LYFTLEARN_SUBSTRATE_REPORT"] = str(root / "report")
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(archive), "run"],
        env={**os.environ, **private},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=600,
    )
    report = (root / "report").read_text()
    return answer.returncode, json.loads(report.splitlines()[0].split(" ", 1)[1]), answer.stdout


@pytest.mark.contract("C-DATA-6")
def test_a_job_from_s3_to_s3(bucket: Any, archive: Path, tmp_path: Path) -> None:
    """Source, input, another job's output and the model's archive, through the image's own boto3 under -I -S."""
    code = io.BytesIO()
    with tarfile.open(fileobj=code, mode="w:gz") as source:
        script = b"cat $LYFTLEARN_INPUTS_DIR/train/a $LYFTLEARN_INPUTS_DIR/features/f > $LYFTLEARN_MODEL_DIR/m; pwd"
        member = tarfile.TarInfo("train.sh")
        member.size = len(script)
        source.addfile(member, io.BytesIO(script))
    put(bucket, train__a=b"rides ", code=code.getvalue())
    (tmp_path / "outputs/features").mkdir(parents=True)
    (tmp_path / "outputs/features/f").write_text("features")
    (tmp_path / "outputs/other").mkdir()
    (tmp_path / "outputs/other/o").write_text("not this")
    sink = storage.store_for("s3://x").sink(f"s3://{bucket.name}/job/output/output.tar.gz")
    packing.pack(str(tmp_path / "outputs"), sink)
    sink.commit()
    exit_code, facts, output = run(
        archive,
        tmp_path / "root",
        command=["sh", "train.sh"],
        source={"uri": f"s3://{bucket.name}/code", "sha256": None},
        inputs={
            "train": {"uri": f"s3://{bucket.name}/train", "mode": "fetch"},
            "features": {"uri": f"s3://{bucket.name}/job/output/output.tar.gz#features", "mode": "fetch"},
        },
        model=True,
        output_uri=f"s3://{bucket.name}/kept",
    )
    assert (exit_code, facts["reason"]) == (0, None), output
    assert output.decode().strip() == str(tmp_path / "root/source")
    stored = bucket.Object("kept/model.tar.gz").get()["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(stored)) as model:
        file = model.extractfile("m")
        assert file is not None
        assert file.read() == b"rides features"


@pytest.mark.contract("C-END-8")
def test_every_missing_input_is_named_before_the_command(bucket: Any, archive: Path, tmp_path: Path) -> None:
    """A job that starts without its data trains on nothing."""
    inputs = {"train": {"uri": f"s3://{bucket.name}/none"}, "test": {"uri": str(tmp_path / "none")}}
    exit_code, facts, output = run(archive, tmp_path / "root", inputs=inputs, command=["echo", "started"])
    assert (exit_code, facts["reason"], facts["attempt"]) == (78, "configuration", 0)
    assert b"inputs.train: nothing is at" in output
    assert b"inputs.test: nothing is at" in output
    assert b"started" not in output


@pytest.mark.contract("C-END-9", "C-KEEP-3")
def test_a_failed_upload_fails_the_job(archive: Path, tmp_path: Path) -> None:
    """A model that was lost silently is found missing when it is to serve."""
    kept, command = tmp_path / "kept", ["/bin/sh", "-c", f"echo in the way > {tmp_path}/kept"]
    away = f"{kept.as_uri()}/cannot-be-made"
    exit_code, facts, _ = run(archive, tmp_path / "root", command=command, model=True, output_uri=away)
    assert (exit_code, facts["reason"], facts["exit_code"]) == (70, "platform", None)


def test_an_image_without_boto3_is_told_the_remedy(archive: Path, tmp_path: Path) -> None:
    """Standard images have no boto3; the message says which Python needs it."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=600)
    text = json.dumps(
        {
            "contract": 1,
            "job": {"id": "j", "name": "j", "kind": "process"},
            "command": ["true"],
            "inputs": {"a": {"uri": "s3://b/a"}},
        }
    )
    private = {"LYFTLEARN_SUBSTRATE": "local", "LYFTLEARN_ROOT": str(tmp_path / "root"), "LYFTLEARN_BUNDLE": text}
    answer = subprocess.run(
        [str(bare / "bin/python"), "-I", "-S", str(archive), "run"],
        env={"PATH": os.environ["PATH"], **private},
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert answer.returncode == 78
    assert b"add boto3 to the image" in answer.stderr


@pytest.mark.contract("C-ARCHIVE-1")
def test_the_same_content_is_the_same_archive(tmp_path: Path) -> None:
    """A model that did not change has the digest it had: times, owners and the order on disk are not in it."""
    digests: list[bytes] = []
    for order in ("ab", "ba"):
        directory = tmp_path / order
        for name in order:
            (directory / name).mkdir(parents=True)
            (directory / name / "f").write_text(name)
            os.utime(directory / name / "f", (len(digests), len(digests)))
        (directory / "link").symlink_to(directory / "a")
        sink = storage.store_for("/x").sink(str(tmp_path / f"{order}.tar.gz"))
        packing.pack(str(directory), sink)
        sink.commit()
        digests.append((tmp_path / f"{order}.tar.gz").read_bytes())
    assert digests[0] == digests[1]
    archives.unpack(str(tmp_path / "ab.tar.gz"), str(tmp_path / "out"))
    assert (tmp_path / "out/link/f").read_text() == "a"


def test_links_out_of_the_tree_are_kept_as_what_they_show(tmp_path: Path) -> None:
    """`best -> ../checkpoints/7` is how models are picked; a dangling link would be the model."""
    (tmp_path / "checkpoints/7").mkdir(parents=True)
    (tmp_path / "checkpoints/7/w").write_text("weights")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/best").symlink_to("../checkpoints/7")
    (tmp_path / "model/w").symlink_to(tmp_path / "checkpoints/7/w")
    sink = storage.store_for("/x").sink(str(tmp_path / "m.tar.gz"))
    packing.pack(str(tmp_path / "model"), sink)
    sink.commit()
    archives.unpack(str(tmp_path / "m.tar.gz"), str(tmp_path / "out"))
    assert tree(tmp_path / "out") == {"best/w": b"weights", "w": b"weights"}


@pytest.mark.parametrize(
    "members",
    [
        [("../up", None)],
        [("/absolute", None)],
        [("link", "../up"), ("link/x", None)],
        [("link", "/etc"), ("link/x", None)],
        [("a/../../up", None)],
        [("fifo", "FIFO")],
    ],
    ids=lambda members: str(members[0]),
)
def test_members_that_leave_the_destination_are_refused(tmp_path: Path, members: list[tuple[str, str | None]]) -> None:
    """Archives come from other jobs and other people."""
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as archive:
        for name, link in members:
            member = tarfile.TarInfo(name)
            member.type = tarfile.REGTYPE if link is None else tarfile.FIFOTYPE if link == "FIFO" else tarfile.SYMTYPE
            member.linkname = link or ""
            archive.addfile(member)
    with pytest.raises(RuntimeFailure, match="refused"):
        archives.unpack(str(tmp_path / "bad.tar.gz"), str(tmp_path / "out/in"))
    assert not (tmp_path / "out/up").exists()


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    """Half of an archive is not a model."""
    path = tmp_path / "m.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("w")
        member.size = 1 << 16
        archive.addfile(member, io.BytesIO(os.urandom(1 << 16)))
    path.write_bytes(path.read_bytes()[:-20000])
    with pytest.raises(RuntimeFailure, match=r"m\.tar\.gz"):
        archives.unpack(str(path), str(tmp_path / "out"))


@pytest.mark.contract("C-DATA-5")
def test_checkpoints_come_back_and_follow_the_directory(bucket: Any, tmp_path: Path) -> None:
    """Spot instances go; what was written last, and only that, is there for the next one."""
    put(bucket, ck__1=b"one", ck__deep__2=b"two")
    kept = Checkpoints(str(tmp_path), f"s3://{bucket.name}/ck", interval=0.1)
    kept.restore()
    assert tree(tmp_path) == {"1": b"one", "deep/2": b"two"}
    kept.start()
    (tmp_path / "3").write_text("three")
    (tmp_path / "1").unlink()
    deadline = time.monotonic() + 60
    while {found.key for found in bucket.objects.all()} != {"ck/deep/2", "ck/3"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (tmp_path / "4").write_text("at the very end")
    kept.finish()
    assert {found.key for found in bucket.objects.all()} == {"ck/deep/2", "ck/3", "ck/4"}


def test_checkpoints_are_kept_when_the_command_fails(bucket: Any, archive: Path, tmp_path: Path) -> None:
    """They exist for the runs that end badly."""
    command = ["sh", "-c", "echo 1 > $LYFTLEARN_CHECKPOINTS_DIR/c; exit 5"]
    exit_code, _, _ = run(archive, tmp_path / "root", command=command, checkpoints={"uri": f"s3://{bucket.name}/ck"})
    assert exit_code == 5
    assert [found.key for found in bucket.objects.all()] == ["ck/c"]


@pytest.mark.contract("C-DATA-4")
def test_predictions_find_the_model_where_training_left_it(archive: Path, tmp_path: Path) -> None:
    """The same path on both sides of the archive."""
    make = ["sh", "-c", "mkdir $LYFTLEARN_MODEL_DIR/d; echo w > $LYFTLEARN_MODEL_DIR/d/w"]
    assert run(archive, tmp_path / "one", command=make, model=True, output_uri=str(tmp_path / "kept"))[0] == 0
    read = ["sh", "-c", "cat $LYFTLEARN_MODEL_DIR/d/w"]
    answer = run(archive, tmp_path / "two", command=read, artifact=str(tmp_path / "kept/model.tar.gz"))
    assert (answer[0], answer[2]) == (0, b"w\n")


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("AccessDenied", 403, "configuration"),
        ("InvalidObjectState", 403, "configuration"),
        ("InvalidBucketName", 400, "configuration"),
        ("KMS.DisabledException", 400, "configuration"),
        ("KMS.NotFoundException", 400, "configuration"),
        ("KMS.KMSInvalidStateException", 400, "configuration"),
        ("AuthorizationHeaderMalformed", 400, "configuration"),
        ("PermanentRedirect", 301, "configuration"),
        ("404", 404, "configuration"),
        ("SomethingNew", 400, "configuration"),
        ("KMS.ThrottlingException", 400, "platform"),
        ("KMS.KMSInternalException", 500, "platform"),
        ("KMS.DependencyTimeoutException", 400, "platform"),
        ("SlowDown", 503, "platform"),
        ("RequestTimeout", 400, "platform"),
        ("RequestTimeTooSkewed", 403, "platform"),
        ("OperationAborted", 409, "platform"),
        ("NoSuchUpload", 404, "platform"),
        ("BadDigest", 400, "platform"),
        ("InternalError", 500, "platform"),
    ],
)
def test_whose_fault_a_refusal_is(code: str, status: int, reason: str) -> None:
    """CONFIGURATION is the user's to mend and never repeated; PLATFORM passes."""
    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(RuntimeFailure, match=code) as caught, s3.translate_errors("fetching s3://b/k"):
        raise ClientError(response, "GetObject")
    assert caught.value.reason == reason


@pytest.mark.parametrize("uri", ["s3://NO_such bucket/x", "s3://a/x", "s3:///x"])
def test_a_bucket_s_name_that_cannot_be(bucket: Any, tmp_path: Path, uri: str) -> None:
    """Botocore refuses it before anything is sent; it is a typing error, and said so."""
    with pytest.raises(RuntimeFailure) as caught:
        transfer.fetch(uri, str(tmp_path))
    assert caught.value.reason == "configuration"


def test_an_archived_object_is_told_with_its_remedy(bucket: Any) -> None:
    """Glacier's own words name no way out."""
    bucket.put_object(Key="old", Body=b"x", StorageClass="GLACIER")
    with pytest.raises(RuntimeFailure, match="restore it first") as caught:
        storage.read_bytes(f"s3://{bucket.name}/old")
    assert caught.value.reason == "configuration"


def test_an_answer_that_ends_in_the_middle_is_read_again(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client repeats requests, but not what stops between two bytes: a bundle is read once per job."""
    bucket.put_object(Key="bundle", Body=b"0123456789")
    monkeypatch.setattr("time.sleep", lambda _: None)
    store = s3.S3Store()
    answers: list[Any] = []
    ask = store._client.get_object

    def cut(**request: Any) -> Any:
        answer = ask(**request)
        answers.append(answer)
        if len(answers) < 3:
            answer["Body"] = StreamingBody(io.BytesIO(b"01234"), 10)
        return answer

    monkeypatch.setattr(store._client, "get_object", cut)
    assert store.read(f"s3://{bucket.name}/bundle") == b"0123456789"
    assert len(answers) == 3


def test_parts_are_large_enough_for_the_largest_object() -> None:
    """S3 takes 10,000 parts of 5 MiB to 5 GiB, and objects of 5 TiB (its documented limits)."""
    sizes = [s3.part_size(index) for index in range(10_000)]
    assert sum(sizes) >= 5 << 40
    assert min(sizes) >= 5 << 20
    assert max(sizes) <= 5 << 30
    assert sum(sizes[:1000]) < 32 << 30  # models of usual size need little memory


@pytest.mark.contract("C-RUN-2")
def test_boto3_of_a_user_or_of_a_path(archive: Path, tmp_path: Path) -> None:
    """`pip install --user` and PYTHONPATH put packages into an image as well."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=600)
    system = Path(os.path.realpath(sys.executable))
    packages = Path(boto3.__file__).parents[1]
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / f"home/.local/lib/{version}").mkdir(parents=True)
    (tmp_path / f"home/.local/lib/{version}/site-packages").symlink_to(packages)
    text = json.dumps(
        {
            "contract": 1,
            "job": {"id": "j", "name": "j", "kind": "process"},
            "command": ["true"],
            "inputs": {"a": {"uri": "s3://b/a"}},
        }
    )
    private = {"LYFTLEARN_SUBSTRATE": "local", "LYFTLEARN_ROOT": str(tmp_path / "root"), "LYFTLEARN_BUNDLE": text}
    private |= {"AWS_ENDPOINT_URL": "nonsense", "AWS_REGION": "us-east-1", "PATH": os.environ["PATH"]}
    for python, variables in (
        (system, {"HOME": str(tmp_path / "home")}),
        (bare / "bin/python", {"PYTHONPATH": str(packages), "HOME": "/"}),
    ):
        answer = subprocess.run(
            [str(python), "-I", "-S", str(archive), "run"],
            env={**private, **variables},
            capture_output=True,
            check=False,
            timeout=600,
        )
        assert answer.returncode == 78
        assert b"no boto3" not in answer.stderr
        assert b"the endpoint cannot be sent" in answer.stderr


def test_a_container_finds_files_below_its_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URI stays what the caller wrote, in the container's place for files and in messages."""
    outside = tmp_path / "data"
    inside = tmp_path / f"files{outside}"
    inside.mkdir(parents=True)
    (inside / "a.csv").write_text("1")
    monkeypatch.setenv(storage.FILES, str(tmp_path / "files"))
    assert transfer.fetch(outside.as_uri(), str(tmp_path / "fetched")) == 1
    storage.put(str(inside / "a.csv"), f"{outside.as_uri()}/copy/b.csv")
    assert (inside / "copy/b.csv").read_text() == "1"
    assert not outside.exists()
    (inside / "file").write_text("")
    with pytest.raises(RuntimeFailure) as caught:
        storage.put(str(inside / "a.csv"), f"{outside.as_uri()}/file/b.csv")
    assert f"writing {outside}/file/b.csv" in str(caught.value)
    assert str(tmp_path / "files") not in str(caught.value)


def test_small_files_are_sent_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for an answer from far away; one after the other, thousands would take minutes."""
    met, put = threading.Barrier(4), storage.put

    def send(path: str, uri: str) -> None:
        met.wait(600)
        put(path, uri)

    monkeypatch.setattr(transfer, "put", send)
    for number in range(8):
        (tmp_path / f"from/{number % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"from/{number % 2}/{number}").write_text(str(number))
    transfer.upload_directory(str(tmp_path / "from"), (tmp_path / "to").as_uri())
    assert {path.read_text() for path in (tmp_path / "to").glob("*/*")} == set(map(str, range(8)))


def test_of_many_files_a_few_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million images have a million names, and each one that waits to be sent takes a kilobyte."""
    named, sent, most = 0, 0, 0
    join, put, lock = storage.join, storage.put, threading.Lock()

    def name(uri: str, relative: str) -> str:
        nonlocal named, most
        named += 1
        most = max(most, named - sent)
        return join(uri, relative)

    def send(path: str, uri: str) -> None:
        nonlocal sent
        put(path, uri)
        with lock:
            sent += 1

    monkeypatch.setattr(transfer, "join", name)
    monkeypatch.setattr(transfer, "put", send)
    (tmp_path / "from").mkdir()
    for number in range(100):
        (tmp_path / f"from/{number}").write_bytes(b"x" * ((transfer.SMALL + 1) * (number % 50 == 0) + number))
    transfer.upload_directory(str(tmp_path / "from"), (tmp_path / "to").as_uri())
    assert tree(tmp_path / "to") == tree(tmp_path / "from")
    assert most <= transfer.IN_FLIGHT + transfer.PARALLEL


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_what_is_sent_to_a_bucket_is_not_copied(bucket: Any, tmp_path: Path, size: int) -> None:
    """Eight are sent at a time, and a copy of each would be their memory twice."""
    sink = storage.store_for(f"s3://{bucket.name}/x").sink(f"s3://{bucket.name}/x")
    bodies: list[object] = []
    sink._client.meta.events.register(  # type: ignore[attr-defined]
        "provide-client-params.s3.PutObject", lambda params, **_: bodies.append(params["Body"])
    )
    sink.write(b"x" * size)
    buffer = sink._buffer  # type: ignore[attr-defined]
    sink.commit()
    assert bodies[0] is buffer
    assert bucket.Object("x").get()["Body"].read() == b"x" * size


def test_a_file_that_cannot_be_sent_fails_the_upload(tmp_path: Path) -> None:
    """What is sent by another thread fails the job as well."""
    (tmp_path / "from").mkdir()
    for number in range(20):
        (tmp_path / f"from/{number}").write_text(str(number))
    (tmp_path / "to/7").mkdir(parents=True)
    with pytest.raises(RuntimeFailure):
        transfer.upload_directory(str(tmp_path / "from"), (tmp_path / "to").as_uri())
