"""One redactor for every text that leaves: messages, decisions, plans, reports, logs, and the causes of errors.

It knows what configuration and environment say is secret, and what looks like a credential in a URL.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from lyftlearn._text.display import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HIDDEN = "[hidden]"
_SHORTEST = 6  # hiding every `1` would leave nothing to read
_LONG = 20  # a part of a path that is as long is a token, not a name
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_MOST_OUTPUT = 300  # characters of what another program printed: its last words are the ones that tell
_NAMED_SO = r"[\w.-]*(?:token|secret|passw|pwd|signature|credential|api[-_]?key|access[-_]?key|private[-_]?key)"
_known: set[str] = set()


def remember(*secrets: str | None) -> None:
    """Hide these texts from now on, as they are, and as they are written in URLs."""
    for secret in secrets:
        if secret is not None and len(secret) >= _SHORTEST:
            _known.update((secret, quote(secret), quote(secret, safe="")))


def remember_url(url: str | None) -> None:
    """Hide the credentials in a URL from now on: user and password, values of its query, tokens in its path."""
    if url is not None and "://" in url:
        remember(*_secrets_of(url))


def redact(text: str) -> str:
    """Return `text` without what is known to be secret, and without credentials in URLs."""
    if "://" in text:
        text = without_credentials(text)
    text = _query_value().sub(rf"\1{HIDDEN}", text)  # of what is only the rest of a URL
    for secret in sorted(_known.union(_of_environment()), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def redact_document(text: str) -> str:
    """Return a text of a document that somebody may use, without what opens a door, and else as it is.

    Of URLs, users and passwords are hidden, and values of a query that are named like a secret. `$(NAME)` and other
    references to variables are none.
    """
    text = _user_of_url().sub(_hidden_user, text)
    text = _query_value().sub(rf"\1{HIDDEN}", text)
    for secret in sorted(_known.union(_of_environment()), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _hidden_user(user: re.Match[str]) -> str:
    harmless = re.fullmatch(r"git|(\$\(\w+\)|\$\{\w+\}|\$\w+|:)+", user[0])
    return user[0] if harmless else HIDDEN


def redact_output(text: str) -> str:
    """Return the end of what another program printed, such as one that gives credentials, without what looks secret.

    Nobody but the program knows its secrets. So more is hidden than by `redact`: values that are named like a secret,
    what follows `Bearer`, and long runs of mixed letters and digits.
    """
    return redact_printed(text[-_MOST_OUTPUT * 20 :]).strip()[-_MOST_OUTPUT:]


def redact_printed(text: str) -> str:
    """Return the same of a text that is short already, whole."""
    text = redact(text)
    for pattern, instead in secrets_in_output():
        text = pattern.sub(instead, text)
    return text


def redact_causes(error: BaseException, hide: Callable[[str], str] = redact) -> BaseException:
    """Redact what an error of another library, and whatever it came from, says of itself.

    Return it. Where its text cannot be changed, as of an OSError, return what stands for it: name and redacted text.
    """
    found = _errors_behind(error)
    shown: dict[int, BaseException] = {}
    for one in reversed(found):  # those that an error holds come before it
        _redact_fields(one, hide, shown)
        shown[id(one)] = one if _is_clean(one, hide, shown) else _stand_in(one, hide, shown)
    for one in found:
        _join_causes(one, shown)
    return shown[id(error)]


def _errors_behind(error: BaseException) -> list[BaseException]:
    """Return an error and all that it came from, or that stand in it."""
    found: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in found:
            continue
        found[id(one)] = one
        waiting += [one.__cause__, one.__context__, *(arg for arg in one.args if isinstance(arg, BaseException))]
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return list(found.values())


def _redact_fields(one: BaseException, hide: Callable[[str], str], shown: Mapping[int, BaseException]) -> None:
    one.args = tuple(hide(arg) if isinstance(arg, str) else shown.get(id(arg), arg) for arg in one.args)
    details = getattr(one, "kwargs", None)  # botocore's errors keep what their text is made of
    if isinstance(details, dict):
        details.update({key: hide(value) for key, value in details.items() if isinstance(value, str)})
    if isinstance(notes := getattr(one, "__notes__", None), list):
        notes[:] = [hide(str(note)) for note in notes]


def _is_clean(one: BaseException, hide: Callable[[str], str], shown: Mapping[int, BaseException]) -> bool:
    """Whether nothing that a traceback prints of an error is still to be hidden."""
    texts = (_words_of(one), str(getattr(one, "text", "")), str(getattr(one, "filename", "")))
    parts = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return all(hide(text) == text for text in texts) and all(shown.get(id(part), part) is part for part in parts)


def _stand_in(one: BaseException, hide: Callable[[str], str], shown: Mapping[int, BaseException]) -> BaseException:
    words = hide(_words_of(one))
    made: BaseException
    if isinstance(one, BaseExceptionGroup):
        made = BaseExceptionGroup(hide(one.message), [shown.get(id(part), part) for part in one.exceptions])
    else:
        kind = type(one)
        made = type(kind.__name__, (Exception,), {"__module__": kind.__module__})(words)
    made.__cause__, made.__context__ = one.__cause__, one.__context__
    made.__suppress_context__ = one.__suppress_context__
    return made.with_traceback(one.__traceback__)


def _join_causes(one: BaseException, shown: Mapping[int, BaseException]) -> None:
    """Let what is shown come from what is shown."""
    for link in (one, shown[id(one)]):
        suppressed = link.__suppress_context__
        link.__cause__ = shown.get(id(link.__cause__), link.__cause__)
        link.__context__ = shown.get(id(link.__context__), link.__context__)
        link.__suppress_context__ = suppressed


def _words_of(one: BaseException) -> str:
    try:
        return str(one)
    except Exception:  # noqa: BLE001 - other libraries' errors do what they like when they are asked
        return ""


def shown_url(url: str) -> str:
    """Return what a person is shown of a URL: scheme, host and port, and nothing that may open a door."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return redact(url.partition("?")[0])
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _secrets_of(url: str) -> Iterator[str]:
    user, at, _ = url.partition("://")[2].rpartition("@")
    if at:  # a user without a password is a token
        yield from (user, unquote(user), user.partition(":")[2], unquote(user.partition(":")[2]))
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    of_a_service = parts.scheme in ("http", "https")
    for name, value in parse_qsl(parts.query):
        if of_a_service or _query_value().match(f"?{name}=x"):
            yield value
    yield from (part for part in parts.path.split("/") if of_a_service and len(part) >= _LONG)


def _of_environment() -> Iterator[str]:
    for name in _SECRET_VARIABLES:
        yield from (value for value in (os.environ.get(name, ""),) if len(value) >= _SHORTEST)
    for name in _PROXY_VARIABLES:
        user, at, _ = os.environ.get(name, "").rpartition("@")
        password = user.rpartition(":")[2] if at else ""
        yield from (text for text in {password, unquote(password)} if len(text) >= _SHORTEST)


@cache
def _user_of_url() -> re.Pattern[str]:
    return re.compile(r"(?<=://)[^/\s'\"\\]+(?=@)")


@cache
def _query_value() -> re.Pattern[str]:
    names = "token|secret|passw|pwd|signature|credential|auth|api[-_]?key|access[-_]?key|security|sig"
    return re.compile(rf"([?&][\w.-]*(?:{names})[\w.-]*=)[^&\s'\"<>)]+", re.IGNORECASE)


@cache
def secrets_in_output() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return what looks secret in a text that another program wrote, and what to write instead."""
    run = r"[\w+=~-]"
    mixed = re.compile(rf"(?<!{run})(?={run}*[a-z])(?={run}*[A-Z])(?={run}*\d){run}{{32,}}")
    patterns = (
        (rf"""(["']{_NAMED_SO}\w*["']\s*:\s*)("[^"]*"|'[^']*'|["'].*)""", rf"\1{HIDDEN}"),
        (rf"(\b{_NAMED_SO}\w*\s*=\s*)\S+", rf"\1{HIDDEN}"),
        (rf"(--{_NAMED_SO}\w*\s+)\S+", rf"\1{HIDDEN}"),
        (rf"(\b{_NAMED_SO}\w*\s*:\s*)[\w+/=~.-]{{16,}}", rf"\1{HIDDEN}"),
        (r"(\b(?:bearer|basic)\s+)[\w+/=~.-]{8,}", rf"\1{HIDDEN}"),
    )
    known = tuple((re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in patterns)
    return (*known, (re.compile(r"\beyJ[\w-]+\.[\w.-]+"), HIDDEN), (mixed, HIDDEN))
