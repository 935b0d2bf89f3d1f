"""`$(NAME)`, against the vectors that Kubernetes publishes with its own implementation (Apache-2.0)."""

import pytest

from lyftlearn.runtime.expansion import expand, expand_in_order, service_variables

VALUES = {"VAR_A": "A", "VAR_B": "B", "VAR_C": "C", "VAR_REF": "$(VAR_A)", "VAR_EMPTY": ""}
# third_party/forked/golang/expansion/expand_test.go: name, input, expected
VECTORS = [
    ("whole string", "$(VAR_A)", "A"),
    ("repeat", "$(VAR_A)-$(VAR_A)", "A-A"),
    ("beginning", "$(VAR_A)-1", "A-1"),
    ("middle", "___$(VAR_B)___", "___B___"),
    ("end", "___$(VAR_C)", "___C"),
    ("compound", "$(VAR_A)_$(VAR_B)_$(VAR_C)", "A_B_C"),
    ("escape & expand", "$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
    ("compound escape", "$$(VAR_A)_$$(VAR_B)", "$(VAR_A)_$(VAR_B)"),
    ("mixed in escapes", "f000-$$VAR_A", "f000-$VAR_A"),
    ("backslash escape ignored", "foo\\$(VAR_C)bar", "foo\\Cbar"),
    ("backslash escape ignored", "foo\\\\$(VAR_C)bar", "foo\\\\Cbar"),
    ("lots of backslashes", "foo\\\\\\\\$(VAR_A)bar", "foo\\\\\\\\Abar"),
    ("nested var references", "$(VAR_A$(VAR_B))", "$(VAR_A$(VAR_B))"),
    ("nested var references second type", "$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
    ("value is a reference", "$(VAR_REF)", "$(VAR_A)"),
    ("value is a reference x 2", "%%$(VAR_REF)--$(VAR_REF)%%", "%%$(VAR_A)--$(VAR_A)%%"),
    ("empty var", "foo$(VAR_EMPTY)bar", "foobar"),
    ("unterminated expression", "foo$(VAR_Awhoops!", "foo$(VAR_Awhoops!"),
    ("expression without operator", "f00__(VAR_A)__", "f00__(VAR_A)__"),
    ("shell special vars pass through", "$?_boo_$!", "$?_boo_$!"),
    ("bare operators are ignored", "$VAR_A", "$VAR_A"),
    ("undefined vars are passed through", "$(VAR_DNE)", "$(VAR_DNE)"),
    ("multiple (even) operators, var undefined", "$$$$$$(BIG_MONEY)", "$$$(BIG_MONEY)"),
    ("multiple (even) operators, var defined", "$$$$$$(VAR_A)", "$$$(VAR_A)"),
    ("multiple (odd) operators, var undefined", "$$$$$$$(GOOD_ODDS)", "$$$$(GOOD_ODDS)"),
    ("multiple (odd) operators, var defined", "$$$$$$$(VAR_A)", "$$$A"),
    ("missing open expression", "$VAR_A)", "$VAR_A)"),
    ("shell syntax ignored", "${VAR_A}", "${VAR_A}"),
    ("trailing incomplete expression not consumed", "$(VAR_B)_______$(A", "B_______$(A"),
    ("trailing incomplete expression, no content, is not consumed", "$(VAR_C)_______$(", "C_______$("),
    ("operator at end of input string is preserved", "$(VAR_A)foobarzab$", "Afoobarzab$"),
    ("shell escaped incomplete expr", "foo-\\$(VAR_A", "foo-\\$(VAR_A"),
    ("lots of $( in middle", "--$($($($($--", "--$($($($($--"),
    ("lots of $( in beginning", "$($($($($--foo$(", "$($($($($--foo$("),
    ("lots of $( at end", "foo0--$($($($(", "foo0--$($($($("),
    ("escaped operators in variable names are not escaped", "$(foo$$var)", "$(foo$$var)"),
    ("newline not expanded", "\n", "\n"),
]


@pytest.mark.contract("C-EXPAND-3")
@pytest.mark.parametrize(
    ("text", "expected"), [vector[1:] for vector in VECTORS], ids=[vector[0] for vector in VECTORS]
)
def test_kubernetes_vectors(text: str, expected: str) -> None:
    """A command that Kubernetes expands one way and SageMaker another is a changed command."""
    assert expand(text, VALUES) == expected


def test_variables_refer_to_those_before_them() -> None:
    """Kubernetes expands the list from the top: what comes later is not known yet."""
    variables = {"FOO": "bar", "ZOO": "$(FOO)-1", "BLU": "$(ZOO)-2", "EARLY": "$(LATE)", "LATE": "x"}
    expected = {"FOO": "bar", "ZOO": "bar-1", "BLU": "bar-1-2", "EARLY": "$(LATE)", "LATE": "x"}
    assert expand_in_order(variables, {}) == expected


def test_service_variables_are_known_by_their_shape() -> None:
    """On Kubernetes `$(KUBERNETES_SERVICE_HOST)` worked before and is to work on; `$(PATH)` never did."""
    names = ["KUBERNETES_SERVICE_HOST", "DB_PORT_5432_TCP_ADDR", "DB_PORT", "DB_SERVICE_PORT_HTTP", "PATH", "PORT"]
    assert service_variables(names) == [
        "KUBERNETES_SERVICE_HOST",
        "DB_PORT_5432_TCP_ADDR",
        "DB_PORT",
        "DB_SERVICE_PORT_HTTP",
    ]
