"""Where Spark is in the image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import partial

from ..spawn import change_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FIND = "import importlib.util as u; s = u.find_spec('pyspark'); print(s.origin if s and s.origin else '')"
_SECONDS = 60.0
_SDK = (
    (r"aws-java-sdk-bundle-1.*\.jar", "com.amazonaws.auth.DefaultAWSCredentialsProviderChain"),
    (r"bundle-2.*\.jar", "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"),
)
"""The default chain of credentials by the AWS SDK that Hadoop 3.3 and Hadoop 3.4 bring."""


def find_spark(variables: Mapping[str, str], directory: str, user: dict[str, int] | None) -> str | None:
    """The directory that Spark's own tools call SPARK_HOME: named by that variable, or the package pyspark."""
    named = variables.get("SPARK_HOME")
    if named:
        return named if os.path.isdir(os.path.join(named, "jars")) else None
    origin = _pyspark(variables, directory, user if os.geteuid() == 0 else None)
    home = os.path.dirname(origin)
    return home if origin and os.path.isdir(os.path.join(home, "jars")) else None


def _pyspark(variables: Mapping[str, str], directory: str, user: dict[str, int] | None) -> str:
    """The file of the package, as the command's own Python finds it."""
    python = next(filter(None, (shutil.which(name, path=variables.get("PATH")) for name in ("python3", "python"))), "")
    if not python:
        return ""
    try:
        done = subprocess.run(
            [python, "-c", _FIND],
            check=False,
            env=dict(variables),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            preexec_fn=partial(change_user, user) if user else None,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def credentials_provider(home: str) -> str | None:
    """The class that finds credentials for S3; None in an image without the JARs that read S3."""
    names = os.listdir(os.path.join(home, "jars"))
    if not any(name.startswith("hadoop-aws-") for name in names):
        return None
    return next((provider for pattern, provider in _SDK for name in names if re.fullmatch(pattern, name)), None)
