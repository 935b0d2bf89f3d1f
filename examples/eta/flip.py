"""Move a model to the other backend by turning a flag, and show that both sides made the same bytes.

The call site is `submit.py`'s, which says nothing of backends or flags. What an operator would have in the platform's
configuration and in the flag service is written beside the results here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tarfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.table import Table
from submit import submit

import lyftlearn
from lyftlearn import ops

OLD, NEW = "local-kubernetes", "local-sagemaker"
ORIGIN = "LGA"
CONFIGURATION = f"""\
[migration]
from = "{OLD}"
to = "{NEW}"
flags = "{{flags}}"
cache = "0s"
"""


def main() -> None:
    folder = arguments().results.absolute() / "flip"
    folder.mkdir(parents=True, exist_ok=True)
    flags = folder / "flags.json"
    (folder / "lyftlearn.toml").write_text(CONFIGURATION.format(flags=flags))
    os.environ["LYFTLEARN_CONFIG"] = str(folder / "lyftlearn.toml")
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n[bold]The flag moves the job; the call site stays as it is[/bold]")
    jobs = {}
    for stage, expected in (("off", OLD), ("complete", NEW)):
        turn(flags, stage)
        decision = ops.explain("train", f"eta-{ORIGIN.lower()}")
        if decision.backend != expected:
            sys.exit(f"the job would run on {decision.backend}: {decision.reason}")
        try:
            jobs[expected] = submit(ORIGIN)
        except lyftlearn.InvalidJob as error:
            if "namespaces" not in str(error):
                raise
            console.print(f"Left out, because nothing here can be laid out as a platform's container: {error}")
            return
        console.print(f"{decision.reason}: [bold]{jobs[expected].id}[/bold] runs on {decision.backend}")
    lyftlearn.wait(list(jobs.values()), progress=False)
    made = {backend: members(job.outputs["model"]) for backend, job in jobs.items()}
    console.print(table(made))
    if made[OLD] != made[NEW]:
        sys.exit("the two sides made different models")
    console.print(f"The same bytes on both sides.\n\nThe flag: {os.path.relpath(flags)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("eta-results"), help="where flag and configuration go")
    return parser.parse_args()


def turn(flags: Path, stage: str) -> None:
    """Write the flag in one step: whoever reads it finds the old or the new one."""
    variants = {name: name for name in ("unset", "off", "rehearse", "shadow", "live", "complete")}
    flag = {"state": "ENABLED", "variants": variants, "defaultVariant": "unset", "targeting": {"if": [True, stage]}}
    draft = flags.with_suffix(".draft")
    draft.write_text(json.dumps({"flags": {"lyftlearn-migration": flag}}, indent=2) + "\n")
    draft.replace(flags)


def members(uri: str) -> dict[str, str]:
    """Return the SHA-256 of each file in the archive of a model."""
    with tarfile.open(unquote(urlsplit(uri).path)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: hashlib.sha256(file.read()).hexdigest() for name, file in files.items() if file}


def table(made: dict[str, dict[str, str]]) -> Table:
    shown = Table(title="SHA-256 of what is in model.tar.gz", title_justify="left")
    for heading in ("file", OLD, NEW):
        shown.add_column(heading, no_wrap=True)
    for name in sorted({*made[OLD], *made[NEW]}):
        shown.add_row(name, *(made[backend].get(name, "missing")[:16] for backend in (OLD, NEW)))
    return shown


if __name__ == "__main__":
    try:
        main()
    except lyftlearn.LyftLearnError as error:
        sys.exit(str(error))
