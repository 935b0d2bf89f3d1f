"""The mean of the flights' minutes, as a model."""

import json
import os
import sys
from pathlib import Path

from features import NAMES

hyperparameters = json.loads(Path(os.environ["LYFTLEARN_HYPERPARAMETERS"]).read_text())
print("arguments", sys.argv[1:], "hyperparameters", hyperparameters)
minutes = []
for path in sorted(Path(os.environ["LYFTLEARN_INPUTS_DIR"], "flights").iterdir()):
    rows = [row.split(",") for row in path.read_text().splitlines()]
    assert rows[0] == NAMES
    minutes += [int(row[1]) for row in rows[1:] if row[1] != "NA"]
    print(path.name, len(rows) - 1, "rows")
model = {"region": hyperparameters["region"], "mean": sum(minutes) / len(minutes)}
Path(os.environ["LYFTLEARN_MODEL_DIR"], "model.json").write_text(json.dumps(model))
Path(os.environ["LYFTLEARN_OUTPUTS_DIR"], "output", "metrics.json").write_text(json.dumps({"rows": len(minutes)}))
print("mean", model["mean"])
