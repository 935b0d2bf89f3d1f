"""Reads everything that a job is given, and leaves a model and an output that tell of it."""

import json
import os
from pathlib import Path

hyperparameters = json.loads(Path(os.environ["LYFTLEARN_HYPERPARAMETERS"]).read_text())
inputs = Path(os.environ["LYFTLEARN_INPUTS_DIR"])
rides = sum(len(path.read_text().split()) for path in sorted(inputs.rglob("*.txt")))
print("rides", rides, "rate", hyperparameters["rate"], "hello", os.environ["HELLO"])
Path(os.environ["LYFTLEARN_MODEL_DIR"], "weights.json").write_text(json.dumps(hyperparameters, sort_keys=True))
Path(os.environ["LYFTLEARN_OUTPUTS_DIR"], "output", "rides.txt").write_text(f"{rides}\n")
