"""The picture of a model's errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

mpl.use("Agg")
import matplotlib.pyplot as plt

INK, FAINT, MODEL, MEDIAN, WEEK = "#1f2933", "#d9dee4", "#c2257a", "#8b97a5", "#2f7d8c"
STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
}


def plot_errors(scored: pd.DataFrame, metrics: dict[str, Any], path: Path) -> None:
    """Draw predicted beside actual minutes, and the error by hour of departure, of the held-out flights."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
        figure.suptitle(
            f"Minutes in the air from {metrics['origin']}: {metrics['held_out_flights']:,} held-out flights",
            x=0.01,
            ha="left",
            weight="bold",
        )
        _predicted_and_actual(left, scored)
        _error_by_hour(right, scored, metrics)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _predicted_and_actual(axes: Axes, scored: pd.DataFrame) -> None:
    low, high = scored["actual"].min(), scored["actual"].quantile(0.995)
    cells = axes.hexbin(
        scored["predicted"],
        scored["actual"],
        gridsize=55,
        bins="log",
        mincnt=1,
        cmap="magma_r",
        extent=(low, high, low, high),
    )
    axes.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=(0, (5, 4)))
    axes.set(title="Predicted and actual", xlabel="predicted, minutes", ylabel="actual, minutes")
    bar = axes.figure.colorbar(cells, ax=axes, shrink=0.7, pad=0.02, label="flights")
    bar.outline.set_visible(False)


def _error_by_hour(axes: Axes, scored: pd.DataFrame, metrics: dict[str, Any]) -> None:
    lines = (
        ("route_median", f"median of the route  {metrics['mae_route_median']:.2f}", MEDIAN, 1.6),
        ("last_week", f"last week on the route  {metrics['mae_last_week']:.2f}", WEEK, 1.6),
        ("predicted", f"model  {metrics['mae']:.2f}", MODEL, 2.6),
    )
    for column, label, colour, width in lines:
        miss = (scored[column] - scored["actual"]).abs().groupby(scored["hour"])
        mean = miss.mean()[miss.size() >= 30]
        axes.plot(mean.index, mean, color=colour, linewidth=width, label=label)
    axes.set(
        title="Mean absolute error by hour of departure",
        xlabel="scheduled hour",
        ylabel="minutes",
        xticks=range(5, 24, 3),
    )
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower left", title="overall, minutes", alignment="left")
