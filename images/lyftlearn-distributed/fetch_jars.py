"""Puts the JARs for S3 where pyspark looks for them. Arguments: s3 or none, a repository's address, versions."""

import hashlib
import importlib.util
import pathlib
import sys
import urllib.request

JARS = (
    "org/apache/hadoop/hadoop-aws/{0}/hadoop-aws-{0}.jar",
    "com/amazonaws/aws-java-sdk-bundle/{1}/aws-java-sdk-bundle-{1}.jar",
)


def main(which: str, maven: str, *versions: str) -> None:
    """Fetch each, and compare it with the digest that the repository keeps beside it."""
    if which == "none":
        return
    if not maven:
        sys.exit("name a Maven repository with --build-arg MAVEN=<URL>, or build without S3: --build-arg JARS=none")
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        sys.exit("pyspark is not installed")
    for jar in JARS:
        url = f"{maven.rstrip('/')}/{jar.format(*versions)}"
        content, digest = read(url), read(f"{url}.sha1").decode().split()[0]
        if hashlib.sha1(content, usedforsecurity=False).hexdigest() != digest:
            sys.exit(f"{url} is not what its digest says")
        (pathlib.Path(spec.origin).parent / "jars" / url.rpartition("/")[2]).write_bytes(content)


def read(url: str) -> bytes:
    """Return what is there."""
    with urllib.request.urlopen(url, timeout=300) as answer:  # noqa: S310 - whoever builds the image names it
        return bytes(answer.read())


if __name__ == "__main__":
    main(*sys.argv[1:])
