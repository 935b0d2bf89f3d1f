"""The kubelet: pods become processes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lyftlearn.runtime.tree import remove_tree
from tests.doubles.cluster import pod_groups, sandbox
from tests.doubles.cluster.job_controller import tell
from tests.doubles.cluster.log_file import ROTATED_AT, LogFile
from tests.doubles.cluster.network import Network, inside
from tests.doubles.cluster.service_accounts import MOUNTED_AT, write_account
from tests.doubles.cluster.store import ApiError, Object, Store, now

RETRY = 0.2
LAG = 0.2
"""Seconds between the report that a deleted pod has ended, and its removal: whoever looks then sees it."""
MOST_SAID = 4096
CORES, MEMORY = 4096, 1 << 50


@dataclass
class Node:
    """What the one node has. images: name to PATH inside; others cannot be pulled. environment: of every pod.

    room: how many pods of one job find a place; None is any number. clock_ahead: seconds; NTP may set a clock back.
    claims: directories behind claims that no test made by the API. exports: of NFS servers, by server and path.
    """

    images: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    gpus: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    claims_elsewhere: set[str] = field(default_factory=set)
    claims: dict[str, Path] = field(default_factory=dict)
    exports: dict[tuple[str, str], Path] = field(default_factory=dict)
    runs: bool = True
    room: int | None = None
    name: str = "n1"
    log_rotated_at: int = ROTATED_AT
    clock_ahead: float = 0.0


class Kubelet(threading.Thread):
    """Runs every pod of the store, each in a thread of its own."""

    def __init__(
        self,
        store: Store,
        directory: Path,
        node: Node,
        api_port: int,
        authority: Path,
        *,
        network: Network | None = None,
    ) -> None:
        super().__init__(daemon=True, name="kubelet")
        self.network = network
        self.store = store
        self.directory = directory
        self.node = node
        self.api_port = api_port
        self.authority = authority
        self.hosts = directory / "hosts"
        self._closed = threading.Event()
        self.pods: dict[str, PodRunner] = {}
        self.pulled: set[str] = set()
        self.collected: set[str] = set()  # uids of pods whose containers, and so their logs, are gone from the node
        directory.mkdir(parents=True, exist_ok=True)
        self.write_hosts()

    def run(self) -> None:
        while not self._closed.is_set():
            version = self.store.version
            for pod in self.store.all("pods"):
                uid = pod["metadata"]["uid"]
                if uid not in self.pods and self.node.runs:
                    self.pods[uid] = PodRunner(self, pod)
                    self.pods[uid].start()
                if uid not in self.pods and not pod["spec"].get("nodeName") and "deletionTimestamp" in pod["metadata"]:
                    self._collect(pod)
            self.store.wait(version, 0.5)

    def _collect(self, pod: Object) -> None:
        """As the collector of pods does with those that are deleted and on no node: they count as failed."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        with contextlib.suppress(ApiError):
            self.store.modify("pods", namespace, name, lambda item: item["status"].update(phase="Failed"))

    def close(self) -> None:
        self._closed.set()
        for runner in tuple(self.pods.values()):
            runner.kill()
        for runner in tuple(self.pods.values()):
            runner.join(120)

    def write_hosts(self) -> None:
        """Names of all pods with a subdomain; the same file again, since it is mounted."""
        lines = ["127.0.0.1 localhost"]
        for pod in self.store.all("pods"):
            name, domain = pod["spec"].get("hostname"), pod["spec"].get("subdomain")
            if name and domain and self.store.find("services", pod["metadata"]["namespace"], domain):
                lines.append(f"{address(pod)} {name}.{domain} {name}")
        text = "\n".join([*lines, ""])
        if not self.hosts.exists() or self.hosts.read_text() != text:  # who reads it meanwhile finds half of it
            self.hosts.write_text(text)

    def runner(self, pod: Object) -> PodRunner | None:
        return self.pods.get(pod["metadata"]["uid"])

    def started(self, job_id: str) -> int:
        """How many containers have started for a job."""
        return sum(runner.has_started and runner.job_id == job_id for runner in self.pods.values())

    def terminate(self, pod: Object) -> None:
        """SIGTERM to process 1, which nobody asked for: as from a process in the container."""
        runner = self.runner(pod)
        assert runner is not None
        runner.signal(signal.SIGTERM)

    def log(self, pod: Object, container: str, params: dict[str, str]) -> Iterator[bytes]:
        """The lines of a container, as `kubectl logs` gets them."""
        runner = self.runner(pod)
        state = pod["status"].get("containerStatuses") or [{"state": {"waiting": {"reason": "ContainerCreating"}}}]
        if runner is None or "waiting" in state[0]["state"] or container != runner.container:
            reason = state[0]["state"].get("waiting", {}).get("reason", "")
            raise ApiError(400, "BadRequest", f'container "{container}" in pod is waiting to start: {reason}')
        if pod["metadata"]["uid"] in self.collected:  # the answer is 200, and its text is not the container's
            return iter([b"unable to retrieve container logs for containerd://9d8e7f"])
        return runner.log.read(params)


def address(pod: Object) -> str:
    """A loopback address of the pod's own: pods share this machine's network, and may all listen on one port."""
    first, second, third = hashlib.sha256(pod["metadata"]["uid"].encode()).digest()[:3]
    return f"127.{1 + first % 254}.{second}.{1 + third % 254}"


class PodRunner(threading.Thread):
    """One pod, from its place on the node to its end."""

    def __init__(self, kubelet: Kubelet, pod: Object) -> None:
        super().__init__(daemon=True, name=f"pod-{pod['metadata']['name']}")
        self._kubelet = kubelet
        self._store = kubelet.store
        self._pod = pod
        self._key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        self._directory = kubelet.directory / pod["metadata"]["uid"]
        self._directory.mkdir()
        self.log = LogFile(self._directory / "main.log", kubelet.node.log_rotated_at, lambda: kubelet.node.clock_ahead)
        claims = kubelet.directory / "claims"
        self._volumes = sandbox.Volumes(pod, self._directory / "volumes", claims, self._lookup, kubelet.node)
        self._sidecars: list[tuple[subprocess.Popen[bytes], int]] = []
        self._kill_at: float | None = None  # when the grace of a pod that is to end is over
        self._child = 0
        self._killed = threading.Event()
        self._told = False
        self._eviction = ""
        self._silent = False
        self.has_started = False
        self.container = pod["spec"]["containers"][0]["name"]
        self.namespace, self.address = kubelet.network.join() if kubelet.network else ("", address(pod))
        self.job_id = (pod["metadata"].get("labels") or {}).get("lyftlearn/job")
        self._ready = False
        self._next_probe = 0.0

    @property
    def has_container(self) -> bool:
        return self._child != 0

    def kill(self) -> None:
        """As a node that loses power."""
        self._killed.set()
        self.signal(signal.SIGKILL)

    def silence(self) -> None:
        """As a node that is cut off: nobody hears how its pods end."""
        self._silent = True

    def evict(self, message: str) -> None:
        """End the pod for a limit of its own, as the kubelet does: its status says so, and no condition."""
        self._eviction = message

    def run(self) -> None:
        try:
            if self._wait_for(self._place) and self._wait_for(self._prepare):
                self._run_main()
            else:
                self._end(self._never_started())
        except ApiError:
            self.signal(signal.SIGKILL)  # the pod is not there any more
        finally:
            self.log.end()
            with contextlib.suppress(OSError):
                remove_tree(self._directory / "volumes")
            if self._kubelet.network:
                self._kubelet.network.leave(self.namespace)

    def _never_started(self) -> Object | None:
        """As the kubelet says of a container that it has not started when its pod is to end."""
        pod = self._store.get("pods", *self._key)
        if not pod["spec"].get("nodeName") or pod["spec"].get("initContainers"):
            return None
        message = "The container could not be located when the pod was terminated"
        return {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": message}

    def _wait_for(self, step: Any) -> bool:
        """Try `step` until it succeeds, the pod is deleted, or it ended."""
        while not self._killed.is_set():
            current = self._store.get("pods", *self._key)
            if "deletionTimestamp" in current["metadata"] or current["status"]["phase"] == "Failed":
                return False
            if step():
                return True
            time.sleep(RETRY)
        return False

    def _place(self) -> bool:
        spec, node = self._pod["spec"], self._kubelet.node
        limits = spec["containers"][0].get("resources", {}).get("limits", {})
        lacking = [name for name in limits if "/" in name and node.gpus.get(name, 0) < int(limits[name])]
        if not spec.get("nodeSelector", {}).items() <= node.labels.items():
            return self._not_placed("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")
        if waits := self._no_room():
            return self._not_placed(waits)
        claims = (volume.get("persistentVolumeClaim", {}).get("claimName") for volume in spec.get("volumes", ()))
        for claim in filter(None, claims):
            if claim not in node.claims and self._lookup("persistentvolumeclaims", claim) is None:
                return self._not_placed(f'0/1 nodes are available: persistentvolumeclaim "{claim}" not found.')
            if claim in node.claims_elsewhere:
                return self._not_placed("0/1 nodes are available: 1 node(s) had volume node affinity conflict.")
        if lacking:
            return self._not_placed(f"0/1 nodes are available: 1 Insufficient {lacking[0]}.")
        self._store.modify("pods", *self._key, lambda item: item["spec"].update(nodeName=node.name))
        self._status(lambda status: _condition(status, "PodScheduled", "True", "", ""))
        return True

    def _no_room(self) -> str:
        room = self._kubelet.node.room
        full = room is not None and self._peers_placed() >= room
        alone = "0/1 nodes are available: 1 Too many pods." if full else ""
        return pod_groups.lacks_peers(self._store, self._pod, room) or alone

    def _peers_placed(self) -> int:
        pods = self._store.all("pods", self._key[0])
        peers = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get("lyftlearn/job") == self.job_id]
        return sum(bool(pod["spec"].get("nodeName")) for pod in peers)

    def _not_placed(self, message: str) -> bool:
        if not self._told:
            self._told = True
            self._status(lambda status: _condition(status, "PodScheduled", "False", "Unschedulable", message))
            tell(self._store, self._pod, "Pod", "FailedScheduling", message)
        return False

    def _prepare(self) -> bool:
        container = self._pod["spec"]["containers"][0]
        try:
            self._volumes.prepare()
        except sandbox.NotMounted as error:
            tell(self._store, self._pod, "Pod", "FailedMount", str(error))
            return self._waits("ContainerCreating", "")
        if container["image"] not in self._kubelet.node.images:
            return self._waits("ImagePullBackOff", f'Back-off pulling image "{container["image"]}"')
        self._pull(container["image"])
        for source in container.get("envFrom", ()):
            if self._lookup("secrets", source["secretRef"]["name"]) is None:
                return self._waits("CreateContainerConfigError", f'secret "{source["secretRef"]["name"]}" not found')
        return True

    def _pull(self, image: str) -> None:
        """The first pod pulls its image, the others find it there; the kubelet calls both Pulled."""
        pulled = self._kubelet.pulled
        words = f'Successfully pulled image "{image}" in 1s' if image not in pulled else "already present on machine"
        pulled.add(image)
        tell(self._store, self._pod, "Pod", "Pulled", words, severity="Normal")

    def _waits(self, reason: str, message: str) -> bool:
        self._main_state({"waiting": {"reason": reason, **({"message": message} if message else {})}})
        return False

    def _run_main(self) -> None:
        self._kubelet.write_hosts()
        self._waits("ContainerCreating", "")
        container = self._pod["spec"]["containers"][0]
        search = self._kubelet.node.images[container["image"]]
        started = now()
        if shutil.which(container["command"][0], path=search) is None:
            words = f'exec: "{container["command"][0]}": executable file not found in $PATH: unknown'
            self._end(
                {"exitCode": 128, "reason": "StartError", "message": words, "startedAt": started, "finishedAt": now()}
            )
            return
        for sidecar in self._pod["spec"].get("initContainers", ()):
            self._start_sidecar(sidecar)
        said = self._directory / "termination-log"
        said.touch()
        said.chmod(0o666)
        limit = sandbox.MemoryLimit(int(sandbox.number(container["resources"]["limits"]["memory"])))
        process = self._start(container, said, limit)
        self.has_started = True
        self._main_state({"running": {"startedAt": started}}, phase="Running")
        code = self._watch(process)
        limited = limit.has_killed()
        limit.remove()
        message = said.read_text(errors="replace")[-MOST_SAID:] or (self.log.tail() if code else "")
        reason = "OOMKilled" if limited and code else "Error" if code else "Completed"
        self._end({"exitCode": code, "reason": reason, "message": message, "startedAt": started, "finishedAt": now()})

    def _start(self, container: Object, said: Path, limit: sandbox.MemoryLimit) -> subprocess.Popen[bytes]:
        resolver = self._directory / "resolv.conf"
        resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        files = {"/dev/termination-log": said, "/etc/hosts": self._hosts(), "/etc/resolv.conf": resolver}
        account = write_account(self._pod, self._directory / "account", self._kubelet.authority)
        files |= {MOUNTED_AT: account} if account else {}
        reading, writing = os.pipe()
        argv = sandbox.command(container, self._pod, self._volumes, files, writing, has_network=bool(self.namespace))
        if self.namespace:
            argv = [*inside(self.namespace), *argv]
        process = subprocess.Popen(
            limit.wrap(argv),
            env=self._environment(container),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(writing,),
        )
        os.close(writing)
        self._child = sandbox.child_pid(reading)
        assert process.stdout is not None
        self.log.follow(process.stdout)
        return process

    def _hosts(self) -> Path:
        """The pod's own name; of several that know each other, the file in which all of them come and go."""
        if self._pod["spec"].get("subdomain"):
            shared: Path = self._kubelet.hosts
            return shared
        own: Path = self._directory / "hosts"
        own.write_text(f"127.0.0.1 localhost\n{self.address} {self._pod['metadata']['name'][:63]}\n")
        return own

    def _environment(self, container: Object) -> dict[str, str]:
        found = {
            "PATH": self._kubelet.node.images[container["image"]],
            "HOME": "/root",
            **self._kubelet.node.environment,
        }
        network = self._kubelet.network
        host = network.gateway if network else "127.0.0.1"
        found.update(KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT=str(self._kubelet.api_port))
        for source in container.get("envFrom", ()):
            secret, prefix = self._lookup("secrets", source["secretRef"]["name"]) or {}, source.get("prefix", "")
            # From 1.32 on every key becomes a variable (RelaxedEnvironmentVariableValidation).
            found.update(
                {prefix + key: base64.b64decode(data).decode() for key, data in secret.get("data", {}).items()}
            )
        for entry in container.get("env", ()):
            field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            fields = {"metadata.name": self._key[1], "status.podIP": self.address}
            found[entry["name"]] = fields.get(field) or entry.get("value", "")
        return found

    def _start_sidecar(self, container: Object) -> None:
        reading, writing = os.pipe()
        argv = sandbox.command(container, self._pod, self._volumes, {}, writing)
        log = (self._directory / f"{container['name']}.log").open("wb")
        with log:
            process = subprocess.Popen(
                argv, env=self._environment(container), stdout=log, stderr=log, pass_fds=(writing,)
            )
        os.close(writing)
        self._sidecars.append((process, sandbox.child_pid(reading)))

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end; on deletion SIGTERM, the grace period, SIGKILL."""
        version = 0
        while process.poll() is None:
            if self._kill_at is None and (self._eviction or self._is_to_end()):
                self._kill_at = time.monotonic() + self._grace
                self._run_hook(process, self._kill_at)
                self.signal(signal.SIGTERM)
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                self.signal(signal.SIGKILL)
            self._probe()
            version = self._store.version
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                self._store.wait(version, 0.05)
        self._child = 0  # its number may be another's by now, whom nobody here may kill
        self.log.drain()
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def _probe(self) -> None:
        """Ask the container's startup probe, and then its readiness probe in the pod's network, until it is ready."""
        container = self._pod["spec"]["containers"][0]
        probe = container.get("readinessProbe")
        if not probe or self._ready or not self._child or time.monotonic() < self._next_probe:
            return
        self._next_probe = time.monotonic() + 1
        if not self._has_started_up(container):
            return
        target = probe["httpGet"]
        url = f"http://127.0.0.1:{target['port']}{target['path']}"
        asked = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)"
        argv = sandbox.in_network(self._child, [sys.executable, "-c", asked, url])
        self._ready = subprocess.run(argv, capture_output=True, check=False).returncode == 0
        if self._ready:
            self._status(_become_ready)

    def _has_started_up(self, container: Object) -> bool:
        probe = container.get("startupProbe")
        if not probe:
            return True
        argv = sandbox.inside(self._child, probe["exec"]["command"])
        ended = subprocess.run(argv, env=self._environment(container), capture_output=True, check=False)
        return ended.returncode == 0

    def _run_hook(self, process: subprocess.Popen[bytes], kill_at: float) -> None:
        """The container's `preStop`: the kubelet signals once it has ended, or the grace period is over."""
        container = self._pod["spec"]["containers"][0]
        hook = container.get("lifecycle", {}).get("preStop")
        while hook and not sandbox.has_started(self._child) and process.poll() is None:
            time.sleep(0.001)
        if not hook or process.poll() is not None:
            return
        argv = sandbox.inside(self._child, sandbox.as_user(self._pod, hook["exec"]["command"]))
        with subprocess.Popen(argv, env=self._environment(container), stdin=subprocess.DEVNULL) as running:
            try:
                running.wait(max(0.0, kill_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.kill()

    def _is_to_end(self) -> bool:
        current = self._store.find("pods", *self._key)
        return current is None or "deletionTimestamp" in current["metadata"]

    def signal(self, number: int) -> None:
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)

    @property
    def _grace(self) -> float:
        seconds: float = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
        return seconds

    def _end_sidecars(self, terminated: Object | None) -> None:
        """Once the main container has ended: SIGTERM, the pod's grace or what is left of it, SIGKILL."""
        if terminated is not None and any(process.poll() is None for process, _ in self._sidecars):
            self._main_state({"terminated": terminated}, phase="Running")
        self._signal_sidecars(signal.SIGTERM)
        kill_at = self._kill_at or time.monotonic() + self._grace
        while time.monotonic() < kill_at and any(process.poll() is None for process, _ in self._sidecars):
            if self._killed.wait(0.02):
                break
        self._signal_sidecars(signal.SIGKILL)
        for process, _ in self._sidecars:
            process.wait()

    def _signal_sidecars(self, number: int) -> None:
        for process, child in self._sidecars:
            if process.poll() is None and child:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)

    def _end(self, terminated: Object | None) -> None:
        self._end_sidecars(terminated)
        if self._killed.is_set():
            return
        self.log.end()
        succeeded = terminated is not None and terminated["exitCode"] == 0

        def end(status: Object) -> None:
            status["phase"] = "Succeeded" if succeeded and not self._eviction else "Failed"
            if self._eviction:
                status.update(reason="Evicted", message=self._eviction)
            if terminated is not None:
                status["containerStatuses"] = [_container_status({"terminated": terminated}, self.container)]

        self._status(end)
        self._remove()

    def _remove(self) -> None:
        """Ask the API to forget the pod, if somebody deleted it: a while after its status says how it ended."""
        while not self._killed.is_set() and self._is_to_end():
            time.sleep(LAG)
            try:
                self._store.delete("pods", *self._key, grace=0)
            except ApiError:
                return

    def _main_state(self, state: Object, phase: str = "Pending") -> None:
        def change(status: Object) -> None:
            status.update(phase=phase, containerStatuses=[_container_status(state, self.container)])
            if self._pod["spec"]["containers"][0].get("readinessProbe"):
                status["containerStatuses"][0]["ready"] = False
            if "running" in state:
                status.update(podIP=self.address, podIPs=[{"ip": self.address}])
                _condition(status, "Ready", "True" if status["containerStatuses"][0]["ready"] else "False", "", "")

        self._status(change)

    def _status(self, change: Any) -> None:
        def apply(pod: Object) -> None:
            if not self._silent and pod["status"]["phase"] not in ("Failed", "Succeeded"):
                change(pod["status"])

        self._store.modify("pods", *self._key, apply)

    def _lookup(self, kind: str, name: str) -> Object | None:
        return self._store.find(kind, self._key[0], name)


def _container_status(state: Object, name: str) -> Object:
    return {"name": name, "state": state, "ready": "running" in state, "restartCount": 0, "image": "", "imageID": ""}


def _become_ready(status: Object) -> None:
    status["containerStatuses"][0]["ready"] = True
    _condition(status, "Ready", "True", "", "")


def _condition(status: Object, kind: str, value: str, reason: str, message: str) -> None:
    entry = {"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": now()}
    others = [other for other in status.get("conditions", ()) if other["type"] != kind]
    status["conditions"] = [*others, entry]
