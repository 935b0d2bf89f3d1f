"""What `lyftlearn` needs of `typing` at run time. To load that module would take longer than all of our import."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _T = TypeVar("_T")

Any = object
"""For whoever evaluates annotations, as the class below."""


class Literal:
    """Becomes `typing.Literal` where somebody evaluates an annotation."""

    def __class_getitem__(cls, values: object) -> object:
        """Return what `typing` has for these values."""
        import typing  # noqa: PLC0415 - as said

        return typing.Literal[values]


def cast(_: object, value: _T) -> _T:
    """Return the value as it is."""
    return value
