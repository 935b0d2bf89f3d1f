"""What training costs: instances by AWS's price list, and the seconds for which the service bills.

Prices are asked of the Price List Query API, which answers in few regions for all of them, and kept for a week:
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import PRICE_OPTIONS, Prices, Usage, read_options, read_small_text, take_prices
from lyftlearn_sagemaker.api.client import AwsClient
from lyftlearn_sagemaker.submission.instances import first_instance

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

ENDPOINT_REGION = "us-east-1"
"""One of the regions in which the price list answers, for every region."""
SOURCE = "AWS's price list"
_SECONDS_KEPT = 7 * 86_400
_HOURS = ("Hrs", "Hours", "hours")


class PriceList:
    """The price of an hour of training by instance type, in one region. Kept in a file, and asked for what it lacks."""

    def __init__(self, cache: Path, region: str) -> None:
        self._aws = AwsClient(ENDPOINT_REGION).impatient()
        self._path = cache / f"sagemaker-{region}.json"
        self._region = region

    def prices(self, machines: Collection[str]) -> Prices:
        """Return what the machines cost, as far as the list names them. Raises AwsError."""
        kept = self._read_cache()
        missing = [machine for machine in machines if machine not in kept]
        for machine in missing:
            kept[machine] = self._ask(machine)
        if missing:
            self._keep(kept)
        known = {machine: price for machine, price in kept.items() if price is not None}
        return Prices(instances=known, source=f"{SOURCE} for {self._region}", lists_instances=True)

    def _ask(self, machine: str) -> float | None:
        fields = {"regionCode": self._region, "instanceName": machine}
        filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
        request: dict[str, Any] = {"ServiceCode": "AmazonSageMaker", "FormatVersion": "aws_v1", "Filters": filters}
        while True:
            page = self._aws.call("pricing", "get_products", request)
            for product in map(json.loads, page["PriceList"]):
                if _is_training(product["product"]["attributes"], machine):
                    for price in _hourly(product):
                        return price
            if not page.get("NextToken"):
                return None
            request["NextToken"] = page["NextToken"]

    def _read_cache(self) -> dict[str, float | None]:
        with suppress(OSError, ValueError):
            if time.time() - self._path.stat().st_mtime < _SECONDS_KEPT:
                found = json.loads(read_small_text(self._path))
                return dict(found) if isinstance(found, dict) else {}
        return {}

    def _keep(self, prices: Mapping[str, float | None]) -> None:
        with suppress(OSError):  # a home that cannot be written: asked anew next time
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(prices), encoding="utf-8")
            temporary.rename(self._path)


def own_prices(name: str, table: Mapping[str, Any]) -> Prices:
    """Return the prices of a backend's table."""
    values, _ = read_options(name, {"prices": table.get("prices", {})}, PRICE_OPTIONS)
    return replace(take_prices(values, f"[{name}.prices]"), lists_instances=True)


def usage(job: Mapping[str, Any]) -> Usage:
    """Return what is billed for a training job, as it is described.

    `BillableTimeInSeconds` is the time of each instance; what spot instances spare is taken off it. A warm pool is
    billed on for as long as it was kept, which its last job is told as `ResourceRetainedBillableTimeInSeconds`:
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html
    """
    resources = job["ResourceConfig"]
    retained = (job.get("WarmPoolStatus") or {}).get("ResourceRetainedBillableTimeInSeconds") or 0
    return Usage(
        seconds=(job.get("BillableTimeInSeconds") or 0) + retained,
        nodes=resources.get("InstanceCount", 1),
        machine=resources.get("SelectedInstanceType") or first_instance(resources),
        spot=bool(job.get("EnableManagedSpotTraining")),
    )


def _is_training(attributes: Mapping[str, str], machine: str) -> bool:
    """Whether a product is training on demand; the same instance is sold for hosting, notebooks and more."""
    return attributes.get("usagetype", "").endswith(f"Train:{machine}")  # such as "USE1-Train:ml.m5.xlarge"


def _hourly(product: Mapping[str, Any]) -> Iterator[float]:
    """Yield the price of an hour in US dollars, on demand."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension.get("unit") in _HOURS and "USD" in dimension["pricePerUnit"]:
                yield float(dimension["pricePerUnit"]["USD"])
