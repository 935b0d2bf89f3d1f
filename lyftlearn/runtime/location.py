"""Where something is. A URI becomes a path, and a path a URI, here and nowhere else: both halves of a job use this."""

from __future__ import annotations

import os

FILE, S3 = "file", "s3"
# `output.tar.gz#name` is one directory of an archive; it has the name of an output. Any other `#` is part of a name.
# Texts, not patterns: a start loads `re` only where it needs it.
_MEMBER = r"(?s)(?P<archive>.*\.tar\.gz)#(?P<member>[A-Za-z0-9_-][A-Za-z0-9._-]{0,63})"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_FILE = r"(?i)file://(?:localhost)?(?=/)"
_S3 = r"(?s)s3://(?P<bucket>[^/]+)(?P<path>/.*)?"
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/")
EXPECTED = "write s3://<bucket>/<key>, file:///<path> or a path"


class Location:
    """A path of this machine, or a key of a bucket; and of an archive there, one directory.

    scheme: `file` or `s3`. bucket: empty for files. path: as the operating system has it, or what follows the bucket.
    member: the directory of the archive, or empty.
    """

    __slots__ = ("bucket", "member", "path", "scheme")  # a runtime starts sooner without a named tuple

    def __init__(self, scheme: str, bucket: str, path: str, member: str = "") -> None:
        self.scheme = scheme
        self.bucket = bucket
        self.path = path
        self.member = member

    def _fields(self) -> tuple[str, str, str, str]:
        return self.scheme, self.bucket, self.path, self.member

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"Location{self._fields()}"

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read a URI, or a path, which is never unquoted. Raises ValueError, with what to write, for anything else."""
        if isinstance(text, str) and text.startswith("file:///") and not any(sign in text for sign in "#%\0"):
            return cls(FILE, "", _unquote(text[7:]))
        if isinstance(text, str) and text.startswith("s3://") and "#" not in text:
            name, slash, key = text[5:].partition("/")
            if name:
                return cls(S3, name, slash + key)
        import re

        match = re.fullmatch(_MEMBER, text)
        place, member = (match["archive"], match["member"]) if match else (text, "")
        file, bucket = re.match(_FILE, place), re.fullmatch(_S3, place)
        path = _unquote(place[file.end() :]) if file else None if re.match(_SCHEME, place) else place
        if path is not None and "\0" not in path:
            return cls(FILE, "", path, member)
        if bucket:
            return cls(S3, bucket["bucket"], bucket["path"] or "", member)
        raise ValueError(f"is {text!r}: {EXPECTED}")

    @classmethod
    def of_path(cls, path: str) -> Location:
        """Return the location of a file or directory of this machine, whatever its name."""
        return cls(FILE, "", os.path.abspath(path))

    @property
    def uri(self) -> str:
        """The URI, from which `parse` reads the same location."""
        place = f"s3://{self.bucket}{self.path}" if self.scheme == S3 else f"file://{_quote(self.path)}"
        return f"{place}#{self.member}" if self.member else place

    @property
    def key(self) -> str:
        """The key of an object, or the beginning of several."""
        return self.path[1:]

    @property
    def is_file(self) -> bool:
        """Whether it is on a file system."""
        return self.scheme == FILE

    @property
    def archive(self) -> Location:
        """The whole archive of which this is a member; else the location itself."""
        return Location(self.scheme, self.bucket, self.path)

    def at(self, path: str) -> Location:
        """Return another path of the same kind: of this machine, or of the same bucket."""
        return Location(self.scheme, self.bucket, path, self.member)

    def join(self, relative: str) -> Location:
        """Return the location of `relative`, a path of names as they are, below this one."""
        return self.at(f"{self.path.rstrip('/')}/{relative}")


def _unquote(text: str) -> str:
    if text.isascii() and "%" not in text:
        return text
    from urllib.parse import unquote_to_bytes

    return os.fsdecode(unquote_to_bytes(text))


def _quote(path: str) -> str:
    if _UNRESERVED.issuperset(path):
        return path
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(os.fsencode(path))
