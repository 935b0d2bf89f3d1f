"""Reads a model, and says what it was trained with."""

import os
from pathlib import Path

weights = Path(os.environ["LYFTLEARN_MODEL_DIR"], "weights.json").read_text()
print("weights", weights)
Path(os.environ["LYFTLEARN_OUTPUTS_DIR"], "predictions", "weights.json").write_text(weights)
