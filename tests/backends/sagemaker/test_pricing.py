"""Prices of training instances: asked of AWS's price list, kept, and overruled by the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lyftlearn.backend import BackendSettings
from lyftlearn.errors import AccessDenied
from lyftlearn_sagemaker.backend import SageMakerBackend
from tests.doubles.price_list import PriceList, price_list, product


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceList]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    m5, g5 = "ml.m5.xlarge", "ml.g5.xlarge"
    listed = [product(m5, "eu-west-1", kind, price, "EUW1") for kind, price in (("Host", "0.3"), ("Notebk", "0.29"))]
    listed += [product(m5, "eu-west-1", "Train", "0.257", "EUW1"), product(m5, "us-east-1", "Train", "0.23")]
    listed += [product(g5, "eu-west-1", "Train", "1.57", "EUW1")]
    with price_list(*listed) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", server.url)
        yield server


def backend(home: Path, **table: Any) -> SageMakerBackend:
    settings = {"region": "eu-west-1", "role": "arn:aws:iam::123456789012:role/jobs"} | table
    return SageMakerBackend(BackendSettings(name="sagemaker", table=settings, home=home, storage_url="s3://bucket/x"))


def test_the_price_of_training_in_the_backends_region(prices: PriceList, tmp_path: Path) -> None:
    """An instance is sold for many uses and in many regions: a job pays one of these prices."""
    found = backend(tmp_path).prices(["ml.m5.xlarge", "ml.g5.xlarge"])
    assert found.instances == {"ml.m5.xlarge": 0.257, "ml.g5.xlarge": 1.57}
    assert (found.currency, found.source) == ("USD", "AWS's price list for eu-west-1")


def test_prices_are_kept(prices: PriceList, tmp_path: Path) -> None:
    """A list of a thousand jobs asks once, and so does the next process; what is not sold is kept, too."""
    for _ in range(3):
        assert backend(tmp_path).prices(["ml.m5.xlarge", "ml.none.large"]).instances == {"ml.m5.xlarge": 0.257}
    assert len([one for one in prices.requests if one["instanceName"] == "ml.none.large"]) == 1
    next(tmp_path.glob("cache/prices/*.json")).write_text("{broken")
    assert backend(tmp_path).prices(["ml.m5.xlarge"]).instances == {"ml.m5.xlarge": 0.257}


def test_what_was_agreed_with_the_vendor_wins(prices: PriceList, tmp_path: Path) -> None:
    """A discount stands in no list; where everything is configured, nobody is asked."""
    own = backend(tmp_path, prices={"instance_hour": {"ml.m5.xlarge": 0.2}})
    assert own.prices(["ml.m5.xlarge"]).instances == {"ml.m5.xlarge": 0.2}
    assert prices.requests == []
    assert own.prices(["ml.m5.xlarge", "ml.g5.xlarge"]).instances == {"ml.m5.xlarge": 0.2, "ml.g5.xlarge": 1.57}


def test_a_list_that_may_not_be_asked(prices: PriceList, tmp_path: Path) -> None:
    """A missing permission is named: it is one more line of a policy."""
    prices.refuses = True
    with pytest.raises(AccessDenied, match="pricing:GetProducts"):
        backend(tmp_path).prices(["ml.m5.xlarge"])
