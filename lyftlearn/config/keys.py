"""Every key of `lyftlearn.toml` but those of backends, as data: its name, what may be written, and what it means."""

from __future__ import annotations

from pathlib import Path

from lyftlearn._contract.options import (
    DURATION,
    FLAG,
    FLAG_SOURCE,
    GATEWAY,
    PATH,
    POSITIVE_DURATION,
    STORAGE_URL,
    TEXT,
    TEXT_TABLE,
    TEXTS,
    Kind,
    Option,
    mapping_of,
    matching,
    number,
    one_of,
    whole_number,
)
from lyftlearn.config.autopilot import AUTOPILOT
from lyftlearn.config.spark import SPARK

# The names of `rollout.Stage`, which stands above; a test holds the two to each other.
_STAGE = one_of("off", "rehearse", "shadow", "live", "complete")


def _journal_from_folder(written: str, folder: Path) -> str:
    """Return an SQLAlchemy URL whose SQLite file, if it is relative, starts at `folder`."""
    scheme, separator, path = written.partition(":///")
    is_relative_file = scheme.startswith("sqlite") and separator and path and not path.startswith(("/", ":memory:"))
    return f"{scheme}:///{folder / path}" if is_relative_file else written


_JOURNAL = Kind("an SQLAlchemy URL", TEXT.read, TEXT.schema, resolve=_journal_from_folder)

TOP = (
    Option(
        key="project",
        kind=TEXT,
        doc="The name under which keys of jobs are unique. By default the name of the directory that holds the file.",
        example="rides",
    ),
    Option(
        key="backend",
        kind=TEXT,
        default="local",
        doc="The backend that jobs run on where nobody says otherwise.",
        example="kubernetes",
    ),
    Option(
        key="home",
        kind=PATH,
        default="~/.lyftlearn",
        doc="The directory of this user's state and caches. `LYFTLEARN_HOME` wins.",
        example="/var/lib/lyftlearn",
    ),
    Option(
        key="owner",
        kind=TEXT,
        doc="Whose notebooks are opened. By default the name of the operating system's user.",
        example="ada",
    ),
    Option(
        key="repository",
        kind=TEXT,
        doc="The repository's name, where version control does not tell it. A flag may target it.",
        example="rides/pricing",
    ),
    Option(key="team", kind=TEXT, doc="Who owns the jobs. A flag may target it.", example="pricing"),
    Option(
        key="environment", kind=TEXT, doc="Where the jobs are sent from. A flag may target it.", example="production"
    ),
)
STORAGE = (
    Option(
        key="url",
        kind=STORAGE_URL,
        doc="Where sources, claims and outputs live: `s3://` or a directory. By default a directory in `home`.",
        example="s3://ml-jobs/lyftlearn",
    ),
)
JOBS = (
    Option(
        key="timeout",
        kind=POSITIVE_DURATION,
        default="24h",
        doc="How long a job may run that asks for no timeout of its own.",
        example="12h",
    ),
    Option(
        key="grace",
        kind=DURATION,
        default="30s",
        doc="The time between SIGTERM and SIGKILL when a job is stopped or times out.",
        example="2m",
    ),
    Option(
        key="requirements",
        kind=one_of("auto", "never"),
        default="never",
        doc="Whether what the source's `pylock.toml`, `uv.lock` or `requirements.txt` names is installed before the "
        "command starts.",
        example="auto",
    ),
    Option(
        key="index",
        kind=matching(r"https?://[^@\s]+", "the URL of a package index, without a user and a password"),
        doc="The index that packages come from. A secret with the key `PIP_INDEX_URL` may name one with a password.",
        example="https://packages.example/simple",
    ),
    Option(
        key="gitignore",
        kind=FLAG,
        default=True,
        doc="Whether sources leave out what `.gitignore` files name, and git does not track. "
        "`.lyftlearnignore` has the last word.",
        example=False,
    ),
    Option(key="image", kind=TEXT, doc="The image of jobs that name none.", example="registry.example/lyftlearn:1.1"),
    Option(
        key="output",
        kind=STORAGE_URL,
        doc="Where outputs of jobs go, a directory for each job. By default `jobs` in the storage.",
        example="s3://ml-outputs",
    ),
)
TUNE = (
    Option(
        key="image",
        kind=TEXT,
        doc="The image that drives searches, with `lyftlearn[tune]` in it. By default `[jobs] image`.",
        example="registry.example/lyftlearn:1.1",
    ),
    Option(
        key="timeout",
        kind=POSITIVE_DURATION,
        default="7d",
        doc="How long a search may take, all its trials together. Then it stops those that run.",
        example="2d",
    ),
)
HISTORY = (
    Option(
        key="url",
        kind=_JOURNAL,
        doc="Where submissions and ends of jobs are written: an SQLAlchemy URL of SQLite or PostgreSQL. By default the "
        "file `history.sqlite` in `home`.",
        example="postgresql+psycopg://ml@db.example/lyftlearn",
    ),
    Option(
        key="record",
        kind=FLAG,
        default=True,
        doc="Whether this client writes there. Without it, a migration is not recorded either.",
        example=False,
    ),
)
COST = (
    Option(
        key="prices",
        kind=PATH,
        doc="A TOML file with a table of prices for each backend, with the keys of `[<backend>.prices]`, which it "
        "takes the place of.",
        example="prices.toml",
    ),
)
SERVE = (
    Option(
        key="command",
        kind=TEXTS,
        default=(),
        doc="What serves a model: a program that answers `POST /invocations` and `GET /ping` on the port in `PORT`.",
        example=["python", "serve.py"],
    ),
)
DASHBOARD = (
    Option(
        key="access",
        kind=mapping_of(TEXTS, "a table of teams and lists of users"),
        default={},
        doc="The users who see the jobs of each team, as the proxy in front of the dashboard names them. Those of the "
        "team `*` see everything.",
        example={"pricing": ["ada"]},
    ),
    Option(
        key="url",
        kind=TEXT,
        doc="Where people open the dashboard. Airflow's tasks link to their jobs there.",
        example="https://lyftlearn.example.com",
    ),
)
MIGRATION = (
    Option(key="from", kind=TEXT, doc="The old backend. By default `backend`.", example="kubernetes"),
    Option(key="to", kind=TEXT, doc="The new backend. Without it nothing is migrated.", example="sagemaker"),
    Option(
        key="flag",
        kind=TEXT,
        default="lyftlearn-migration",
        doc="The key of the flag that names the stage.",
        example="move-to-sagemaker",
    ),
    Option(
        key="flags",
        kind=FLAG_SOURCE,
        doc="Where the flag is evaluated without an OpenFeature provider of the host application: a flagd file, or "
        "the URL of a service. `LYFTLEARN_FLAGS` wins.",
        example="flags.json",
    ),
    Option(key="stage", kind=_STAGE, doc="The stage where the flag is silent.", example="rehearse"),
    Option(key="default", kind=_STAGE, doc="The stage where the flag and `stage` are silent.", example="off"),
    Option(key="ceiling", kind=_STAGE, doc="The highest stage. Only `LYFTLEARN_BACKEND` exceeds it.", example="live"),
    Option(
        key="kill_switch",
        kind=STORAGE_URL,
        doc="A file, or an object in S3. While it is there, every job stays on the old backend, whatever flags say.",
        example="s3://bucket/lyftlearn/migration-off",
    ),
    Option(key="cache", kind=DURATION, default="5s", doc="How long an answer of the flag holds.", example="30s"),
    Option(
        key="budget", kind=POSITIVE_DURATION, default="0.5s", doc="How long the flag has for an answer.", example="1s"
    ),
    Option(
        key="journal",
        kind=_JOURNAL,
        doc="Where version 1.0 wrote submissions, rehearsals and outcomes: an SQLAlchemy URL. What is there is carried "
        "over into the history, which is there, too, unless `[history] url` names another place.",
        example="postgresql+psycopg://ml@db.example/journal",
    ),
    Option(
        key="shadow.models", kind=TEXTS, default=(), doc="Models whose jobs are safe to run twice.", example=["eta"]
    ),
    Option(
        key="shadow.labels",
        kind=TEXT_TABLE,
        default={},
        doc="Labels, one of which makes a job safe to run twice.",
        example={"idempotent": "yes"},
    ),
    Option(
        key="shadow.share",
        kind=number(0, 1),
        default=1.0,
        doc="The part of those jobs that have a shadow.",
        example=0.1,
    ),
    Option(key="shadow.at_most", kind=whole_number(0), default=4, doc="How many shadows run at once.", example=10),
    Option(
        key="compare",
        kind=mapping_of(TEXT, "a table of models and their commands"),
        default={},
        doc="Commands that judge the artifacts of a model and its shadow in place of a comparison of bytes.",
        example={"eta": "python compare.py"},
    ),
)
_INSTANCE = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "a name")  # of a directory and of a column, too
BACKENDS = (
    Option(
        key="letters",
        kind=TEXT_TABLE,
        default={},
        doc="The letter of a backend in ids of jobs, where two backends have the same by default.",
        example={"acme": "x"},
    ),
    Option(
        key="instances",
        kind=mapping_of(
            TEXT, "a table of backends by names of letters, digits, '-', '_' and '.', at most 63", _INSTANCE
        ),
        default={},
        doc="Further backends of a kind that is installed, such as a second cluster, by names of yours. Each has "
        "a table of its own.",
        example={"kubernetes-west": "kubernetes"},
    ),
)
MODEL = (
    Option(
        key="pending",
        kind=POSITIVE_DURATION,
        doc="How long jobs of this model may wait for capacity, on every platform that limits it.",
        example="12h",
    ),
    Option(
        key="metrics",
        kind=GATEWAY,
        doc="The StatsD gateway that metrics of this model's jobs are passed on to.",
        example="statsd.internal:8125",
    ),
)
"""A table `[models.<name>]`: what jobs of one model get on every backend whose own table for the model is silent."""
TABLES = {
    "storage": STORAGE,
    "jobs": JOBS,
    "tune": TUNE,
    "history": HISTORY,
    "cost": COST,
    "spark": SPARK,
    "serve": SERVE,
    "dashboard": DASHBOARD,
    "migration": MIGRATION,
    "autopilot": AUTOPILOT,
    "backends": BACKENDS,
}
