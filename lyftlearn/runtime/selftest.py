"""The tests that a model brings along: requests, and the answers that a server of this model must give.

They lie beside the model, in its directory `selftest`: `<name>.request.<ext>` is the body of a request, and
`<name>.expected.<ext>` the body of its answer. The extension of the request says its Content-Type. An answer that is
expected as `.json` is compared as JSON, numbers within a tolerance that other processors need; any other byte for byte.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORY = "selftest"
INVOCATIONS, PING = "/invocations", "/ping"
CONTENT_TYPES = {"json": "application/json", "jsonl": "application/jsonlines", "csv": "text/csv", "txt": "text/plain"}
ANYTHING = "application/octet-stream"
SECONDS_TO_PING = 2.0
SECONDS_TO_ANSWER = 60.0
"""Both as SageMaker has them: a ping must be answered within 2 seconds, a request within 60 (its documentation, "Use
Your Own Inference Code with Hosting Services")."""
RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""How far two numbers may be apart that count as equal: about what single precision keeps."""
LARGEST_ANSWER = 64 << 20
"""Bytes of an answer that are read: a server that writes without an end must not fill the memory of its container."""
PIECE = 1 << 16
LONGEST_QUOTE = 200
SERVED = 200
FAILURES = (OSError, http.client.HTTPException)
"""What comes of a request that gets no whole answer."""


class SelfTestFault(Exception):
    """The files are no tests, and why."""


class SelfTest:
    """One request with the answer that is expected."""

    def __init__(self, name: str, request: str, expected: str) -> None:
        self.name = name
        self.request = _read(request)
        self.expected = _read(expected)
        self.content_type = CONTENT_TYPES.get(_extension(request), ANYTHING)
        self.compares_json = _extension(expected) == "json"

    def fault(self, port: int) -> str | None:
        """What is wrong with the answer of the server at `port`; None if it is the expected one."""
        try:
            problem = self.problem(*self.ask(port))
        except FAILURES as error:
            problem = failure_text(error)
        return f"{self.name}: {problem}" if problem else None

    def ask(self, port: int) -> tuple[int, bytes]:
        """Status and body of what the server at `port` answers. Raises one of FAILURES."""
        return invoke(port, self.request, self.content_type)

    def problem(self, status: int, answer: bytes) -> str | None:
        """What is wrong with an answer; None if it is the expected one."""
        if status != SERVED:
            return f"answered {status}, expected {SERVED}: {quote(answer)}"
        return self.difference(answer, self.expected)

    def difference(self, answer: bytes, other: bytes) -> str | None:
        """Where an answer differs from another; None if they mean the same."""
        return json_difference(answer, other) if self.compares_json else _difference(answer, other)


def load(model: str) -> list[SelfTest]:
    """The tests of the model in that directory, by name. Raises SelfTestFault, naming every file that is none."""
    directory = os.path.join(model, DIRECTORY)
    if not os.path.isdir(directory):
        return []
    files, faults = _files(directory)
    for name, pair in files.items():
        faults += [f"{name} has no file of {role}" for role in ("request", "expected") if role not in pair]
    if faults:
        raise SelfTestFault(f"{DIRECTORY}: {'; '.join(faults)}")
    return [SelfTest(name, pair["request"], pair["expected"]) for name, pair in sorted(files.items())]


def _files(directory: str) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The files of each test by their role, and what is wrong with others."""
    files: dict[str, dict[str, str]] = {}
    faults = []
    for file in sorted(os.listdir(directory)):
        name, role, _ = _parts(file)
        if role not in ("request", "expected"):
            faults.append(f"{file} is neither <name>.request.<ext> nor <name>.expected.<ext>")
        elif role in files.setdefault(name, {}):
            faults.append(f"{name} has two files of {role}")
        else:
            files[name][role] = os.path.join(directory, file)
    return files, faults


def answers_ping(port: int) -> bool:
    """Whether the server is ready, as SageMaker asks it."""
    try:
        return _ask(port, SECONDS_TO_PING, "GET", PING)[0] == SERVED
    except FAILURES:
        return False


def invoke(port: int, body: bytes, content_type: str) -> tuple[int, bytes]:
    """Status and body of what a server of this container answers to a request."""
    return _ask(port, SECONDS_TO_ANSWER, "POST", INVOCATIONS, body, {"Content-Type": content_type})


def failure_text(error: Exception) -> str:
    """What is said of a request that got no whole answer."""
    return f"no answer: {type(error).__name__}: {error}"


def _ask(port: int, seconds: float, *request: Any) -> tuple[int, bytes]:
    deadline = time.monotonic() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(*request)
        response = connection.getresponse()
        return response.status, _body(response, deadline)
    finally:
        connection.close()


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole of an answer. Its length and its time are bounded, however a server writes it."""
    found, left = bytearray(), response.length  # counted here: `read1` does not, up to Python 3.12
    while left is None or left > 0:
        piece = response.read1(PIECE if left is None else min(PIECE, left))
        if not piece:
            break
        found += piece
        left = None if left is None else left - len(piece)
        _check_bounds(len(found), deadline)
    if left:
        raise http.client.IncompleteRead(bytes(found), left)
    return bytes(found)


def _check_bounds(size: int, deadline: float) -> None:
    if size > LARGEST_ANSWER:
        raise http.client.HTTPException(f"it has more than {LARGEST_ANSWER >> 20} MiB")
    if time.monotonic() > deadline:
        raise TimeoutError("it did not come to an end in time")


def json_difference(answer: bytes, expected: bytes) -> str | None:
    """Where two JSON documents differ first; None if they mean the same."""
    try:
        wanted = json.loads(expected)
    except (ValueError, RecursionError) as error:
        return f"what is expected is no JSON: {error}"
    try:
        return _first_difference(json.loads(answer), wanted, "")
    except (ValueError, RecursionError):
        return f"answered no JSON: {quote(answer)}"


def _first_difference(given: Any, wanted: Any, path: str) -> str | None:
    if isinstance(wanted, dict) and isinstance(given, dict) and given.keys() == wanted.keys():
        pairs = [(given[key], wanted[key], f"{path}.{key}") for key in wanted]
    elif isinstance(wanted, list) and isinstance(given, list) and len(given) == len(wanted):
        pairs = [(one, other, f"{path}[{at}]") for at, (one, other) in enumerate(zip(given, wanted))]
    elif _are_alike(given, wanted):
        return None
    else:
        return f"answered {_json_text(given)}, expected {_json_text(wanted)}{f' at {path}' if path else ''}"
    return next(filter(None, (_first_difference(*pair) for pair in pairs)), None)


def _are_alike(given: Any, wanted: Any) -> bool:
    if _is_number(given) and _is_number(wanted):
        return given == wanted or _are_close(given, wanted)
    return type(given) is type(wanted) and bool(given == wanted)


def _are_close(given: Any, wanted: Any) -> bool:
    try:
        same = math.isnan(given) and math.isnan(wanted)
        return same or math.isclose(given, wanted, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    except OverflowError:  # a whole number that is larger than any other kind
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _difference(answer: bytes, expected: bytes) -> str | None:
    return None if answer == expected else f"answered {quote(answer)}, expected {quote(expected)}"


def _json_text(value: Any) -> str:
    try:
        return json.dumps(value)[:LONGEST_QUOTE]
    except ValueError:  # Python writes no whole number of so many digits
        return "a very large number"


def quote(content: bytes) -> str:
    """The beginning of a body, as a text on one line."""
    return repr(content[:LONGEST_QUOTE].decode("utf-8", "replace"))


def _parts(file: str) -> tuple[str, str, str]:
    """Name, role and extension of a file."""
    name, _, rest = file.partition(".")
    for role in ("request", "expected"):
        stem, found, extension = file.rpartition(f".{role}.")
        if found and stem and extension:
            return stem, role, extension
    return name, "", rest


def _extension(path: str) -> str:
    return path.rpartition(".")[2]


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
