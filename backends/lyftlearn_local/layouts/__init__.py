"""What each platform gives a container, as far as this machine can give it."""

from __future__ import annotations

from lyftlearn_local.layouts import kubernetes, sagemaker
from lyftlearn_local.layouts.layout import ContainerLayout, NodeContext, hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def local(context: NodeContext) -> ContainerLayout:
    """Only the contract: nothing that a platform would add."""
    layout = ContainerLayout(context.directory / "report")
    root = context.directory / "lyftlearn"
    if context.run["namespaces"] or context.container:
        layout.bind(root, "/lyftlearn")
    else:
        layout.variables["LYFTLEARN_ROOT"] = str(root)
    layout.variables |= {
        "LYFTLEARN_BUNDLE": context.inside(context.bundle),
        "LYFTLEARN_SUBSTRATE": "local",
        "LYFTLEARN_SUBSTRATE_REPORT": context.inside(layout.report),
    }
    if context.count > 1:
        layout.variables |= {
            "LYFTLEARN_SUBSTRATE_RANK": str(context.rank),
            "LYFTLEARN_SUBSTRATE_HOSTS": ",".join(hosts(context.count)),
            "LYFTLEARN_SUBSTRATE_PORT": str(context.port),
        }
    return layout


LAYOUTS: dict[str, Callable[[NodeContext], ContainerLayout]] = {
    "local": local,
    "local-kubernetes": kubernetes.pod,
    "local-sagemaker": sagemaker.training,
}
FINISH: dict[str, Callable[[NodeContext], None]] = {"local-sagemaker": sagemaker.pack}
