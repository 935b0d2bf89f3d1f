"""What is to be copied from deploy/ci and deploy/kubernetes is held to its own tools, and to what the pages say."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from lyftlearn.cli import _invocation

from .site import DOCS

DEPLOY = DOCS.parent / "deploy"
RBAC = DEPLOY / "kubernetes" / "rbac"
WORKFLOW, PIPELINE = DEPLOY / "ci" / "github-actions.yml", DEPLOY / "ci" / "gitlab-ci.yml"
KUBERNETES = "1.37"


def tool(*words: str | Path) -> str:
    """Run a tool that is installed with the tests; what it complains of fails the test."""
    command = [str(Path(sys.executable).parent / words[0]), *map(str, words[1:])]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_workflow_of_github(tmp_path: Path) -> None:
    """It is what GitHub's schema says, and an auditor of workflows finds no way to misuse it."""
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW)
    copied = tmp_path / ".github" / "workflows" / "lyftlearn.yml"
    copied.parent.mkdir(parents=True)
    shutil.copy(WORKFLOW, copied)
    tool("zizmor", "--offline", "--no-progress", "--quiet", copied)


def test_the_pipeline_of_gitlab() -> None:
    """It is what GitLab's schema says."""
    tool("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", PIPELINE)


def scripts(node: Any) -> Iterator[str]:
    """Yield the shell scripts of a pipeline: of steps, and of jobs."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("run", "script", "before_script"):
                yield from [value] if isinstance(value, str) else value
            else:
                yield from scripts(value)
    elif isinstance(node, list):
        for one in node:
            yield from scripts(one)


@pytest.mark.parametrize("file", [WORKFLOW, PIPELINE], ids=["github", "gitlab"])
def test_the_commands_of_a_pipeline_are_commands(file: Path, tmp_path: Path) -> None:
    """Each of lyftlearn's is one that the command line takes; the scripts around them are sound shell."""
    found = list(scripts(yaml.safe_load(file.read_text(encoding="utf-8"))))
    lines = [line.strip() for script in found for line in script.splitlines()]
    ours = [shlex.split(line.partition(" ||")[0])[1:] for line in lines if line.startswith("lyftlearn ")]
    assert {tuple(words[:2]) for words in ours} == {("plan", "train"), ("migration", "status"), ("migration", "guard")}
    for words in ours:
        _invocation.read(words)
    if shutil.which("shellcheck"):
        script = tmp_path / "script.sh"
        script.write_text("\n".join(found))
        ran = subprocess.run(["shellcheck", "-s", "sh", script], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout


def test_pages_that_files_to_copy_name_are_there() -> None:
    """Whoever copies one is sent there for all that it does not say."""
    files = [path for path in DEPLOY.rglob("*") if path.suffix in (".yml", ".yaml", ".tf", ".json")]
    named = {name for path in files for name in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))}
    assert "docs/how-to/pipelines.md" in named
    assert [name for name in sorted(named) if not (DOCS.parent / name).is_file()] == []


def yaml_blocks(page: str) -> list[Any]:
    text = (DOCS / "how-to" / page).read_text(encoding="utf-8")
    return [one for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) for one in yaml.safe_load_all(block)]


def objects(*paths: str) -> list[Any]:
    return [one for path in paths for one in yaml.safe_load_all((RBAC / path).read_text(encoding="utf-8"))]


def test_the_roles_are_those_of_the_pages() -> None:
    """Who applies the base may do what the pages say, and nothing else."""
    kubernetes, spark = yaml_blocks("kubernetes.md"), yaml_blocks("spark.md")
    (role,) = objects("base/role.yaml")
    assert role["rules"] == next(one["rules"] for one in kubernetes if isinstance(one, dict) and "rules" in one)
    assert [patch["value"] for patch in objects("queues/rules.yaml")[0]] == next(
        one for one in kubernetes if isinstance(one, list)
    )
    (driver,) = (one for one in objects("spark/driver.yaml") if one["kind"] == "Role")
    assert driver["rules"] == next(one["rules"] for one in spark if "rules" in one)


def test_the_roles_are_objects_of_kubernetes() -> None:
    """Each is what the cluster's schema says."""
    for one in objects("base/role.yaml", "base/role-binding.yaml", "searches/tuner.yaml", "spark/driver.yaml"):
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_the_overlay() -> None:
    """Every part comes into the namespace, with the rules of its components."""
    ran = subprocess.run(["kubectl", "kustomize", RBAC], capture_output=True, text=True, timeout=600, check=True)
    built = list(yaml.safe_load_all(ran.stdout))
    for one in built:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
        assert one["metadata"]["namespace"] == "ml"
    named = {(one["kind"], one["metadata"]["name"]) for one in built}
    assert {("ServiceAccount", "tuner"), ("RoleBinding", "lyftlearn"), ("Role", "lyftlearn-spark-driver")} <= named
    role = next(one for one in built if (one["kind"], one["metadata"]["name"]) == ("Role", "lyftlearn"))
    assert any("workloads" in rule["resources"] for rule in role["rules"])
