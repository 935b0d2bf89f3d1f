"""What an image is called on each backend."""

from __future__ import annotations

from pathlib import Path

import pytest

import lyftlearn
from lyftlearn import ops
from lyftlearn.config import load
from lyftlearn.errors import InvalidJob

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
IMAGES = {
    "base:1": {"sagemaker": f"{ECR}/base:1", "local": "base@sha256:0"},
    "registry/*": {"sagemaker": f"{ECR}/*"},
    "registry/ml/*": {"sagemaker": f"{ECR}/learning/*-training"},
}


@pytest.mark.parametrize(
    ("backend", "image", "called"),
    [
        ("sagemaker", "base:1", f"{ECR}/base:1"),
        ("local", "base:1", "base@sha256:0"),
        ("kubernetes", "base:1", "base:1"),
        ("sagemaker", "base:12", "base:12"),
        ("sagemaker", "registry/eta:7", f"{ECR}/eta:7"),
        ("sagemaker", "registry/ml/eta:7", f"{ECR}/learning/eta:7-training"),
        ("kubernetes", "registry/ml/eta:7", "registry/ml/eta:7"),
        ("sagemaker", None, f"{ECR}/base:1"),
    ],
)
def test_names(backend: str, image: str | None, called: str) -> None:
    """Call sites keep the names they have; the exact entry wins, then the longest beginning."""
    config = load({"images": IMAGES, "jobs": {"image": "base:1"}})
    assert config.image_on(backend, image) == called


def test_no_image() -> None:
    """A backend that needs one says so itself."""
    assert load({"images": IMAGES}).image_on("sagemaker", None) is None


def test_faults() -> None:
    """A mapping that can never hold, or never could be told apart, is refused with its place."""
    images = {
        "base": "uri",
        "a*b": {"sagemaker": "x"},
        "c": {"sagemaker": "x*"},
        "d*": {"sagemaker": "**"},
        "e": {"x": 1},
    }
    with pytest.raises(InvalidJob) as caught:
        load({"images": images})
    places = [path.removeprefix("config: images.") for path, _ in caught.value.faults]
    assert places == ["base", "a*b", "c.sagemaker", "d*.sagemaker", "e.x"]


def test_a_plan_shows_it_and_a_digest_does_not(tmp_path: Path) -> None:
    """The backend plans with its own name; a mapping that changes does not make another job of the same call."""
    config = {"home": str(tmp_path), "backend": "local", "local": {"containers": "never"}}
    plain, mapped = (lyftlearn.Client(config=config | more) for more in ({}, {"images": IMAGES}))
    made = [ops.plan("train", model="eta", command="true", image="base:1", client=each) for each in (plain, mapped)]
    assert [one.spec.image for one in made] == ["base:1", "base@sha256:0"]
    assert "base@sha256:0" in " ".join(made[1].plan.notes)
    assert made[0].spec.digest == made[1].spec.digest
