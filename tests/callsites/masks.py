"""What of a transcript is not compared: what changes with every run, by rules that stand here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping

ID = re.compile(r"(?<=-)[tpbhn][a-z2-7]{12}\b")
"""The part of a job's id behind its name: the kind's letter, the backend's, and eleven random characters."""
TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
FRAMES = re.compile(r'(?:^  File "(?!/lyftlearn/).*\n(?:^    .*\n)*)+', re.MULTILINE)
"""Where in this machine's files an error went through. What the job itself runs is under `/lyftlearn`, and compared."""

NOTES = re.compile(
    r"^lyftlearn: note: .*\n|^.*: UserWarning: this URL works while this runs: .*\n(?:  .*\n)?", re.MULTILINE
)
"""What a backend has to say of the job beside running it, on standard error: the machine's, or the platform's, own."""


def masked(text: str, given: Mapping[str, str]) -> str:
    """Return a transcript that two runs have in common.

    given: what the runner itself made up, such as the working directory, to the word that stands for it. An id becomes
    a number, the same for the same id; a time becomes `<time>`; a traceback keeps its error and loses its frames.
    """
    for value in sorted(given, key=len, reverse=True):
        text = text.replace(value, given[value])
    return TIME.sub("<time>", FRAMES.sub("  ...\n", _numbered(text)))


def _numbered(text: str) -> str:
    numbers: dict[str, int] = {}
    return ID.sub(lambda found: f"<id {numbers.setdefault(found[0], len(numbers) + 1)}>", text)
