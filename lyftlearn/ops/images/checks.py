"""From what is known of an image to what an operator should do."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from lyftlearn.backend import Check, Verdict
from lyftlearn.ops.images.facts import OLDEST, ImageContents, ImageFacts

LARGE = 10 << 30
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_OURS = "runtime.pyz"
_ANOTHER = "take another image, such as a base image of lyftlearn, or add Python to this one"


def checks(name: str, facts: ImageFacts) -> Iterator[Check]:
    """Yield a check for each thing that a job depends on."""
    yield Check("image", Verdict.OK, f"{name}, as {facts.origin} has it")
    if facts.contents is None:
        yield Check("contents", Verdict.WARNING, f"not read: {facts.unread}")
    else:
        yield _python(facts.contents)
        yield _boto3(facts.contents)
        yield _shell(facts.contents)
    yield _user(facts.user)
    yield _architecture(facts.platforms)
    yield _entrypoint(facts.entrypoint)
    yield _size(facts)


def _python(contents: ImageContents) -> Check:
    oldest = ".".join(map(str, OLDEST))
    if contents.python is None:
        return Check("python", Verdict.FAILED, f"no `python3` on its PATH, which the runtime needs: {_ANOTHER}")
    version = ".".join(map(str, contents.python))
    if contents.python == (0, 0):
        return Check("python", Verdict.WARNING, f"there is a `python3` of unknown version; {oldest} or newer is needed")
    if contents.python < OLDEST:
        return Check("python", Verdict.FAILED, f"`python3` is {version}, the runtime needs {oldest}: {_ANOTHER}")
    return Check("python", Verdict.OK, f"`python3` is {version}")


def _boto3(contents: ImageContents) -> Check:
    if contents.has_boto3:
        return Check("boto3", Verdict.OK, "is there: the runtime can move S3 objects and fetch secrets")
    detail = (
        "is not there: jobs with files in S3, or with secrets from AWS, fail before they start; add it to the image"
    )
    return Check("boto3", Verdict.WARNING, detail)


def _shell(contents: ImageContents) -> Check:
    if contents.has_shell:
        return Check("shell", Verdict.OK, "/bin/sh is there")
    detail = 'no /bin/sh: write commands as lists, such as ["python3", "train.py"]; a command in one text needs a shell'
    return Check("shell", Verdict.WARNING, detail)


def _user(user: str) -> Check:
    if user.partition(":")[0] in ("", "0", "root"):
        return Check("user", Verdict.OK, "starts as root, as SageMaker needs it; the runtime becomes the job's user")
    detail = f"starts as {user}: well on Kubernetes; on SageMaker the runtime can make /lyftlearn only as root"
    return Check("user", Verdict.WARNING, detail)


def _architecture(platforms: tuple[str, ...]) -> Check:
    here = f"linux/{_MACHINES.get(platform.machine(), platform.machine())}"
    shown = ", ".join(platforms)
    if here in platforms:
        return Check("architecture", Verdict.OK, shown)
    detail = f"{shown}, and this machine is {here}: nodes and instances must be of the image's architecture"
    return Check("architecture", Verdict.WARNING, detail)


def _entrypoint(entrypoint: tuple[str, ...]) -> Check:
    if any(word.endswith(_OURS) for word in entrypoint):
        return Check("entrypoint", Verdict.OK, "is the runtime")
    if not entrypoint:
        return Check("entrypoint", Verdict.OK, "none: jobs start the runtime")
    detail = f"{' '.join(entrypoint)}: jobs start the runtime in its place; serving and notebooks start it"
    return Check("entrypoint", Verdict.OK, detail)


def _size(facts: ImageFacts) -> Check:
    index = {
        True: "; it has a SOCI index, so that a container starts before all of it is fetched",
        False: "; no SOCI index, so that all of it is fetched before a container starts",
        None: "",
    }[facts.has_soci_index]
    verdict = Verdict.WARNING if facts.size > LARGE and not facts.has_soci_index else Verdict.OK
    return Check("size", verdict, f"{facts.size / (1 << 20):,.0f} MiB{index}")
