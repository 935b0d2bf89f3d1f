"""Where this container runs, by evidence that only the substrates leave."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KUBERNETES = "kubernetes"
SERVING = "kubernetes-serving"
TRAINING = "sagemaker-training"
STUDIO = "sagemaker-studio"
HOSTING = "sagemaker-serving"
LOCAL = "local"
SUBSTRATES = (KUBERNETES, SERVING, TRAINING, STUDIO, HOSTING, LOCAL)

FORCED = "LYFTLEARN_SUBSTRATE"
SERVICE_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
PROJECTED_BUNDLE = "var/run/lyftlearn/bundle.json"
RESOURCE_CONFIG = "opt/ml/input/config/resourceconfig.json"
STUDIO_METADATA = "opt/ml/metadata/resource-metadata.json"
SERVING_VARIABLES = ("K_SERVICE", "K_REVISION", "SELDON_DEPLOYMENT_ID", "PREDICTIVE_UNIT_ID")


class Detection:
    """A substrate and the evidence for it."""

    def __init__(self, substrate: str, evidence: list[str]) -> None:
        self.substrate = substrate
        self.evidence = evidence


def detect(environ: Mapping[str, str], root: str = "/") -> Detection:
    """The substrate, by the first rule that holds.

    1. The variable LYFTLEARN_SUBSTRATE.
    2. Studio's metadata file with an AppType: nothing else writes it.
    3. A service account, a bundle projected into a pod, or KUBERNETES_SERVICE_HOST: a pod, whatever lies in /opt/ml,
       because images are built with /opt/ml in them. With a serving system's variable and no bundle, a serving pod.
    4. SageMaker's resource configuration or TRAINING_JOB_* variables.
    5. Otherwise this machine.
    """
    forced = environ.get(FORCED)
    if forced:
        return Detection(forced, [f"variable {FORCED}={forced}"])
    for substrate, evidence in _findings(environ, root):
        if evidence:
            return Detection(substrate, evidence)
    return Detection(LOCAL, ["no evidence of another substrate"])


def _findings(environ: Mapping[str, str], root: str) -> list[tuple[str, list[str]]]:
    pod = _files(root, SERVICE_ACCOUNT, PROJECTED_BUNDLE) + _variables(environ, "KUBERNETES_SERVICE_HOST")
    serving = [] if _files(root, PROJECTED_BUNDLE) or not pod else _variables(environ, *SERVING_VARIABLES)
    training = _files(root, RESOURCE_CONFIG) + _variables(environ, "TRAINING_JOB_NAME", "TRAINING_JOB_ARN")
    return [
        (STUDIO, _studio(root)),
        (SERVING, pod + serving if serving else []),
        (KUBERNETES, pod),
        (TRAINING, training),
    ]


def _files(root: str, *paths: str) -> list[str]:
    return [f"path /{path}" for path in paths if os.path.exists(os.path.join(root, path))]


def _variables(environ: Mapping[str, str], *names: str) -> list[str]:
    return [f"variable {name}" for name in names if name in environ]


def _studio(root: str) -> list[str]:
    path = os.path.join(root, STUDIO_METADATA)
    if not os.path.exists(path):
        return []
    import json

    try:
        with open(path, encoding="utf-8") as file:
            app = json.load(file).get("AppType")
    except (OSError, ValueError, AttributeError):
        return []
    return [f"path /{STUDIO_METADATA} with AppType {app}"] if app else []
