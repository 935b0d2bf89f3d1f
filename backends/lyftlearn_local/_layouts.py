"""What each platform gives a container, as far as this machine can give it."""

from __future__ import annotations

from lyftlearn_local import _kubernetes, _sagemaker
from lyftlearn_local._place import NodeFacts, Place, hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lyftlearn_local._state import JobFiles


def local(node: NodeFacts) -> Place:
    """Only the contract: nothing that a platform would add."""
    place = Place(node.directory / "report")
    root = node.directory / "lyftlearn"
    if node.run["namespaces"]:
        place.bind(root, "/lyftlearn")
    else:
        place.variables["LYFTLEARN_ROOT"] = str(root)
    place.variables |= {
        "LYFTLEARN_BUNDLE": str(node.job.path / "bundle.json"),
        "LYFTLEARN_SUBSTRATE": "local",
        "LYFTLEARN_SUBSTRATE_REPORT": str(place.report),
    }
    if node.count > 1:
        place.variables |= {
            "LYFTLEARN_SUBSTRATE_RANK": str(node.rank),
            "LYFTLEARN_SUBSTRATE_HOSTS": ",".join(hosts(node.count)),
            "LYFTLEARN_SUBSTRATE_PORT": str(node.port),
        }
    return place


LAYOUTS: dict[str, Callable[[NodeFacts], Place]] = {
    "local": local,
    "local-kubernetes": _kubernetes.pod,
    "local-sagemaker": _sagemaker.training,
}
FINISH: dict[str, Callable[[JobFiles, dict[str, Any], dict[str, str]], None]] = {"local-sagemaker": _sagemaker.pack}
