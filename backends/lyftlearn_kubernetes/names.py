"""What an API server takes as names, labels and annotations.

By apimachinery's util/validation: IsDNS1123Subdomain, IsQualifiedName and IsValidLabelValue. Kueue's webhook takes the
name of a queue or a priority class, which is the value of a label, only if an object can have it
(kubernetes-sigs/kueue, pkg/controller/jobframework/validation.go, ValidateLabelAsCRDName).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lyftlearn.backend import options

if TYPE_CHECKING:
    from collections.abc import Mapping

_DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_PART = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = options.matching(rf"((?=[^/]{{1,253}}/){_DNS}/)?{_PART}", "")


def _annotations(value: Any) -> Mapping[str, Any]:
    table: Mapping[str, Any] = options.TEXT_TABLE.read(value)
    for key in table:
        _KEY.read(key.lower())  # as the server does
    return table


OBJECT_NAME = options.matching(
    rf"(?=.{{1,253}}$){_DNS}", "a name as Kubernetes has them: lower-case letters, digits, '-' and '.'"
)
LABELLED_NAME = options.matching(
    rf"(?=.{{1,63}}$){_DNS}", "a name as Kubernetes has them: lower-case letters, digits, '-' and '.', at most 63"
)
LABELS = options.mapping_of(
    options.matching(rf"({_PART})?", ""),
    "a table of labels as Kubernetes has them: letters, digits, '-', '_' and '.', at most 63",
    _KEY,
)
ANNOTATIONS = options.Kind(
    "a table of texts, whose keys are those of labels of Kubernetes", _annotations, options.TEXT_TABLE.schema
)
