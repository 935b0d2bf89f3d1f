"""Ids: what Kubernetes and SageMaker accept, and what any process reads from them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn._contract.ids import ALPHABET, OWN_LETTERS, new_id, parse
from lyftlearn.types import JobKind

# RFC 1035, 2.3.1, in lower case; SageMaker's TrainingJobName is a superset of it.
DNS_1035 = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")


@given(st.text(), st.sampled_from(JobKind), st.sampled_from(ALPHABET), st.none() | st.text())
def test_every_id_is_valid_everywhere_and_reads_back(name: str, kind: JobKind, letter: str, scope: str | None) -> None:
    """Whatever a model is called, its id is a DNS label of at most 50 characters and leads back to its backend."""
    job_id = new_id(name, kind, letter, scope)
    assert DNS_1035.fullmatch(job_id)
    assert len(job_id) <= (32 if kind is JobKind.TUNE else 50)
    parsed = parse(job_id)
    assert parsed is not None
    assert (parsed.kind, parsed.letter) == (kind, letter)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("ETA_v2", "eta-v2"), ("1.2", "job"), ("", "job"), ("---", "job"), ("9lives", "lives"), ("x" * 300, "x" * 36)],
)
def test_the_slug_is_readable(name: str, slug: str) -> None:
    """A person finds the model's name at the front of the id."""
    assert new_id(name, JobKind.TRAIN, "l")[:-14] == slug


def test_a_scope_gives_the_same_id_again() -> None:
    """A keyed job is found again under its id; another key gives another."""
    assert new_id("eta", JobKind.TRAIN, "k", "a") == new_id("eta", JobKind.TRAIN, "k", "a")
    assert new_id("eta", JobKind.TRAIN, "k", "a") != new_id("eta", JobKind.TRAIN, "k", "b")


def test_ids_without_a_scope_differ() -> None:
    """Two calls without a key are two jobs."""
    assert len({new_id("eta", JobKind.TRAIN, "k") for _ in range(1000)}) == 1000


@pytest.mark.parametrize("text", ["", "eta", "eta-tl", "eta-xlaaaaaaaaaaa", "ETA-tlaaaaaaaaaaa", "eta-tl1aaaaaaaaaa"])
def test_what_is_no_id(text: str) -> None:
    """A name, or a job of somebody else in the same namespace, is not taken for a job of ours."""
    assert parse(text) is None


def test_own_letters_differ() -> None:
    """Two of our own backends must never claim one id."""
    assert len(set(OWN_LETTERS.values())) == len(OWN_LETTERS)
