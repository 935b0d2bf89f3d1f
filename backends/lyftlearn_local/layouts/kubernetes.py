"""What a pod is given: a projected bundle, a service account, secrets as files, service variables, a user."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lyftlearn_local.layouts.layout import LOOPBACK, ContainerLayout, NodeContext, host_names, hosts

USER, GROUP = 1000, 1000
VOLUME_MODE = 0o2777
"""Of a volume with an fsGroup: what is made below has the volume's group."""
NAMESPACE = "default"
SUFFIX = "local"
"""Of a pod's name, where a cluster puts five random characters."""


def pod(context: NodeContext) -> ContainerLayout:
    """The layout of a Job's pod."""
    layout = ContainerLayout(context.directory / "termination-log")
    layout.user = (USER, GROUP)
    layout.hostname = pod_name(context)
    layout.own_devices = True
    layout.bind(context.directory / "lyftlearn", "/lyftlearn").chmod(VOLUME_MODE)
    layout.drops_groups = os.geteuid() == 0
    layout.report.touch()
    layout.report.chmod(0o666)
    layout.binds.append((str(layout.report), "/dev/termination-log"))
    _write_hosts(context, layout)
    _project_bundle(context, layout)
    _add_service_account(context, layout)
    _mount_secrets(context, layout)
    layout.variables |= service_variables() | {"HOSTNAME": layout.hostname, "HOME": "/"}
    if context.count > 1:
        layout.variables |= {
            "JOB_COMPLETION_INDEX": str(context.rank),
            "LYFTLEARN_SUBSTRATE_HOSTS": ",".join(hosts(context.count)),
            "LYFTLEARN_SUBSTRATE_PORT": str(context.port),
        }
    return layout


def pod_name(context: NodeContext) -> str:
    """`<job>-<5>`, or `<job>-<index>-<5>` for one of several."""
    index = f"-{context.rank}" if context.count > 1 else ""
    return f"{context.job.path.name}{index}-{SUFFIX}"


def service_variables() -> dict[str, str]:
    """What a pod learns of the API server; nobody listens there."""
    url = f"tcp://{LOOPBACK}:443"
    return {
        "KUBERNETES_SERVICE_HOST": LOOPBACK,
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBERNETES_SERVICE_PORT_HTTPS": "443",
        "KUBERNETES_PORT": url,
        "KUBERNETES_PORT_443_TCP": url,
        "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
        "KUBERNETES_PORT_443_TCP_PORT": "443",
        "KUBERNETES_PORT_443_TCP_ADDR": LOOPBACK,
    }


def _write_hosts(context: NodeContext, layout: ContainerLayout) -> None:
    """The kubelet writes a pod's own name into its hosts file."""
    file = context.directory / "hosts"
    file.write_text(f"{host_names()}\n{hosts(context.count)[context.rank]} {layout.hostname}\n")
    layout.binds.append((str(file), "/etc/hosts"))


def _project_bundle(context: NodeContext, layout: ContainerLayout) -> None:
    projected = layout.bind(context.directory / "projected", "/var/run/lyftlearn")
    shutil.copyfile(context.bundle, projected / "bundle.json")


def _add_service_account(context: NodeContext, layout: ContainerLayout) -> None:
    account = layout.bind(context.directory / "serviceaccount", "/var/run/secrets/kubernetes.io/serviceaccount")
    for name, content in (("namespace", NAMESPACE), ("token", ""), ("ca.crt", "")):
        (account / name).write_text(content)


def _mount_secrets(context: NodeContext, layout: ContainerLayout) -> None:
    """Those asked for and no other; the runtime says which are missing."""
    for name in context.run["secrets"]:
        outside = Path(context.run["secrets_directory"], name)
        if outside.is_dir():
            layout.readonly.append((str(outside), f"{context.run['secrets_inside']}/{name}"))
