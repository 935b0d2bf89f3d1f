"""How the documentation becomes a site: `make docs`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import metadata
from typing import Any

project = "lyftlearn"
version = release = metadata.version(project)
author = "the authors of lyftlearn"
html_title = "lyftlearn"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["api"]

# A forge shows the same pages, so they stay plain Markdown. Links to headings use the names that forges give them.
myst_heading_anchors = 4
highlight_language = "none"  # indented blocks are terminal sessions

# Nothing is fetched: neither fonts nor scripts, and no inventory of another project.
html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
# For programs, at addresses that stay: what this is in one page (llmstxt.org), and the schemas.
html_extra_path = ["llms.txt", "reference/lyftlearn.schema.json", "reference/lyftlearn-json.schema.json"]
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # a page that was opened from a disk may not fetch others

# Docstrings are plain text: code stands in single backticks, and a line "name: text" explains an argument.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"JSON": "JSON", "Duration": "Duration"}
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Types of the standard library have no page here.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!lyftlearn).*"), ("py:.*", r"lyftlearn\._.*")]


def _with_fields(names: set[str], lines: list[str]) -> Iterator[str]:
    """Yield a docstring in which each paragraph about arguments has become a field of them."""
    within = False
    for line in lines:
        subject, colon, text = line.partition(":")
        starts = bool(colon) and names.issuperset(subject.split(", "))
        within = starts or (within and bool(line))
        yield f":param {subject}:{text}" if starts else f"    {line}" if within else line


def _with_list(names: set[str], lines: list[str]) -> Iterator[str]:
    """Yield a docstring in which each paragraph that explains fields one after another has become a list of them."""
    field = rf"(?:{'|'.join(names)})"
    subject = rf"{field}(?:, {field})*(?: \([^)]*\))?: "
    for paragraph in "\n".join(lines).split("\n\n"):
        if re.match(subject, paragraph):
            yield from (f"* {item}" for item in re.split(rf"(?<=\.) (?={subject})", " ".join(paragraph.split())))
        else:
            yield from paragraph.split("\n")
        yield ""


def _read_docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    if what in ("function", "method"):
        lines[:] = _with_fields({*inspect.signature(value).parameters}, lines)
    elif names := {*getattr(value, "__dataclass_fields__", ()), *getattr(value, "__members__", ())}:
        lines[:] = _with_list(names, lines)


def _name_aliases(app: Any, what: str, name: str, value: Any, options: Any, signature: str, returned: str) -> Any:
    """Show an alias of a type by its name also where it stands within another type."""
    return [text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in (signature, returned)]


def _name_code_blocks(app: Any, docname: str, source: list[str]) -> None:
    """Give a block its file's name as a caption, where a page writes `title` for it."""
    pattern = r'^```(\w+) title="([^"]+)"$'
    source[0] = re.sub(pattern, r"```{code-block} \1\n:caption: \2", source[0], flags=re.MULTILINE)


def setup(app: Any) -> None:
    """Connect what Sphinx does not do by itself."""
    app.connect("autodoc-process-docstring", _read_docstring)
    app.connect("autodoc-process-signature", _name_aliases)
    app.connect("source-read", _name_code_blocks)
