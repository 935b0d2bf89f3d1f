"""`[kubernetes.notebook]`: how notebooks are reached, and where their files are."""

from __future__ import annotations

from typing import NamedTuple

from lyftlearn.backend import Option, options

DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME = options.matching(DNS_LABEL, "a DNS label: lower-case letters, digits and '-', at most 63")
_QUANTITY = options.matching(r"[1-9][0-9]*(Ki|Mi|Gi|Ti)", 'a size such as "20Gi"')
_ADDRESS = options.matching(
    r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?", 'a URL such as "https://notebooks.example.com"'
)
NOTEBOOK_OPTIONS = (
    Option(
        key="ingress",
        kind=_ADDRESS,
        doc="The URL of the ingress through which notebooks are opened. Without it their port is forwarded.",
        example="https://notebooks.example.com",
    ),
    Option(
        key="ingress_class",
        kind=options.TEXT,
        doc="The IngressClass of their Ingress; the cluster's default, where it is not set.",
        example="nginx",
    ),
    Option(
        key="ingress_namespace",
        kind=NAME,
        default="ingress-nginx",
        doc="The namespace of the ingress controller: pods there, and no others, may connect to notebooks.",
        example="ingress-nginx",
    ),
    Option(
        key="storage_class",
        kind=options.TEXT,
        doc="The StorageClass of the claim of a notebook's files; the cluster's default, where it is not set.",
        example="gp3",
    ),
    Option(
        key="size", kind=_QUANTITY, default="20Gi", doc="How much room the files of a notebook have.", example="100Gi"
    ),
)


class NotebookOptions(NamedTuple):
    """`[kubernetes.notebook]`: how notebooks are reached, and where their files are."""

    ingress_namespace: str
    size: str
    ingress: str | None = None
    ingress_class: str | None = None
    storage_class: str | None = None
