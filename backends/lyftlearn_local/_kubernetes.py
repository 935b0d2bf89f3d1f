"""What a pod is given: a projected bundle, a service account, secrets as files, service variables, a user."""

from __future__ import annotations

import shutil
from pathlib import Path

from lyftlearn_local._place import LOOPBACK, NodeFacts, Place, hosts

USER, GROUP = 1000, 1000
NAMESPACE = "default"
SUFFIX = "local"
"""Of a pod's name, where a cluster puts five random characters."""


def pod(node: NodeFacts) -> Place:
    """The layout of a Job's pod."""
    place = Place(node.directory / "termination-log")
    place.user = (USER, GROUP)
    place.hostname = pod_name(node)
    place.own_devices = True
    place.bind(node.directory / "lyftlearn", "/lyftlearn")
    place.report.touch()
    place.binds.append((str(place.report), "/dev/termination-log"))
    _name_itself(node, place)
    _project_bundle(node, place)
    _add_service_account(node, place)
    _mount_secrets(node, place)
    place.variables |= service_variables() | {"HOSTNAME": place.hostname, "HOME": "/"}
    if node.count > 1:
        place.variables |= {
            "JOB_COMPLETION_INDEX": str(node.rank),
            "LYFTLEARN_SUBSTRATE_HOSTS": ",".join(hosts(node.count)),
            "LYFTLEARN_SUBSTRATE_PORT": str(node.port),
        }
    return place


def pod_name(node: NodeFacts) -> str:
    """`<job>-<5>`, or `<job>-<index>-<5>` for one of several."""
    index = f"-{node.rank}" if node.count > 1 else ""
    return f"{node.job.path.name}{index}-{SUFFIX}"


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


def _name_itself(node: NodeFacts, place: Place) -> None:
    """The kubelet writes a pod's own name into its hosts file."""
    file = node.directory / "hosts"
    file.write_text(f"{Path('/etc/hosts').read_text()}\n{hosts(node.count)[node.rank]} {place.hostname}\n")
    place.binds.append((str(file), "/etc/hosts"))


def _project_bundle(node: NodeFacts, place: Place) -> None:
    projected = place.bind(node.directory / "projected", "/var/run/lyftlearn")
    shutil.copyfile(node.job.path / "bundle.json", projected / "bundle.json")


def _add_service_account(node: NodeFacts, place: Place) -> None:
    account = place.bind(node.directory / "serviceaccount", "/var/run/secrets/kubernetes.io/serviceaccount")
    for name, content in (("namespace", NAMESPACE), ("token", ""), ("ca.crt", "")):
        (account / name).write_text(content)


def _mount_secrets(node: NodeFacts, place: Place) -> None:
    """Those asked for and no other; the runtime says which are missing."""
    for name in node.run["secrets"]:
        outside = Path(node.run["secrets_directory"], name)
        if outside.is_dir():
            place.readonly.append((str(outside), f"{node.run['secrets_inside']}/{name}"))
