"""Locations: what is written comes back, and a name stays a name whatever characters it has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn.runtime.location import Location

NAMES = ["a b", "josé", "run#1", "100%", "a%20b", "x?y=1", "a+b", "a&b", "a;b", "ü.tar.gz#x", "~", "'\"", "\n", "*"]
KEYS = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_itself_again(name: str) -> None:
    """A home with a space or an accent is as good as any."""
    location = Location.of_path(f"/home/{name}/x")
    assert Location.parse(location.uri) == location
    assert location.uri == Path(f"/home/{name}/x").as_uri()
    assert Location.parse(f"/home/{name}/x") == location
    assert location.uri.isascii()


def test_a_path_that_is_no_text_is_itself_again() -> None:
    """File systems keep bytes."""
    path = os.fsdecode(b"/data/\xff\xfe/x")
    assert Location.parse(Location.of_path(path).uri).path == path


@given(key=KEYS)
def test_a_key_is_itself_again(key: str) -> None:
    """A key of S3 is any text: nothing in it is quoting, a query or a fragment."""
    location = Location("s3", "bucket", f"/{key}")
    assert location.key == key
    read = Location.parse(location.uri)
    assert (read.uri, read.scheme, read.bucket) == (location.uri, "s3", "bucket")
    assert read.member or read == location


@given(path=KEYS.filter(lambda text: "\0" not in text))
def test_any_path_is_itself_again(path: str) -> None:
    """As above, for files, whose URIs are quoted."""
    location = Location("file", "", "/" + path)
    assert Location.parse(location.uri) == location


@pytest.mark.parametrize(
    ("text", "path", "member"),
    [
        ("s3://b3b/run#1/", "run#1/", ""),
        ("s3://b3b/run#1.tar.gz", "run#1.tar.gz", ""),
        ("s3://b3b/j/output.tar.gz#clean", "j/output.tar.gz", "clean"),
        ("s3://b3b/j#2/output.tar.gz#clean", "j#2/output.tar.gz", "clean"),
        ("s3://b3b/j/output.tar.gz#a/b", "j/output.tar.gz#a/b", ""),
        ("s3://b3b/j/output.tar.gz#", "j/output.tar.gz#", ""),
        ("file:///jos%C3%A9/output.tar.gz#output", "/josé/output.tar.gz", "output"),
        ("file:///My%20Home/output.tar.gz%23output", "/My Home/output.tar.gz#output", ""),
        ("file:///run#1.csv", "/run#1.csv", ""),
        ("file:///josé/a b", "/josé/a b", ""),
        ("file://localhost/x?y", "/x?y", ""),
        ("/x y/output.tar.gz#output", "/x y/output.tar.gz", "output"),
        ("/x%20y/run#1", "/x%20y/run#1", ""),
    ],
)
def test_only_a_directory_of_an_archive_is_a_member(text: str, path: str, member: str) -> None:
    """A `#` in a key was taken for one, and the job read what stood beside it."""
    read = Location.parse(text)
    assert (read.key if text.startswith("s3") else read.path, read.member) == (path, member)
    assert read.archive.member == ""


@pytest.mark.parametrize(
    "text",
    ["http://x/y", "gs://b/k", "s3://", "s3:///x", "file://", "file://host/x", "file://x", "/a\0b", "file:///a%00"],
)
def test_anything_else_is_refused(text: str) -> None:
    """The message shows what to write."""
    with pytest.raises(ValueError, match="write s3://<bucket>/<key>, file:///<path> or a path"):
        Location.parse(text)


def test_names_are_joined_as_they_are() -> None:
    """Two outputs that differ after a `#` are two files."""
    assert Location.parse("file:///out%20x/").join("run#1.csv").uri == "file:///out%20x/run%231.csv"
    assert Location.parse("s3://b3b/out/").join("a%2F#1").uri == "s3://b3b/out/a%2F#1"
    assert Location.parse("s3://b3b").join("x").uri == "s3://b3b/x"
    assert Location.parse("file:///").join("x").path == "/x"


@pytest.mark.parametrize("text", ["s3://b3b", "s3://b3b/", "s3://b3b//x/", "s3://b3b/a//b"])
def test_a_uri_is_as_it_was_written(text: str) -> None:
    """What was written is digested."""
    assert Location.parse(text).uri == text
