"""What a store promises, the same of a directory and of S3."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import DataNotFoundError
from botocore.session import Session

from lyftlearn import Client
from lyftlearn._contract.backoff import Backoff
from lyftlearn._storage import LARGEST_RECORD, Storage, _s3, aws_session, local_path, open_storage
from lyftlearn._storage._s3 import S3Storage
from lyftlearn.errors import AccessDenied, BackendUnavailable, LyftLearnError

if TYPE_CHECKING:
    from tests.doubles.bucket import Bucket

KEY = "claims/eta/record.json"


def _file(path: Path, data: bytes) -> tuple[Path, str]:
    path.write_bytes(data)
    return path, sha256(data).hexdigest()


def _version(storage: Storage) -> str:
    stored = storage.read(KEY)
    assert stored is not None
    return stored.version


def test_nothing_is_read_where_nothing_was_written(storage: Storage) -> None:
    """A missing record is an answer, not an error."""
    assert storage.read(KEY) is None


def test_what_is_created_is_read_and_is_young(storage: Storage) -> None:
    """Records come back byte for byte, with an age by the store's own clock."""
    assert storage.create(KEY, b"\0one\n")
    stored = storage.read(KEY)
    assert stored is not None
    assert stored.data == b"\0one\n"
    assert timedelta() <= stored.age < timedelta(minutes=5)
    assert abs(datetime.now(UTC) - stored.modified) < timedelta(minutes=5)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sat, 28 Nov 2026 00:00:00 -0000"])
def test_headers_that_a_proxy_takes_away_or_writes(bucket: Bucket, date: str | None) -> None:
    """What stands before S3 sends its answers on in pieces, without a length, and may have no time, or nonsense."""
    storage = open_storage("s3://bucket/some/prefix")
    storage.create(KEY, b"one")
    bucket.without, bucket.date = ("content-length", "last-modified"), date
    stored = storage.read(KEY)
    assert stored is not None
    assert stored.data == b"one"
    assert stored.age >= timedelta()
    bucket.without, bucket.date = (), None


def test_what_is_too_large_is_named_and_not_read(storage: Storage) -> None:
    """Others may write to a storage: what they put in a record's place must not fill the memory of every caller."""
    storage.create(KEY, b"x" * (LARGEST_RECORD + 1))
    with pytest.raises(LyftLearnError) as caught:
        storage.read(KEY)
    for part in (storage.uri(KEY), str(LARGEST_RECORD + 1), str(LARGEST_RECORD)):
        assert part in str(caught.value)
    stored = storage.read(KEY, LARGEST_RECORD + 1)
    assert stored is not None
    assert len(stored.data) == LARGEST_RECORD + 1
    assert storage.replace(KEY, b"small", stored.version) in (True, False)


def test_only_the_first_creates(storage: Storage) -> None:
    """The first of two claims stands, also where the second says the same."""
    assert storage.create(KEY, b"one")
    assert not storage.create(KEY, b"two")
    assert not storage.create(KEY, b"one")
    stored = storage.read(KEY)
    assert stored is not None
    assert stored.data == b"one"


def test_replacing_needs_the_version_that_stands(storage: Storage) -> None:
    """Compare-and-swap: whoever read an older record does not overwrite a newer one."""
    storage.create(KEY, b"one")
    old = _version(storage)
    assert storage.replace(KEY, b"two", old)
    assert not storage.replace(KEY, b"three", old)
    stored = storage.read(KEY)
    assert stored is not None
    assert stored.data == b"two"
    assert storage.replace(KEY, b"three", stored.version)


def test_nothing_is_replaced_where_nothing_is(storage: Storage) -> None:
    """A claim that was deleted does not come back by an update."""
    assert not storage.replace(KEY, b"one", "0123")
    assert storage.read(KEY) is None


def test_one_of_many_threads_creates_and_one_replaces(storage: Storage) -> None:
    """A store is shared between threads, and its conditions hold among them."""
    names = [str(number).encode() for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda data: storage.create(KEY, data), names)) == 1
        version = _version(storage)
        assert sum(pool.map(lambda data: storage.replace(KEY, b"then " + data, version), names)) == 1


def test_an_upload_keeps_the_file_and_gives_its_uri(storage: Storage, url: str, tmp_path: Path) -> None:
    """The URI is the store's own URL with the key behind it, and a second upload is no error."""
    path, digest = _file(tmp_path / "file", os.urandom(20 << 20))  # more than one part of a multipart upload
    assert storage.upload("files/a", path, digest) == f"{url}/files/a" == storage.uri("files/a")
    assert storage.upload("files/a", path, digest) == f"{url}/files/a"
    stored = storage.read("files/a", 20 << 20)
    assert stored is not None
    assert sha256(stored.data).hexdigest() == digest


@pytest.mark.parametrize("size", [0, 5, 20 << 20])
def test_content_that_changed_is_not_kept(storage: Storage, tmp_path: Path, size: int) -> None:
    """A key that follows from the content never holds other content."""
    path, digest = _file(tmp_path / "file", b"x" * size)
    path.write_bytes(b"y" * (size or 1))
    with pytest.raises(LyftLearnError, match="changed while"):
        storage.upload("files/a", path, digest)
    assert storage.read("files/a") is None


def test_a_half_uploaded_file_is_uploaded_again(storage: Storage, tmp_path: Path) -> None:
    """What another tool left there with another size is no reason to trust it."""
    storage.create("files/a", b"ha")
    path, digest = _file(tmp_path / "file", b"half")
    storage.upload("files/a", path, digest)
    stored = storage.read("files/a")
    assert stored is not None
    assert stored.data == b"half"


def test_s3_sends_nothing_twice(bucket: Bucket, tmp_path: Path) -> None:
    """The second upload of the same content is a question, not a transfer."""
    path, digest = _file(tmp_path / "file", b"content")
    for _ in range(3):
        open_storage("s3://bucket").upload("files/a", path, digest)
    assert bucket.count("PUT", "files/a") == 1


@pytest.mark.parametrize("prefix", ["", "/", "/a/b/"])
def test_s3_prefixes_are_joined_once(bucket: Bucket, prefix: str) -> None:
    """However the configuration writes the URL, a key has one place."""
    storage = open_storage(f"s3://bucket{prefix}")
    assert storage.uri("k") == f"s3://bucket/{prefix.strip('/')}/k".replace("//k", "/k")
    assert storage.create("k", b"1")
    assert bucket.seen[-1] == ("PUT", f"/bucket/{prefix.strip('/')}/k".replace("//", "/"))


def test_the_server_of_these_tests_honours_conditions(bucket: Bucket) -> None:
    """Else every test of exactness against it would prove nothing."""
    import boto3
    from botocore.exceptions import ClientError

    client: Any = boto3.client("s3")
    tag = client.put_object(Bucket="bucket", Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="bucket", Key="k", Body=b"2", IfNoneMatch="*")
    client.put_object(Bucket="bucket", Key="k", Body=b"2", IfMatch=tag)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="bucket", Key="k", Body=b"3", IfMatch=tag)
    client.close()


def test_a_write_whose_answer_was_lost_is_known_to_have_won(bucket: Bucket) -> None:
    """Its repetition meets the write itself, which is told from another's by a name that each write carries."""
    storage = open_storage("s3://bucket")
    bucket.lost = 1
    assert storage.create(KEY, b"same")
    assert bucket.count("PUT", KEY) == 2
    bucket.lost = 1
    assert storage.replace(KEY, b"new", _version(storage))
    assert not open_storage("s3://bucket").create(KEY, b"same")


def test_a_write_that_lost_and_whose_answer_was_lost_is_known_to_have_lost(bucket: Bucket) -> None:
    """The other side of the same coin."""
    storage = open_storage("s3://bucket")
    storage.create(KEY, b"same")
    bucket.lost = 1
    assert not storage.create(KEY, b"same")


def test_s3_that_stays_away_is_unavailable(monkeypatch: pytest.MonkeyPatch, bucket: Bucket, closed_port: int) -> None:
    """Nobody listening is a reason to try again later, in one vocabulary."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(BackendUnavailable, match="s3://bucket/k"):
        open_storage("s3://bucket").read("k")


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        ("403 Forbidden", "AccessDenied", AccessDenied),
        ("403 Forbidden", "InvalidAccessKeyId", AccessDenied),
        ("400 Bad Request", "ExpiredToken", AccessDenied),
        ("503 Slow Down", "SlowDown", BackendUnavailable),
        ("500 Internal Error", "InternalError", BackendUnavailable),
        ("409 Conflict", "ConditionalRequestConflict", BackendUnavailable),
        ("404 Not Found", "NoSuchBucket", LyftLearnError),
    ],
)
def test_s3_errors_are_translated(bucket: Bucket, status: str, code: str, error: type[Exception]) -> None:
    """Callers see one vocabulary, and the vendor's error stays the cause."""
    bucket.refuse = (status, code)
    with pytest.raises(error) as caught:
        open_storage("s3://bucket").create(KEY, b"")
    assert type(caught.value) is error
    assert KEY in str(caught.value)


HTML = "<html><body><h1>Not Found</h1><hr></body></html>"
PAGES = (
    *((f"{status} Page", "text/html", HTML) for status in (200, 301, 302, 307, 400, 403, 404, 409, 412)),
    ("404 Not Found", "text/plain", "404 page not found"),
    ("404 Not Found", "application/json", '{"message": "no route"}'),
    ("404 Not Found", "text/html", ""),
    ("200 OK", "text/html", ""),
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: " ".join(page)[:30])
def test_the_page_of_somebody_else_says_nothing(
    bucket: Bucket, page: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load balancer's 404 is no record that is not there, and its 412 no other's write; the question is put again."""
    monkeypatch.setattr(_s3, "_PAUSES", Backoff(0.01, 0.01))
    monkeypatch.setattr(_s3, "SECONDS_OF_SILENCE", 600.0)  # a busy machine is silent for longer than S3
    storage = S3Storage("s3://bucket")
    bucket.pages = [page]
    assert storage.create(KEY, b"one")
    for ask, answer in (
        (lambda: storage.create(KEY, b"two"), False),
        (lambda: (storage.read(KEY) or pytest.fail("absent")).data, b"one"),
        (lambda: storage.replace(KEY, b"new", _version(storage)), True),
        (lambda: storage.size(KEY), 3),
        (lambda: storage.keys(KEY), [KEY]),
        (lambda: storage.fetch(KEY, tmp_path / "fetched"), True),
    ):
        bucket.pages = [page]
        assert ask() == answer
        assert not bucket.pages
    bucket.pages = [page] * 200
    monkeypatch.setattr(_s3, "SECONDS_OF_SILENCE", 0.02)
    with pytest.raises(BackendUnavailable):
        storage.read(KEY)


@pytest.mark.parametrize(
    ("status", "error"), [("301 Moved Permanently", LyftLearnError), ("307 Temporary Redirect", BackendUnavailable)]
)
def test_a_redirect_without_a_target_ends(bucket: Bucket, status: str, error: type[LyftLearnError]) -> None:
    """Neither body nor headers name a region: botocore asked where to, and was redirected, 81 times."""
    body = "<?xml version='1.0'?><Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"
    bucket.pages = [(status, "application/xml", body)] * 100
    with pytest.raises(LyftLearnError, match="does not say where to") as caught:
        S3Storage("s3://bucket").read(KEY)
    assert type(caught.value) is error
    assert len(bucket.seen) <= (2 if error is LyftLearnError else 8)


def test_a_storm_in_s3_is_ridden_out(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads and claims have the patience that a backend has: botocore's own ends after seconds."""
    monkeypatch.setattr(_s3, "SECONDS_OF_PATIENCE", 120.0)
    storage = open_storage("s3://bucket")
    path, digest = _file(tmp_path / "file", b"content")
    for send in (
        lambda: storage.create(KEY, b"one"),
        lambda: storage.read(KEY),
        lambda: storage.upload("files/a", path, digest),
    ):
        bucket.busy = 7
        assert send()
        assert bucket.busy == 0


def test_a_bucket_of_another_partition(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The endpoint of a bucket in China or GovCloud follows from its region, which the configuration may name alone."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr("lyftlearn._storage._default_regions", [])
    tables = {"home": str(tmp_path), "storage": {"url": "s3://bucket/ml"}, "sagemaker": {"region": "cn-north-1"}}
    client: Any = Client(config=tables)._session.builder.storage
    assert client.client.meta.endpoint_url.endswith(".amazonaws.com.cn")
    explicit: Any = open_storage("s3://bucket/ml", "us-gov-west-1")
    assert (explicit.client.meta.region_name, explicit.client.meta.partition) == ("us-gov-west-1", "aws-us-gov")


def test_a_credential_process_that_fails(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it printed is the only help there is, and may hold secrets: neither message nor cause shows them."""
    program = f"{sys.executable} -c \"import sys; sys.exit('x' * 9999 + ' token=SECRET-one please run: cloud login')\""
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessDenied, match="please run: cloud login") as caught:
        open_storage("s3://bucket").create(KEY, b"")
    text = "".join(traceback.format_exception(caught.value))
    assert "SECRET" not in text
    assert len(str(caught.value)) < 1000


def test_a_denied_upload_is_translated(bucket: Bucket, tmp_path: Path) -> None:
    """The transfer manager has errors of its own around the service's."""
    path, digest = _file(tmp_path / "file", b"content")
    bucket.refuse = ("403 Forbidden", "AccessDenied")
    with pytest.raises(AccessDenied):
        open_storage("s3://bucket").upload("files/a", path, digest)


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch, bucket: Bucket, tmp_path: Path) -> None:
    """The commonest fault of a first use says what to do."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AccessDenied, match="credentials"):
        open_storage("s3://bucket").read("k")


def test_the_age_is_by_the_clock_of_the_store(tmp_path: Path) -> None:
    """A record dated by another machine's clock is as old as its file system says."""
    storage = open_storage(str(tmp_path))
    storage.create("k", b"")
    an_hour_ago = (tmp_path / "k").stat().st_mtime - 3600
    os.utime(tmp_path / "k", (an_hour_ago, an_hour_ago))
    stored = storage.read("k")
    assert stored is not None
    assert timedelta(minutes=59) < stored.age < timedelta(minutes=61)


def test_a_directory_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    """A file in the way, like a full disk, is told in the same vocabulary as S3's faults."""
    (tmp_path / "store").write_text("a file")
    with pytest.raises(BackendUnavailable, match="store"):
        open_storage(str(tmp_path / "store")).create("a/k", b"")


def test_permissions_are_denied_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that may not be written is AccessDenied, as a bucket is."""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    storage = open_storage(str(tmp_path))
    monkeypatch.setattr(Path, "hardlink_to", forbidden)
    with pytest.raises(AccessDenied, match="Permission denied"):
        storage.create("k", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_record_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written whole is not written, and its remains are removed."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    storage = open_storage(str(tmp_path))
    storage.create("k", b"old")
    monkeypatch.setattr(os, "fsync", full)
    stored = storage.read("k")
    assert stored is not None
    with pytest.raises(BackendUnavailable, match="No space"):
        storage.replace("k", b"new", stored.version)
    assert (tmp_path / "k").read_bytes() == b"old"
    assert not list(tmp_path.glob("*.tmp"))


_DYING = """
import os, sys
from pathlib import Path
from lyftlearn._storage import open_storage

operation, function, nth = sys.argv[2], sys.argv[3], int(sys.argv[4])
storage = open_storage(sys.argv[1])
stored = storage.read("k")
owner, name = {"fsync": (os, "fsync"), "rename": (Path, "rename"), "link": (Path, "hardlink_to")}[function]
real, calls = getattr(owner, name), []

def dying(*args):
    calls.append(args)
    if len(calls) == nth:
        os._exit(9)
    return real(*args)

setattr(owner, name, dying)
if operation == "create":
    storage.create("new", b"new")
elif operation == "replace":
    storage.replace("k", b"new", stored.version)
else:
    storage.upload("new", Path(sys.argv[5]), sys.argv[6])
"""


@pytest.mark.parametrize("operation", ["create", "replace", "upload"])
@pytest.mark.parametrize("death", ["fsync 1", "fsync 2", "rename 1", "link 1"])
def test_a_writer_that_dies_leaves_whole_records_and_no_lock(tmp_path: Path, operation: str, death: str) -> None:
    """Old or new, never half; and the next writer is not kept waiting by the dead."""
    storage = open_storage(str(tmp_path / "store"))
    storage.create("k", b"old")
    path, digest = _file(tmp_path / "file", b"new")
    command = [sys.executable, "-c", _DYING, storage.url, operation, *death.split(), str(path), digest]
    subprocess.run(command, check=False, timeout=600)
    changed = storage.read("k" if operation == "replace" else "new")
    assert changed is None or changed.data in (b"old", b"new")
    assert storage.replace("k", b"next", _version_of(storage, "k"))
    storage.create("new", b"new")
    assert _data(storage, "new") == b"new"


def _version_of(storage: Storage, key: str) -> str:
    stored = storage.read(key)
    assert stored is not None
    return stored.version


def _data(storage: Storage, key: str) -> bytes:
    stored = storage.read(key)
    assert stored is not None
    return stored.data


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:///a%20b/c", "/a b/c"), ("/a b", "/a b"), ("file://localhost/x", "/x"), ("~/x", str(Path.home() / "x"))],
)
def test_urls_of_directories(url: str, path: str) -> None:
    """A URI and a path name the same directory."""
    assert local_path(url) == Path(path)


@pytest.mark.parametrize("url", ["gs://bucket", "https://host/x", "file://host/x"])
def test_other_urls_are_refused_with_what_to_write(url: str) -> None:
    """Better than a directory named `gs:`."""
    with pytest.raises(LyftLearnError, match=r"s3://bucket/prefix"):
        open_storage(url)


_IMPORTING = """
import sys, lyftlearn
before = set(sys.modules)
import lyftlearn._submission.claims, lyftlearn._transfer.download, lyftlearn._transfer
lyftlearn._storage.open_storage("/x")
heavy = {"boto3", "botocore", "concurrent.futures", "pathspec", "tarfile", "tempfile"}
print(sorted(heavy & set(sys.modules) - before))
"""


def test_a_directory_store_loads_no_vendor_sdk() -> None:
    """Only an `s3://` URL pays for boto3, and only what packs, unpacks or ignores pays for that."""
    answer = subprocess.run([sys.executable, "-c", _IMPORTING], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


_COLD = """
import sys, lyftlearn.backend
lyftlearn.backend.open_storage("s3://bucket/prefix", "us-east-1").client
print(sorted({"boto3", "s3transfer", "multiprocessing"} & set(sys.modules)))
"""


def test_a_record_in_s3_needs_nothing_of_transfers() -> None:
    """They load `multiprocessing` and threads, and most jobs write records alone."""
    answer = subprocess.run([sys.executable, "-c", _COLD], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_sessions_read_definitions_once() -> None:
    """Three sessions are made for a first submission; the definitions are megabytes, and each must see them all."""
    first, second = aws_session("us-east-1"), aws_session("eu-west-1")
    assert first.get_component("data_loader") is second.get_component("data_loader")
    assert [one.create_client("sts").meta.region_name for one in (first, second)] == ["us-east-1", "eu-west-1"]
    assert set(Session().get_available_services()) <= set(first.get_available_services())
    with pytest.raises(DataNotFoundError):
        first.create_client("no-such-service")


@pytest.mark.usefixtures("bucket")
def test_a_record_is_sent_at_once() -> None:
    """To ask first whether S3 will take it costs a round trip to wherever the bucket is."""
    storage, sent = open_storage("s3://bucket"), []
    assert isinstance(storage, _s3.S3Storage)
    storage.client.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request.headers))
    assert storage.create(KEY, b"one")
    assert [headers.get("Expect") for headers in sent] == [None]


def modes(root: Path) -> dict[str, int]:
    """Relative name to permissions of everything under a directory, and of itself."""
    return {str(path.relative_to(root)): path.stat().st_mode & 0o7777 for path in (root, *root.rglob("*"))}


@pytest.fixture
def umask() -> Iterator[None]:
    """Let the umask be the usual one."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_new_directory_is_its_makers_alone(tmp_path: Path) -> None:
    """Sources, inputs and claims are nobody else's business on a machine that many use."""
    storage = open_storage((tmp_path / "new/storage").as_uri())
    storage.create("claims/a/b.json", b"1")
    stored = storage.read("claims/a/b.json")
    assert stored is not None
    storage.replace("claims/a/b.json", b"2", stored.version)
    (tmp_path / "file").write_bytes(b"3")
    storage.upload("inputs/x/file", tmp_path / "file", sha256(b"3").hexdigest())
    found = modes(tmp_path / "new/storage")
    assert {mode for name, mode in found.items() if (tmp_path / "new/storage" / name).is_dir()} == {0o700}
    assert {mode for name, mode in found.items() if (tmp_path / "new/storage" / name).is_file()} == {0o600}


@pytest.mark.usefixtures("umask")
def test_a_directory_that_is_shared_stays_shared(tmp_path: Path) -> None:
    """A team's directory on a network file system is of use only if each can write what the others made."""
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2770)
    storage = open_storage(str(root))
    storage.create("claims/a.json", b"1")
    stored = storage.read("claims/a.json")
    assert stored is not None
    storage.replace("claims/a.json", b"2", stored.version)
    assert modes(root) == {".": 0o2770, "claims": 0o2770, "claims/a.json": 0o660, ".lock": 0o660}


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/outside", ".."])
def test_a_key_that_leads_out_is_refused(tmp_path: Path, key: str) -> None:
    """A key is sometimes made of what was read from elsewhere."""
    storage = open_storage(str(tmp_path / "storage"))
    with pytest.raises(LyftLearnError, match="outside of the storage directory"):
        storage.create(key, b"1")
    with pytest.raises(LyftLearnError, match="outside of the storage directory"):
        storage.read(key)
    assert not (tmp_path / "outside").exists()


def _read_in_child(storage: Storage, number: int) -> int:
    """Start a child that reads its own record, again and again; it says so in its exit code."""
    child = os.fork()
    if child == 0:
        try:
            own = [storage.read(f"forked/{number}") for _ in range(20)]
            os._exit(0 if all(one is not None and one.data == b"%d" % number for one in own) else 1)
        finally:
            os._exit(2)
    return child


def test_a_forked_child_reads_its_own_answers(storage: Storage) -> None:
    """A pool of processes inherits sockets; an answer that goes to another process is another key's content."""
    for number in range(5):
        storage.create(f"forked/{number}", b"%d" % number)
    children = [_read_in_child(storage, number) for number in range(1, 5)]
    for _ in range(20):
        stored = storage.read("forked/0")
        assert stored is not None
        assert stored.data == b"0"
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4


def test_a_pipe_in_the_place_of_a_record_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Others can write to a storage; to open a pipe waits for whoever writes into it."""
    storage = open_storage(tmp_path.as_uri())
    assert storage.create("claims/a", b"1")
    stored = storage.read("claims/a")
    assert stored
    (tmp_path / "claims/a").unlink()
    os.mkfifo(tmp_path / "claims/a")
    with pytest.raises(BackendUnavailable, match="it is no file"):
        storage.read("claims/a")
    assert not storage.replace("claims/a", b"2", stored.version)
