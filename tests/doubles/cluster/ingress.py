"""An ingress controller: HTTP from outside to the pods behind a Service, by host and path, where policies let it in.

As ingress-nginx does it: https://kubernetes.io/docs/concepts/services-networking/ingress/. A connection stays with the
pod that its first request chose, which a websocket needs, and a client of one notebook does not notice.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from tests.doubles.cluster import forward, sandbox
from tests.doubles.cluster.store import Object, Store

if TYPE_CHECKING:
    from tests.doubles.cluster.kubelet import Kubelet

CLASS, NAMESPACE = "nginx", "ingress-nginx"
_LARGEST_HEAD = 65_536


class _Refused(Exception):
    """What the controller answers by itself."""


class IngressController:
    """Listens on a port of this machine until it is closed. url: where it is reached, by the host `localhost`."""

    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        self._store = store
        self._kubelet = kubelet
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._relays: list[subprocess.Popen[bytes]] = []
        self.url = f"http://localhost:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True, name="ingress").start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for relay in self._relays:
            relay.kill()
            relay.wait()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and len(head) < _LARGEST_HEAD:
                data = connection.recv(65_536)
                if not data:
                    return
                head += data
            try:
                pid, port = self._backend(head)
            except _Refused as refused:
                text = f"HTTP/1.1 {refused}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                connection.sendall(text.encode())
                return
            self._relay(connection, head, pid, port)

    def _relay(self, connection: socket.socket, head: bytes, pid: int, port: int) -> None:
        argv = sandbox.in_network(pid, [sys.executable, "-I", "-S", "-c", forward.RELAY, str(port)])
        relay = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=connection.fileno(), stderr=subprocess.DEVNULL, bufsize=0
        )
        self._relays.append(relay)
        assert relay.stdin is not None
        with relay.stdin as inwards, contextlib.suppress(OSError):
            inwards.write(head)
            while data := connection.recv(65_536):
                inwards.write(data)
        relay.wait()

    def _backend(self, head: bytes) -> tuple[int, int]:
        """Return the first process of the pod that a request is for, and the port there."""
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split()[1].partition("?")[0]
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        host = headers["host"].partition(":")[0]
        name, port, namespace = self._service(host, path)
        service = self._store.find("services", namespace, name)
        selector = service["spec"]["selector"] if service else {}
        for pod in self._store.all("pods", namespace):
            runner = self._kubelet.runner(pod)
            if service and _has(pod, selector) and _is_ready(pod) and runner is not None and runner._child:
                if not self._is_let_in(pod, namespace, port):
                    raise _Refused("504 Gateway Time-out")
                return runner._child, port
        raise _Refused("503 Service Temporarily Unavailable")

    def _service(self, host: str, path: str) -> tuple[str, int, str]:
        found = []
        for ingress in self._store.all("ingresses"):
            if ingress["spec"].get("ingressClassName") != CLASS:
                continue
            for rule in ingress["spec"]["rules"]:
                for one in rule["http"]["paths"]:
                    if rule["host"] == host and f"{path}/".startswith(f"{one['path'].rstrip('/')}/"):
                        service = one["backend"]["service"]
                        place = (service["name"], service["port"]["number"], ingress["metadata"]["namespace"])
                        found.append((len(one["path"]), place))
        if not found:
            raise _Refused("404 Not Found")
        return max(found)[1]

    def _is_let_in(self, pod: Object, namespace: str, port: int) -> bool:
        """Whether a pod that policies select is open to this controller's namespace by one of them."""
        policies = [
            policy["spec"]
            for policy in self._store.all("networkpolicies", namespace)
            if _has(pod, policy["spec"]["podSelector"].get("matchLabels", {}))
        ]
        allowed = [rule for policy in policies for rule in policy.get("ingress", ()) if _allows(rule, port)]
        return not policies or bool(allowed)


def _has(item: Object, labels: dict[str, str]) -> bool:
    return labels.items() <= (item["metadata"].get("labels") or {}).items()


def _is_ready(pod: Object) -> bool:
    return any(status.get("ready") for status in pod.get("status", {}).get("containerStatuses", ()))


def _allows(rule: Object, port: int) -> bool:
    peers = [peer["namespaceSelector"]["matchLabels"] for peer in rule["from"]]
    return {"kubernetes.io/metadata.name": NAMESPACE} in peers and port in [one["port"] for one in rule["ports"]]
