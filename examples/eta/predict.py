"""Predict the minutes in the air of the flights of a schedule, with a model that `train.py` made."""

from __future__ import annotations

import json
import os
from pathlib import Path

import flights
import joblib
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor


def main() -> None:
    trained, inputs = Path(os.environ["LYFTLEARN_MODEL_DIR"]), Path(os.environ["LYFTLEARN_INPUTS_DIR"])
    card = json.loads((trained / "model.json").read_text())
    origin = card["settings"]["origin"]
    files = sorted((inputs / "schedule").glob("*.csv"))
    schedule = pd.concat(pd.read_csv(file, parse_dates=["date"]) for file in files)
    schedule = schedule[schedule["origin"] == origin].reset_index(drop=True)
    print(f"{len(schedule)} flights are planned from {origin}", flush=True)

    predicted = schedule.assign(minutes=minutes(joblib.load(trained / "model.joblib"), schedule, origin))
    path = Path(os.environ["LYFTLEARN_OUTPUTS_DIR"]) / "predictions" / "predictions.csv"
    predicted.to_csv(path, index=False)
    unknown = int(predicted["minutes"].isna().sum())
    print(f"predicted {len(predicted) - unknown}; {unknown} go where nobody flew in the last 28 days", flush=True)


def minutes(model: HistGradientBoostingRegressor, schedule: pd.DataFrame, origin: str) -> pd.Series:
    """Return whole minutes, missing for a route without a flight in the last 28 days."""
    known = flights.features(schedule, history=flights.read(origin))
    change = pd.Series(model.predict(known[flights.FEATURES]), index=known.index)
    return (known["month"] + change).round().astype("Int64")


if __name__ == "__main__":
    main()
