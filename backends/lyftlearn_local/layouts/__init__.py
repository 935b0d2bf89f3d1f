"""What each platform gives a container, as far as this machine can give it."""

from __future__ import annotations

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


def _pod(context: NodeContext) -> ContainerLayout:
    from lyftlearn_local.layouts import kubernetes  # noqa: PLC0415 - a supervisor starts sooner without

    return kubernetes.pod(context)


def _training(context: NodeContext) -> ContainerLayout:
    from lyftlearn_local.layouts import sagemaker  # noqa: PLC0415 - as above

    return sagemaker.training(context)


def _pack(context: NodeContext) -> None:
    from lyftlearn_local.layouts import sagemaker  # noqa: PLC0415 - as above

    sagemaker.pack(context)


LAYOUTS: dict[str, Callable[[NodeContext], ContainerLayout]] = {
    "local": local,
    "local-kubernetes": _pod,
    "local-sagemaker": _training,
}
FINISH: dict[str, Callable[[NodeContext], None]] = {"local-sagemaker": _pack}
