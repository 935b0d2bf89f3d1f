"""What the command sees, as far as a backend can lose it on the way: arguments, variables, hyperparameters, source."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lyftlearn.backend import Capability
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import JobKind

ARGUMENTS = [
    "", " ", "a b", "'", '"', "\\", "\\n", "\n", "two\nlines", "\t", "*", "?", "~", "$HOME", "$$", "`id`", "$(NOT_SET)",
    ";", "|", "&&", ">", "#", "!", "%s", "{}", "{{x}}", "--flag=a b", "-", "--", "é", "\U0001f697", "a'b\"c", "null",
    "007",
]  # fmt: skip
ARGUMENTS_SEEN = [{"$$": "$"}.get(argument, argument) for argument in ARGUMENTS]

VALUES = {
    "X": "1",
    "EMPTY": "",
    "SPACES": "  a  b  ",
    "QUOTES": 'it\'s "quoted" \\ `here`',
    "LINES": "one\ntwo\n\n",
    "UNICODE": "café \U0001f697",
    "JSON": '{"a": ["$x", null]}',
    "NUMBER": "007",
    "EQUALS": "a=b=c",
    "REFERENCE": "a$(X)b",
    "ESCAPED": "$$(X)",
    "UNKNOWN": "$(NOT_SET)",
    "LATER": "$(Z_LAST)",
    "SHELL": "$X ${X} `X`",
    "Z_LAST": "last",
}
VALUES_SEEN = {**VALUES, "REFERENCE": "a1b", "ESCAPED": "$(X)"}

HYPERPARAMETERS: dict[str, Any] = {
    "version": "1.10",
    "zeros": "007",
    "text of true": "true",
    "true": True,
    "false": False,
    "null": None,
    "one": 1,
    "one point zero": 1.0,
    "tiny": 5e-324,
    "huge": 1e308,
    "big": 2**70,
    "minus zero": -0.0,
    "empty": "",
    "spaces": "  ",
    "quotes": 'it\'s "quoted" \\',
    "lines": "one\ntwo\r\n",
    "unicode": "café \U0001f697 \u2028",
    "reference": "$(HOME) $$(HOME) $HOME {{x}} %s",
    "list": [1, "1", [], {}, None, [True]],
    "nested": {"a": {"b": {"": [0.1, -1]}}},
    "": "no name",
    "with space": 1,
    "ümlaut": 1,
}


class CommandConformance(Fixtures):
    """Zero code change: what was written at the call site is what the command gets."""

    def test_arguments_arrive_as_they_were(self, harness: Harness) -> None:
        """No shell, template or list of a substrate may touch them; only `$(NAME)` and `$$` mean something."""
        code = "import json, sys; print(json.dumps(sys.argv[1:]))"
        lines = harness.output_lines(harness.spec(command=harness.python(code, *ARGUMENTS)))
        assert json.loads(lines[0]) == ARGUMENTS_SEEN

    def test_variables_in_the_command(self, harness: Harness) -> None:
        """`$(NAME)` is how a command names its variables without a shell, as on Kubernetes."""
        code = "import json, sys; print(json.dumps(sys.argv[1:]))"
        command = harness.python(code, "$(REGION)", "--region=$(REGION)-$(MISSING)", "$$(REGION)")
        lines = harness.output_lines(harness.spec(command=command, env={"REGION": "sfo"}))
        assert json.loads(lines[0]) == ["sfo", "--region=sfo-$(MISSING)", "$(REGION)"]

    def test_odd_values_of_variables(self, harness: Harness) -> None:
        """Quotes and newlines are lost where somebody builds a line of shell; references go by Kubernetes' rules."""
        code = "import json, os, sys; print(json.dumps({name: os.environ.get(name) for name in sys.argv[1:]}))"
        lines = harness.output_lines(harness.spec(command=harness.python(code, *VALUES), env=VALUES))
        assert json.loads(lines[0]) == VALUES_SEEN

    def test_many_variables(self, harness: Harness) -> None:
        """A substrate's own limit, such as a hundred, is not the user's."""
        env = {f"VARIABLE_{number}": f"value {number}" for number in range(300)}
        assert _digest_of_environment(harness, env) == _digest(env)

    def test_a_large_variable(self, harness: Harness) -> None:
        """Configuration travels in variables, and some substrates cut them at 512 characters."""
        env = {"LARGE": "0123456789" * 10240, "SMALL": "1"}
        assert _digest_of_environment(harness, env) == _digest(env)

    def test_hyperparameters_keep_their_types(self, harness: Harness) -> None:
        """A version that becomes a number, or a truth that becomes a text, trains another model."""
        spec = harness.spec(_READ_HYPERPARAMETERS + "print(text)", hyperparameters=json.dumps(HYPERPARAMETERS))
        assert harness.output_lines(spec)[0] == _canonical(HYPERPARAMETERS)

    def test_large_hyperparameters(self, harness: Harness) -> None:
        """A list of features is a hyperparameter too."""
        large = {"features": [f"feature {number}" for number in range(100_000)]}
        code = _READ_HYPERPARAMETERS + "import hashlib; print(hashlib.sha256(text.encode()).hexdigest())"
        lines = harness.output_lines(harness.spec(code, hyperparameters=json.dumps(large)))
        assert lines == [hashlib.sha256(_canonical(large).encode()).hexdigest()]

    def test_no_hyperparameters_are_an_empty_object(self, harness: Harness) -> None:
        """Code that reads them need not ask whether there are any."""
        assert harness.output_lines(harness.spec(_READ_HYPERPARAMETERS + "print(text)")) == ["{}"]

    def test_the_job_knows_itself(self, harness: Harness) -> None:
        """Programs name their metrics and artifacts after these."""
        names = ("JOB_ID", "JOB_NAME", "JOB_KIND", "MODEL", "ATTEMPT", "CONTRACT", "NODES", "NODE_RANK")
        code = f"import os; print([os.environ.get('LYFTLEARN_' + name) for name in {names}])"
        spec = harness.spec(code, kind=JobKind.TRAIN)
        assert harness.output_lines(spec) == [str([spec.id, spec.name, "train", spec.name, "1", "1", "1", "0"])]

    def test_source_is_the_working_directory(self, harness: Harness) -> None:
        """`python3 train.py` is what most call sites say, and it imports its neighbours."""
        files = {
            "train.py": b"import os, helpers.words\nprint(helpers.words.HELLO)\n"
            b"print(os.getcwd() == os.path.realpath(os.environ['LYFTLEARN_SOURCE_DIR']))\n",
            "helpers/words.py": "HELLO = 'hello, café'\n".encode(),
        }
        command = (*harness.python("")[:-2], "train.py")
        spec = harness.spec(command=command, source=harness.put_source(files))
        assert harness.output_lines(spec) == ["hello, café", "True"]

    def test_paths_of_the_contract(self, harness: Harness) -> None:
        """Code written against `/lyftlearn/...` must find it where the backend says that it is real."""
        code = """
            import os
            for name in ("INPUTS", "OUTPUTS", "MODEL", "CHECKPOINTS", "SOURCE"):
                path = os.environ[f"LYFTLEARN_{name}_DIR"]
                assert os.path.isdir(path), path
                print(path)
        """
        harness.expect(Capability.CONTRACT_PATHS)
        seen = harness.output_lines(harness.spec(code))
        assert seen == [f"/lyftlearn/{name}" for name in ("inputs", "outputs", "model", "checkpoints", "source")]

    def test_standard_input_is_empty(self, harness: Harness) -> None:
        """A program that asks a question must see the end of its input, not wait for ever."""
        assert harness.output_lines(harness.spec("import sys; print(repr(sys.stdin.read()))")) == ["''"]


_READ_HYPERPARAMETERS = """
import json, os
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
    text = json.dumps(json.load(file), sort_keys=True)
"""


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _digest(value: object) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _digest_of_environment(harness: Harness, env: dict[str, str]) -> str:
    code = """
        import hashlib, json, os, re
        seen = {name: value for name, value in os.environ.items() if re.match(r"VARIABLE_|LARGE$|SMALL$", name)}
        print(hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest())
    """
    return harness.output_lines(harness.spec(code, env=env))[0]
