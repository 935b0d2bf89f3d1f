"""Train a model of the minutes that a flight from one airport spends in the air.

It is planned on the morning of the flight's day: the model sees the schedule and the days before, never the delay, the
take-off or anything else that is known only later. The last two months are held out, and scored day by day.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import flights
import joblib
import numpy as np
import pandas as pd
from plot import plot_errors
from serve import predict
from sklearn.ensemble import HistGradientBoostingRegressor

DEFAULTS = {"origin": "EWR", "holdout_from": "2013-11-01", "learning_rate": 0.1, "iterations": 100, "seed": 0}


def main() -> None:
    settings = DEFAULTS | json.loads(Path(os.environ["LYFTLEARN_HYPERPARAMETERS"]).read_text())
    data = flights.read(settings["origin"])
    known = flights.features(data, history=data)
    print(f"{settings['origin']}: {len(data):,} flights to {data['dest'].nunique()} airports in 2013", flush=True)

    usable = data["air_time"].notna() & known["month"].notna()
    past = usable & (data["date"] < settings["holdout_from"])
    held_out = usable & (data["date"] >= settings["holdout_from"])
    print(
        f"training on {past.sum():,} flights, {held_out.sum():,} from {settings['holdout_from']} are held out",
        flush=True,
    )
    model = fit(known[past], data.loc[past, "air_time"], settings)

    scored = score(model, data, known, past, held_out)
    metrics = summary(scored, settings["origin"])
    print(f"mean absolute error, minutes: route median {metrics['mae_route_median']}", end="")
    print(f", last week on the route {metrics['mae_last_week']}, model {metrics['mae']}", flush=True)
    print(f"holdout_mae={metrics['mae']}", flush=True)

    save(model, settings, metrics)
    save_selftest(model, known[held_out])
    output = Path(os.environ["LYFTLEARN_OUTPUTS_DIR"]) / "output"
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    plot_errors(scored, metrics, output / "errors.png")
    print("saved the model, metrics.json and errors.png", flush=True)


def fit(known: pd.DataFrame, air_time: pd.Series, settings: dict[str, Any]) -> HistGradientBoostingRegressor:
    """Learn by how much a flight differs from the last month of its route.

    Trees do not extrapolate: minutes as such would be off in a season that is windier than those before.
    """
    model = HistGradientBoostingRegressor(
        loss="absolute_error",
        learning_rate=settings["learning_rate"],
        max_iter=settings["iterations"],
        random_state=settings["seed"],
    )
    return model.fit(known[flights.FEATURES], air_time - known["month"])


def score(
    model: HistGradientBoostingRegressor, data: pd.DataFrame, known: pd.DataFrame, past: pd.Series, held_out: pd.Series
) -> pd.DataFrame:
    """Return the held-out flights: actual and predicted minutes, and two guesses without a model."""
    seen = data[past]
    route_median = seen.groupby("dest")["air_time"].median()
    test = known[held_out]
    return pd.DataFrame(
        {
            "hour": data.loc[held_out, "sched_dep_time"] // 100,
            "actual": data.loc[held_out, "air_time"],
            "predicted": test["month"] + model.predict(test[flights.FEATURES]),
            "route_median": data.loc[held_out, "dest"].map(route_median).fillna(seen["air_time"].median()),
            "last_week": test["month"] + test["week_change"].fillna(0),
        }
    )


def summary(scored: pd.DataFrame, origin: str) -> dict[str, Any]:
    """Return the errors on the held-out flights, in minutes."""
    miss = (scored["predicted"] - scored["actual"]).abs()
    return {
        "origin": origin,
        "held_out_flights": len(scored),
        "mae": round(float(miss.mean()), 2),
        "mae_route_median": round(float((scored["route_median"] - scored["actual"]).abs().mean()), 2),
        "mae_last_week": round(float((scored["last_week"] - scored["actual"]).abs().mean()), 2),
        "p90": round(float(np.quantile(miss, 0.9)), 2),
        "bias": round(float((scored["predicted"] - scored["actual"]).mean()), 2),
    }


def save(model: HistGradientBoostingRegressor, settings: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Write the model uncompressed, so that equal models are equal bytes, and a card that says what it is."""
    folder = Path(os.environ["LYFTLEARN_MODEL_DIR"])
    joblib.dump(model, folder / "model.joblib", compress=0)
    card = {"predicts": "air_time, minutes", "settings": settings, "features": flights.FEATURES, "holdout": metrics}
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n")


def save_selftest(model: HistGradientBoostingRegressor, known: pd.DataFrame) -> None:
    """Write what a server of this model is asked when it starts, and what it must answer."""
    folder = Path(os.environ["LYFTLEARN_MODEL_DIR"]) / "selftest"
    folder.mkdir()
    asked = json.loads(known[flights.FEATURES].iloc[:: len(known) // 10].to_json(orient="records"))
    (folder / "ten-flights.request.json").write_text(json.dumps({"flights": asked}))
    (folder / "ten-flights.expected.json").write_text(json.dumps({"minutes": predict(model, asked)}))


if __name__ == "__main__":
    main()
