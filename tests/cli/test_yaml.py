"""Plans as YAML: what kubectl and others read must be what was planned."""

from __future__ import annotations

from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import example, given
from hypothesis import strategies as st

from lyftlearn.cli import _yaml

TEXTS = st.text(max_size=30)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
@example({"\x85": "a\u2028b"})
def test_what_was_written_is_read(value: Any) -> None:
    """A plan that changes on its way to the cluster shows another job than the one that is sent."""
    assert yaml.safe_load(_yaml.document(value)) == value


@pytest.mark.parametrize(
    "text", ["1e3", "y", "N", "off", "0o17", "0x1F", "1_000", "12:30:45", "2026-01-31", "~", ".inf", "=", "<<", "null"]
)
def test_what_parsers_disagree_about_is_quoted(text: str) -> None:
    """YAML 1.1 and 1.2 differ in what a plain word means; a value of `env` is a text in both."""
    assert _yaml.document({"value": text}) == f"value: '{text}'\n"


def test_only_eyes_get_less() -> None:
    """The runtime's archive would fill the screen; whatever is piped is whole."""
    body = {"binaryData": {"runtime.pyz": "QUJD" * 1000}}
    assert yaml.safe_load(_yaml.document(body)) == body
    assert len(_yaml.document(body, short=True)) < 300
