"""Sessions of botocore that read AWS's definitions of its services once.

By default each session reads them for itself, and most of the processor time of a cold submission was that: three
sessions, and in each the endpoints of all services. boto3 would load `multiprocessing` and more for transfers.
"""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session


def new_session(region: str | None = None) -> Session:
    """Return a session for the default AWS chain, with credentials of its own. `region` overrides the chain's."""
    session = Session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    if region is not None:
        session.set_config_variable("region", region)
    return session


class _Loader(Loader):
    """Finds a service by its directory, where botocore's own looks into those of all services first."""

    def list_available_services(self, type_name: str) -> list[str]:
        """Return the services that there are files of, whatever their type; a file that is missing is an error, too."""
        del type_name
        folders = [path for path in map(Path, self.search_paths) if path.is_dir()]
        return sorted({entry.name for folder in folders for entry in folder.iterdir()})


class _FileLoader(JSONFileLoader):
    """Reads into plain dicts, which takes half the time."""

    def load_file(self, file_path: str) -> Any:
        for extension, opener in ((".json", open), (".json.gz", gzip.open)):
            try:
                with opener(file_path + extension, "rb") as file:
                    return json.loads(file.read())
            except FileNotFoundError:
                continue
        return None


@cache
def _loader(data_path: str | None) -> Loader:
    paths = (os.path.expandvars(path) for path in (data_path or "").split(os.pathsep) if path)
    return _Loader([str(Path(path).expanduser()) for path in paths], _FileLoader())
