"""A flag in motion: its service dies in the middle of a thousand submissions, and it flips during a batch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from lyftlearn import Client, ops
from lyftlearn.rollout.stage import Stage
from tests.doubles.old_and_new import Make

SERVICE = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.path.rpartition("/")[2]
        body = json.dumps({"key": key, "value": "live", "variant": "live", "reason": "TARGETING_MATCH"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def carried(home: Path, *backends: str) -> dict[str, dict[str, object]]:
    paths = [path for backend in backends for path in (home / backend).glob("[a-z]*")]
    return {path.name: json.loads(json.loads(path.read_text())["decision"]) for path in paths}


def test_a_flag_service_that_is_killed_in_the_middle(plugins: Path, make: Make) -> None:
    """None of a thousand submissions fails; each says why it went where it went; known models stay where they were."""
    with subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        url = f"http://127.0.0.1:{service.stdout.readline().strip()}"
        # The answer is asked for every time, and one that a busy machine gives late is still an answer.
        client = make(None, flags=url, default="rehearse", cache="0s", budget="30s")
        jobs = []
        for number in range(1000):
            if number == 500:
                service.kill()
                service.wait()
            jobs.append(client.train(f"model-{number % 600}", command="true"))
    found = carried(plugins, "old", "new")
    assert len(found) == 1000
    reasons = Counter((found[job.id]["backend"], str(found[job.id]["reason"]).partition(";")[0]) for job in jobs)
    flag = "flag lyftlearn-migration says live"
    assert reasons == {
        ("new", flag): 500,
        ("new", f"{flag} (flag: last known answer: live"): 400,
        ("old", "[migration] default says rehearse (flag: no earlier answer is known"): 100,
    }


FLIPPER = """
import json, os, pathlib, random, sys
path, chance = pathlib.Path(sys.argv[1]), random.Random(sys.argv[2])
flag = {"state": "ENABLED", "variants": {name: name for name in ("off", "live", "complete", "unset")}}
while not path.with_name("done").exists():
    answer = chance.choice(["off", "live", "complete", "broken"])
    text = "{" if answer == "broken" else json.dumps(
        {"flags": {"lyftlearn-migration": {**flag, "defaultVariant": "unset", "targeting": {"if": [True, answer]}}}})
    draft = path.with_name(f"draft-{sys.argv[2]}")
    draft.write_text(text)
    draft.replace(path)
"""


def test_two_processes_flip_while_a_batch_is_submitted(plugins: Path, make: Make, tmp_path: Path) -> None:
    """Every job of the batch is on exactly one side, the one that its decision names, and is found by its id."""
    flags = tmp_path / "flags.json"
    once = FLIPPER.replace('while not path.with_name("done").exists():', "for _ in (1,):").replace(', "broken"]', "]")
    subprocess.run([sys.executable, "-c", once, flags, "first"], check=True, timeout=600)
    flippers = [subprocess.Popen([sys.executable, "-c", FLIPPER, flags, str(number)]) for number in range(2)]
    try:
        client = make("off", flags=str(flags), cache="0s")
        jobs = [client.train(f"model-{number}", command="true", key=f"key-{number}") for number in range(500)]
    finally:
        (tmp_path / "done").touch()
        assert [flipper.wait(timeout=600) for flipper in flippers] == [0, 0]
    old, new = carried(plugins, "old"), carried(plugins, "new")
    assert (len(old) + len(new), len({*old, *new})) == (500, 500)
    assert {str(one["backend"]) for one in old.values()} == {"old"}
    assert {str(one["backend"]) for one in new.values()} == {"new"}
    assert [client.job(job.id).id for job in jobs] == [job.id for job in jobs]


def test_a_flag_that_takes_its_answer_back_is_believed(plugins: Path, tmp_path: Path) -> None:
    """Once the flag is `unset`, what it said before must not come back when its file is lost."""
    flags = tmp_path / "flags.json"
    table = {"from": "old", "to": "new", "default": "rehearse", "flags": str(flags), "cache": "0s"}
    stages = []
    for said in ("live", "unset", None):
        flags.unlink(missing_ok=True)
        if said is not None:
            flag = {"state": "ENABLED", "variants": {"live": "live", "unset": "unset"}, "defaultVariant": said}
            flags.write_text(
                json.dumps({"flags": {"lyftlearn-migration": {**flag, "targeting": {"if": [True, said]}}}})
            )
        client = Client(config={"home": str(plugins), "migration": table})
        stages.append(ops.explain("train", "eta", client=client).stage)
    assert stages == [Stage.LIVE, Stage.REHEARSE, Stage.REHEARSE]
