"""Examples that the help of each command shows. A test reads every one."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "train": (
        "lyftlearn train eta --source . -p depth:=8 --follow -- python train.py",
        "lyftlearn train eta --source . --gpu 1 --key 2026-01-31 -- python train.py",
    ),
    "process": ("lyftlearn process clean --input r=s3://bucket/r --output kept -- python clean.py",),
    "predict": (
        "lyftlearn predict eta --artifact ID --input rides=rides/ -- python predict.py",
        "lyftlearn predict eta --artifact s3://bucket/m.tar.gz --source . -- python x.py",
    ),
    "tune": ("lyftlearn tune eta --space 'd=int(2,8)' --minimize rmse --trials 9 -- ./train",),
    "trials": ("lyftlearn trials ID", "lyftlearn trials ID --json"),
    "notebook": ("lyftlearn notebook explore --cpu 4 --memory 16Gi --secret db", "lyftlearn notebook stop explore"),
    "serve": ("lyftlearn serve eta --local -- python serve.py", "lyftlearn serve ID --local --port 9000"),
    "jobs": ("lyftlearn jobs --name eta --since 2d", "lyftlearn jobs --status failed --label team=eta --json"),
    "top": ("lyftlearn top", "lyftlearn top --label team=eta --since 1d"),
    "status": ("lyftlearn status ID", "lyftlearn status ID --timings"),
    "logs": ("lyftlearn logs --follow ID", "lyftlearn logs --tail 100 --timestamps ID"),
    "wait": ("lyftlearn wait ID && lyftlearn download ID results/", "lyftlearn wait --timeout 2h ID ID"),
    "stop": ("lyftlearn stop --wait ID",),
    "download": ("lyftlearn download ID results/", "lyftlearn download --output model ID results/"),
    "plan": (
        "lyftlearn plan train eta --source . -- python train.py",
        "lyftlearn plan serve eta -- python serve.py | kubectl apply -f -",
        "lyftlearn plan train eta --out plan.json --for alice -- python train.py",
    ),
    "apply": ("lyftlearn apply plan.json --follow",),
    "explain": ("lyftlearn explain train eta --label team=eta",),
    "cost": ("lyftlearn cost --by team --since 30d", "lyftlearn cost --by day --csv > costs.csv"),
    "collect": ("lyftlearn collect --listen 0.0.0.0:8040", "lyftlearn collect --once"),
    "migration": ("lyftlearn migration report --html report.html", "lyftlearn migration guard --since 7d"),
    "parity": (
        "lyftlearn parity run --on kubernetes,sagemaker --source . -- python x.py",
        "lyftlearn parity show kept.json --html parity.html",
    ),
    "backends": ("lyftlearn backends",),
    "config": ("lyftlearn config", "lyftlearn config --json --config platform.toml"),
    "dashboard": ("lyftlearn dashboard", "lyftlearn dashboard --port 9000 --allow-stop"),
    "doctor": ("lyftlearn doctor", "lyftlearn doctor --image team/eta:2"),
    "clean": ("lyftlearn clean --dry-run", "lyftlearn clean --older-than 7d --outputs"),
    "completion": (
        "lyftlearn completion bash > ~/.bash_completion.d/lyftlearn",
        "lyftlearn completion zsh > ~/.zfunc/_lyftlearn",
    ),
}


def text(command: str) -> str:
    """Return the examples of a command as its help shows them."""
    return "\n".join(["examples:", *(f"  {line}" for line in EXAMPLES[command])])
