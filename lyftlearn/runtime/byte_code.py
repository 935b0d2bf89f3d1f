"""The modules of this package as one file of byte code, where the archive has one for this version of Python.

Python opens a zip file anew for every module, which would be a third of a container's start.
"""

from __future__ import annotations

import marshal
import sys
from _frozen_importlib import ModuleSpec  # type: ignore[import-not-found,unused-ignore] # `importlib.machinery` loads more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ByteCode:
    """Finds and loads modules; what it does not have, Python looks for in the archive itself.

    codes: the byte code of each module by its path, such as `lyftlearn_runtime/job.py`. loader: of the archive.
    """

    def __init__(self, codes: dict[str, bytes], loader: Any) -> None:
        self._codes = codes
        self._loader = loader

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Say where a module is, as Python asks every finder."""
        stem = name.replace(".", "/")
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in self._codes:
                return self._spec(name, path, is_package=path != f"{stem}.py")
        return None

    def _spec(self, name: str, path: str, *, is_package: bool) -> ModuleSpec:
        origin = f"{self._loader.archive}/{path}"
        loader: Any = self
        spec = ModuleSpec(name, loader, origin=origin, loader_state=path, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: Any) -> None:
        """Run the module's code."""
        exec(marshal.loads(self._codes[module.__spec__.loader_state]), module.__dict__)  # noqa: S102, S302 - our own archive

    def get_source(self, name: str) -> str:
        """Return what a traceback shows."""
        source: bytes = self._loader.get_data(sys.modules[name].__file__)
        return source.decode()


def install(loader: Any) -> None:
    """Load from now on what the archive of `loader` has for this Python."""
    try:
        content = loader.get_data(f"{loader.archive}/{sys.implementation.cache_tag}.modules")
    except OSError:
        return
    sys.meta_path.insert(0, ByteCode(marshal.loads(content), loader))  # noqa: S302 - our own archive
