"""What a report of the probe may tell of values that could be secret.

Values of secrets, and of variables that could be credentials, become fingerprints under the key of a run. Equal values
have equal fingerprints, and without the key, which no report holds, nobody can try guesses against them. What changes
with every run, the job's id and the host's name, is masked.

Travels with `probe.py` into containers: Python 3.8 and newer, standard library only.
"""

from __future__ import annotations

import hashlib
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST = 300
"""Characters up to which a value is told; of longer ones the length and a fingerprint."""
STATSD_PORT = "8125"
# Names and values that could be credentials. Too much is hidden rather than too little: what is hidden still compares.
SECRET_NAME = re.compile(
    r"PASS|PWD$|SECRET|TOKEN|KEY|CREDENTIAL|AUTH|COOKIE|PRIVATE|SIGNATURE|DSN|WEBHOOK|CONNECTION|CERT", re.IGNORECASE
)
SECRET_VALUE = re.compile(
    r"://[^/\s]*@|-----BEGIN|\beyJ[\w-]+\.|(?<![\w+=-])(?=[\w+=-]*\d)(?=[\w+=-]*[A-Za-z])[\w+=-]{24,}", re.ASCII
)
OPEN = re.compile(r"LYFTLEARN_\w+|PARITY_\w+|(OLD)?PWD|SSL_CERT_(FILE|DIR)|AWS_CONFIG_FILE|PYTHON\w+|LC_\w+")
"""Names that only look like those of credentials."""


class Redactor:
    """Hides values of secrets, and masks what changes with every run."""

    def __init__(self, key: bytes, secrets: list[bytes], masks: dict[str, str]) -> None:
        self._key = key
        whole = [value.decode("utf-8", "replace").rstrip("\r\n") for value in secrets]
        texts = {text for value in whole for text in (value, *value.splitlines())}
        self._secrets = sorted((text for text in texts if text), key=len, reverse=True)
        self._masks = sorted(((text, mask) for text, mask in masks.items() if text), key=lambda pair: -len(pair[0]))

    def fingerprint(self, value: bytes) -> str:
        """Tell equal values from others, and nothing else."""
        return "#" + hashlib.blake2b(value, key=self._key, digest_size=8).hexdigest()

    def shape(self, value: bytes) -> dict[str, Any]:
        """What may be told of a secret: of the whole, without newlines at its end, and of each of its lines."""
        bare = value.rstrip(b"\r\n")
        return {
            "length": len(bare),
            "newlines": len(value) - len(bare),
            "characters": classes(bare.decode("utf-8", "replace")),
            "value": self.fingerprint(bare),
            "lines": [[len(line), self.fingerprint(line)] for line in bare.splitlines()],
        }

    def variable(self, name: str, value: str) -> str:
        """A variable's value, or its fingerprint where it could be a credential."""
        if name == "STATSD_PORT" and value != STATSD_PORT:
            return "<another port>"  # of many free ones
        masked = self._mask(value)
        looks_secret = SECRET_NAME.search(name) or SECRET_VALUE.search(masked)
        if looks_secret and not OPEN.fullmatch(name) and masked:
            return self._hidden(masked)
        return self.text(value)

    def text(self, value: str) -> str:
        """A text without values of secrets, cut to its length and fingerprint where it is long."""
        for secret in self._secrets:
            # A secret of a few characters would be found in every word: it is one only where it is all there is.
            if value == secret or (len(secret) > 3 and secret in value):
                value = value.replace(secret, self._hidden(secret))
        value = self._mask(value)
        return value if len(value) <= LONGEST else self._hidden(value)

    def _mask(self, value: str) -> str:
        for text, mask in self._masks:
            value = value.replace(text, mask)
        return value

    def _hidden(self, value: str) -> str:
        return f"<{len(value)} characters {self.fingerprint(value.encode('utf-8', 'surrogateescape'))}>"


def classes(text: str) -> list[str]:
    """Which kinds of characters are in a text."""
    kinds_of = {
        "lower": str.islower,
        "upper": str.isupper,
        "digit": str.isdigit,
        "space": lambda one: one == " ",
        "newline": lambda one: one in "\r\n",
        "other": lambda one: not one.isalnum() and one not in " \r\n",
    }
    return [name for name, belongs in kinds_of.items() if any(map(belongs, text))]
