"""The generated tables, held against what they are generated from."""

from __future__ import annotations

import json

import pytest

from lyftlearn_sagemaker import record
from lyftlearn_sagemaker.submission import fault_words, file_systems, instances, request, service_limits
from tests.backends.sagemaker import generate_tables


@pytest.mark.parametrize("name", ["service_limits", "instances"])
def test_a_table_is_what_its_generator_makes(name: str) -> None:
    """A table that nobody can make again is a table that nobody can check."""
    model = generate_tables.service_model()
    made = getattr(generate_tables, name)(model)
    kept = json.loads((generate_tables.PACKAGE / f"{name}.json").read_text())
    assert {key: value for key, value in kept.items() if isinstance(value, dict)} == {
        key: value for key, value in json.loads(json.dumps(made)).items() if isinstance(value, dict)
    }, "run tests/backends/sagemaker/generate_tables.py"


def test_every_instance_type_exists() -> None:
    """A type that the service does not know would be refused at every submission."""
    enum = set(generate_tables.service_model()["shapes"]["TrainingInstanceType"]["enum"])
    assert set(instances.instance_types()) <= enum
    assert set(service_limits.training_instance_types()) == enum
    assert len(instances.instance_types()) > 0.9 * len(enum)


def test_numbers_in_the_code_are_the_models() -> None:
    """Limits that steer what is sent stand beside the code; here is where they come from."""
    shapes = generate_tables.service_model()["shapes"]
    assert shapes["InputDataConfig"]["max"] == file_systems.MOST_CHANNELS
    assert shapes["HyperParameters"]["max"] == request._MOST_SHOWN
    assert shapes["HyperParameterKey"]["max"] == request._LONGEST_KEY
    assert shapes["HyperParameterValue"]["max"] == request._LONGEST_VALUE
    assert shapes["TrainingEnvironmentValue"]["max"] == record._LONGEST_VALUE
    assert shapes["TagValue"]["max"] == record._LONGEST_TAG
    assert shapes["TagKey"]["max"] == record._LONGEST_TAG_KEY
    assert shapes["TagList"]["max"] == record.MOST_TAGS
    assert shapes["TrainingEnvironmentMap"]["max"] == fault_words._MOST_VARIABLES
