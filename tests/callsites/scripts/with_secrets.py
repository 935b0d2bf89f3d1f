"""Secrets arrive as variables and as files; nothing that lyftlearn shows holds them."""

import lyftlearn

SHOW = """
import os, pathlib, stat
print("user", os.environ["WAREHOUSE_USER"], "- password of", len(os.environ["WAREHOUSE_PASSWORD"]), "characters")
address = os.environ["ADDRESS"].replace(os.environ["WAREHOUSE_PASSWORD"], "*")
print("token", os.environ["MAPS_TOKEN"], "- address", address)
for path in sorted(pathlib.Path(os.environ["LYFTLEARN_SECRETS_DIR"]).rglob("*")):
    if path.is_file():
        print(path, stat.filemode(path.stat().st_mode), path.stat().st_size, "bytes", path.stat().st_uid == os.getuid())
print("no variable begins with a digit:", not any(name[:1].isdigit() for name in os.environ))
raise SystemExit("cannot log in with " + os.environ["WAREHOUSE_PASSWORD"])
"""

job = lyftlearn.train(
    "eta",
    command=["python3", "-c", SHOW],
    secrets=["warehouse", "maps"],
    env={"ADDRESS": "db://$(WAREHOUSE_USER):$(WAREHOUSE_PASSWORD)@warehouse", "MAPS_TOKEN": "env wins"},
)
state = job.wait(check=False)
print(state.status, state.reason, "- the last words:", state.message.splitlines()[-1])
for line in list(job.logs())[:-1]:
    print("   ", line)
