"""Unpacks archives that want to write elsewhere: run by every Python that can be had, with the standard library alone.

Arguments: an empty directory to work in. It prints what was found outside of a destination, and which archives were
taken although they should have been refused.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from lyftlearn._transfer import pack_source
from lyftlearn._transfer.download import fetch_output
from lyftlearn.errors import LyftLearnError

Members = list[tuple[str, bytes, str]]
LONG = "d" * 247


def chain_to_the_root() -> Members:
    """Links that each lead inside by their words, and together lead out."""
    steps: Members = [("a", tarfile.DIRTYPE, ""), ("a/b", tarfile.DIRTYPE, ""), ("a/b/up", tarfile.SYMTYPE, "../../..")]
    return [*steps, ("a/b/up/evil", tarfile.REGTYPE, "")]


def long_paths() -> Members:
    """A path that is too long to be resolved, so that a check by `realpath` sees only a part of it (CVE-2025-4517)."""
    members: Members = []
    path = ""
    for letter in "abcdefghijklmnop":
        members.append((f"{path}{LONG}", tarfile.DIRTYPE, ""))
        members.append((f"{path}{letter}", tarfile.SYMTYPE, LONG))
        path = f"{path}{LONG}/"
    link = "/".join([*"abcdefghijklmnop", "l" * 254])
    members.append((link, tarfile.SYMTYPE, "../" * 16))
    members.append(("escape", tarfile.SYMTYPE, f"{link}/../../.."))
    return [*members, ("escape/evil", tarfile.REGTYPE, "")]


ATTACKS: dict[str, Members] = {
    "parent": [("../evil", tarfile.REGTYPE, "")],
    "parent inside": [("a/../../evil", tarfile.REGTYPE, "")],
    "absolute": [("{outside}/evil", tarfile.REGTYPE, "")],
    "link": [("x", tarfile.SYMTYPE, ".."), ("x/evil", tarfile.REGTYPE, "")],
    "absolute link": [("x", tarfile.SYMTYPE, "{outside}"), ("x/evil", tarfile.REGTYPE, "")],
    "link to a file": [("x", tarfile.SYMTYPE, "{outside}/evil"), ("x", tarfile.REGTYPE, "")],
    "links in turn": [("x", tarfile.SYMTYPE, "y"), ("y", tarfile.SYMTYPE, ".."), ("x/evil", tarfile.REGTYPE, "")],
    "link through a link": [
        ("d", tarfile.DIRTYPE, ""),
        ("d/here", tarfile.SYMTYPE, "."),
        ("d/up", tarfile.SYMTYPE, "here/../.."),
        ("d/up/evil", tarfile.REGTYPE, ""),
    ],
    "a chain": chain_to_the_root(),
    "long paths": long_paths(),
    "hard link": [("x", tarfile.LNKTYPE, "../secret")],
    "absolute hard link": [("x", tarfile.LNKTYPE, "{outside}/secret")],
    "hard link to a link": [("x", tarfile.SYMTYPE, "../secret"), ("y", tarfile.LNKTYPE, "x")],
    "a directory that becomes a link": [
        ("x", tarfile.DIRTYPE, ""),
        ("x", tarfile.SYMTYPE, ".."),
        ("x/evil", tarfile.REGTYPE, ""),
    ],
    "a circle": [("x", tarfile.REGTYPE, ""), ("y", tarfile.REGTYPE, "size=-1536")],
    "deeper than Python": [("d/" * 1500 + "f", tarfile.REGTYPE, "")],
    "a device": [("x", tarfile.CHRTYPE, "")],
    "a pipe": [("x", tarfile.FIFOTYPE, "")],
}

HARMLESS = {"link to a file"}
"""What may be taken: the file takes the place of the link."""
LEFT_OUT = {
    "link", "absolute link", "links in turn", "link through a link", "a chain", "long paths", "hard link to a link",
    "a directory that becomes a link",
}  # fmt: skip
"""What a download may take without the links that lead out; whoever sends such a source can still mend it."""


def archive(path: Path, members: Members, outside: Path) -> Path:
    """Write an archive."""
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name.replace("{outside}", str(outside)))
            info.type, info.linkname, info.mode = kind, target.replace("{outside}", str(outside)), 0o755
            info.size = 4 if kind == tarfile.REGTYPE else 0
            if target.startswith("size="):  # it leads back to its own header (CVE-2025-8194)
                info.pax_headers = {"size": target.removeprefix("size=")}
            tar.addfile(info, io.BytesIO(b"evil"))
    return path


def attacked(place: Path, members: Members, use: Callable[[Path, Path], object]) -> tuple[bool, list[str]]:
    """Return whether an archive was taken, and what was written beside the destination, or read from there."""
    (place / "in").mkdir(parents=True)
    (place / "secret").write_text("secret")
    packed = archive(place / "in" / "model.tar.gz", members, place)
    try:
        use(packed, place / "here" / "there")
        taken = True
    except LyftLearnError:
        taken = False
    written = {path.name for path in place.iterdir()} - {"in", "secret", "here", "cache"}
    read = [path.name for path in (place / "here").rglob("*") if is_secret(path)]
    return taken, [*written, *read]


def is_secret(path: Path) -> bool:
    """Whether a file has what stands outside. What has too long a name to be looked at was not to be there at all."""
    try:
        return path.is_file() and b"secret" in path.read_bytes()
    except OSError:
        return True


def download(packed: Path, dest: Path) -> None:
    """Unpack as an output."""
    fetch_output(packed.as_uri(), dest)


def send(packed: Path, dest: Path) -> None:
    """Unpack as a source."""
    pack_source(packed, dest.parent.parent / "cache")


def main() -> None:
    """Try every attack on both."""
    place = Path(sys.argv[1])
    harm: dict[str, object] = {}
    for name, members in ATTACKS.items():
        for use in (download, send):
            taken, found = attacked(place / f"{use.__name__} {name}", members, use)
            allowed = HARMLESS | LEFT_OUT if use is download else HARMLESS
            if found or (taken and name not in allowed):
                harm[f"{use.__name__}: {name}"] = {"found": found, "taken": taken}
    good: Members = [("d", tarfile.DIRTYPE, ""), ("d/f", tarfile.REGTYPE, ""), ("l", tarfile.SYMTYPE, "d/f")]
    taken, _ = attacked(place / "good", good, download)
    if not (taken and (place / "good/here/there/l").read_text() == "evil"):
        harm["good"] = "was refused"
    print(json.dumps({"python": sys.version.split()[0], "harm": harm}))


if __name__ == "__main__":
    main()
