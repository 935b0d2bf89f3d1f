"""Hyperparameters keep their types, and may be large."""

import json

import lyftlearn

SHOW = """
import hashlib, json, os
with open(os.environ["LYFTLEARN_HYPERPARAMETERS"], encoding="utf-8") as file:
    given = json.load(file)
table = given.pop("table")
for name, value in sorted(given.items()):
    print(f"{name}: {value!r}")
print("table:", len(table), "rows", hashlib.sha256(json.dumps(table).encode()).hexdigest()[:16])
"""
GIVEN: dict[str, lyftlearn.JSON] = {
    "version": "1.10",
    "zip": "007",
    "yes": "true",
    "deep": True,
    "nothing": None,
    "whole": 3,
    "real": 3.0,
    "tiny": 1e-300,
    "huge": 2**80,
    "minus zero": -0.0,
    "text": "say \"hi\"\n\ttab 'single' $HOME $(HOME) \\ back ü 🚗",
    "empty": "",
    "layers": [64, [32, {"rate": 0.1}], []],
    "nested": {"a": {"b": {}}},
}

table: list[lyftlearn.JSON] = [{"row": number, "weight": number / 7} for number in range(20_000)]
job = lyftlearn.train("eta", command=["python3", "-c", SHOW], hyperparameters={**GIVEN, "table": table})
print(job.wait().status, len(json.dumps(table)) > 500_000)
print("\n".join(job.logs()))
