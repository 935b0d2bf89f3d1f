"""The directory that SPARK_CONF_DIR names: the image's own files, and one `spark-defaults.conf` of both."""

from __future__ import annotations

import os
import re
import shutil
import sys

DEFAULTS = "spark-defaults.conf"
_SETTING = re.compile(r"^[ \t]*(spark\.[^\s=:]+)[ \t]*[=:]?[ \t]*(.*?)[ \t]*$", re.MULTILINE)


class Settings:
    """What the configuration says, in three ranks.

    derived: from the job; the image's own file wins over it. placed: where the session runs, and who reaches it; it
    wins over the image, which would run on one platform only. configured: `[spark]`, which wins over all.
    """

    def __init__(self) -> None:
        self.derived: dict[str, str] = {}
        self.placed: dict[str, str] = {}
        self.configured: dict[str, str] = {}

    def text(self, image: str) -> str:
        """The file. Of a setting that stands there twice, Java's `Properties.load` takes the last."""
        parts = (
            "# Written by lyftlearn when the job started. What stands further down wins.\n",
            _lines("of the job", self.derived),
            f"\n# the image's own\n{image}\n\n",  # an empty line ends one that was to go on
            _lines("where it runs", self.placed),
            _lines("[spark]", self.configured),
        )
        return "".join(parts)

    def without_effect(self, image: str) -> list[str]:
        """The settings of the image's file that count for nothing."""
        wanted = {**self.placed, **self.configured}
        return sorted({name for name, value in _SETTING.findall(image) if wanted.get(name, value) != value})


def _lines(title: str, settings: dict[str, str]) -> str:
    escaped = (f"{name} {value}\n".replace("\\", "\\\\") for name, value in sorted(settings.items()))
    return f"\n# {title}\n{''.join(escaped)}" if settings else ""


def write_directory(directory: str, image: str, settings: Settings) -> None:
    """Make the directory anew: links to the files of the image's, and the settings of both."""
    shutil.rmtree(directory, ignore_errors=True)
    os.mkdir(directory)
    for name in os.listdir(image) if os.path.isdir(image) else ():
        if name != DEFAULTS:
            os.symlink(os.path.join(image, name), os.path.join(directory, name))
    own = _read(os.path.join(image, DEFAULTS))
    unused = settings.without_effect(own)
    if unused:
        what = f"{', '.join(unused)} of {os.path.join(image, DEFAULTS)}"
        words = f"{what} is not used: [spark], or the place where the job runs, says something else"
        print(f"lyftlearn: spark: {words}", file=sys.stderr, flush=True)
    with open(os.path.join(directory, DEFAULTS), "w", encoding="utf-8") as file:
        file.write(settings.text(own))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
