"""Durations and Kubernetes quantities."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lyftlearn._text.quantities import duration, quantity, readable


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("4h", 14400), ("2d", 172800), ("1h30m", 5400), ("0.5s", 0.5), ("1d12h", 129600)]
)
def test_durations(text: str, seconds: float) -> None:
    """The forms that the API documents."""
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "h", "4 h", "-4h", "4H", "1h30", "4hours"])
def test_what_is_no_duration(text: str) -> None:
    """A number without its unit is the mistake that turns minutes into seconds."""
    with pytest.raises(ValueError, match="write a timedelta"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1Ki", 1024),
        ("512Mi", 512 * 1024**2),
        ("2G", 2 * 10**9),
        ("1.5Gi", 3 * 2**29),
        ("1e3", 1000),
        ("100m", 1),
        ("7", 7),
    ],
)
def test_quantities(text: str, size: int) -> None:
    """Kubernetes' own forms, rounded up to whole bytes as Kubernetes does."""
    assert quantity(text) == size


@pytest.mark.parametrize("text", ["", "Gi", "16 GB", "16GB", "-1Gi", "1ki", "1e999", "0x10"])
def test_what_is_no_quantity(text: str) -> None:
    """`GB` is what people write and Kubernetes refuses."""
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


@pytest.mark.parametrize(("size", "text"), [(0, "0"), (1536, "1.5Ki"), (2**30, "1Gi"), (3 * 2**40, "3Ti")])
def test_readable(size: int, text: str) -> None:
    """Messages say sizes in the units that users write."""
    assert readable(size) == text
