"""Spark: a session that works where it runs, from `SparkSession.builder.getOrCreate()` alone.

The driver is the user's command. Here its configuration is written, and what executors on Kubernetes need is made.
"""

from __future__ import annotations

from .home import find_spark
from .local import local_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..bundle import Bundle
    from ..environment import Environment
    from ..layout import Layout

DIRECTORY = "spark"
"""Below `config`: what SPARK_CONF_DIR names."""


class Prepared:
    """What a job with Spark has more.

    variables: for the command. follow: watches the executors, and gets what ends the command with a message; returns
    what ends the watch. clean_up: removes the executors, however the command ended.
    """

    def __init__(
        self,
        variables: dict[str, str],
        follow: Callable[[Callable[[str], None]], Callable[[], None]] | None = None,
        clean_up: Callable[[], None] | None = None,
    ) -> None:
        self.variables = variables
        self.follow = follow
        self.clean_up = clean_up


def prepare(bundle: Bundle, layout: Layout, environment: Environment) -> Prepared | None:
    """Write the configuration; None where the image has no Spark.

    Raises RuntimeFailure, with reason configuration, where executors cannot be made from here.
    """
    variables = environment.variables(1)
    home = find_spark(variables, environment.directory, bundle["user"])
    if home is None:
        return None
    from .conf_files import write_directory

    image_conf = variables.get("SPARK_CONF_DIR") or f"{home}/conf"
    settings = local_settings(bundle, layout, variables, home)
    session = None
    if bundle["spark"]["executors"] == "kubernetes":
        from .session import Session

        session = Session(bundle, layout, environment, image_conf)
        settings = session.settings(settings)
    directory = layout.at("config", DIRECTORY)
    write_directory(directory, image_conf, settings)
    prepared = {"SPARK_CONF_DIR": directory}
    return Prepared(prepared, session.follow, session.clean_up) if session else Prepared(prepared)
