"""The generated tables, held against what they are generated from."""

from __future__ import annotations

import json

import pytest

from lyftlearn_sagemaker import _channels, _instances, _limits, _record, _request
from tests.sagemaker import generate_tables


@pytest.mark.parametrize("name", ["limits", "instances"])
def test_a_table_is_what_its_generator_makes(name: str) -> None:
    """A table that nobody can make again is a table that nobody can check."""
    model = generate_tables.service_model()
    made = getattr(generate_tables, name)(model)
    kept = json.loads((generate_tables.PACKAGE / f"{name}.json").read_text())
    assert {key: value for key, value in kept.items() if isinstance(value, dict)} == {
        key: value for key, value in json.loads(json.dumps(made)).items() if isinstance(value, dict)
    }, "run tests/sagemaker/generate_tables.py"


def test_every_instance_type_exists() -> None:
    """A type that the service does not know would be refused at every submission."""
    enum = set(generate_tables.service_model()["shapes"]["TrainingInstanceType"]["enum"])
    assert set(_instances.known()) <= enum
    assert set(_limits.training_instance_types()) == enum
    assert len(_instances.known()) > 0.9 * len(enum)


def test_numbers_in_the_code_are_the_models() -> None:
    """Limits that steer what is sent stand beside the code; here is where they come from."""
    shapes = generate_tables.service_model()["shapes"]
    assert shapes["InputDataConfig"]["max"] == _channels._MOST
    assert shapes["HyperParameters"]["max"] == _request._MOST_SHOWN
    assert shapes["HyperParameterKey"]["max"] == _request._LONGEST_KEY
    assert shapes["HyperParameterValue"]["max"] == _request._LONGEST_VALUE
    assert shapes["TrainingEnvironmentValue"]["max"] == _record._LONGEST_VALUE
    assert shapes["TagValue"]["max"] == _record._LONGEST_TAG
    assert shapes["TagKey"]["max"] == _record._LONGEST_TAG_KEY
    assert shapes["TagList"]["max"] == _record.MOST_TAGS
