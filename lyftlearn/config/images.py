"""`[images]`: what an image that call sites name is called on each backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lyftlearn._contract.fault import Fault
from lyftlearn._contract.options import display_value

ANY = "*"
_REMEDY = 'write a table of backends and their images, such as { sagemaker = "..." }'


def image_on(backend: str, image: str, images: Mapping[str, Mapping[str, str]]) -> str:
    """Return what `image` is called on `backend`: its own entry's word, else that of the longest name with `*`.

    A name that ends in `*` stands for all that begin so; the rest takes the place of the `*` in the backend's own. What
    has no entry, or none for this backend, keeps its name.
    """
    known = {name: entry[backend] for name, entry in images.items() if backend in entry}
    if image in known:
        return known[image]
    fitting = [name for name in known if name.endswith(ANY) and image.startswith(name.removesuffix(ANY))]
    if not fitting:
        return image
    nearest = max(fitting, key=len)
    return known[nearest].replace(ANY, image.removeprefix(nearest.removesuffix(ANY)))


def image_faults(where: str, images: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the table `[images]`."""
    for name, entry in images.items():
        if not isinstance(entry, Mapping):
            yield Fault(f"{where}.{name}", f"is {display_value(entry)}: {_REMEDY}")
            continue
        if ANY in name.removesuffix(ANY):
            yield Fault(f"{where}.{name}", f"has {ANY} before its end: it may only stand for how names go on")
        for backend, image in entry.items():
            yield from _entry_faults(f"{where}.{name}.{backend}", image, open_ended=name.endswith(ANY))


def _entry_faults(where: str, image: Any, *, open_ended: bool) -> Iterator[Fault]:
    if not isinstance(image, str) or not image:
        yield Fault(where, f"is {display_value(image)}: write an image")
    elif image.count(ANY) > open_ended:
        yield Fault(where, f"is {display_value(image)}: {ANY} may stand once, and only where the name ends in it")
