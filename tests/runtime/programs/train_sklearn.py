"""A training script as it is found in the wild: argparse, files, a model in a pickle; nothing of lyftlearn."""

import argparse
import csv
import json
import os
import pickle
from pathlib import Path

from sklearn.linear_model import Ridge

parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float, required=True)
parser.add_argument("--data", type=Path, default=Path(os.environ["LYFTLEARN_INPUTS_DIR"], "train"))
parser.add_argument("--model", type=Path, default=Path(os.environ["LYFTLEARN_MODEL_DIR"]))
arguments = parser.parse_args()

with (arguments.data / "rides.csv").open() as file:
    rows = [[float(cell) for cell in row] for row in csv.reader(file)]
model = Ridge(alpha=arguments.alpha).fit([row[:-1] for row in rows], [row[-1] for row in rows])
(arguments.model / "model.pkl").write_bytes(pickle.dumps(model))
print(json.dumps({"coefficients": [round(value, 6) for value in model.coef_], "seen": len(rows)}))
