"""A service submits from many threads through one client; nothing mixes."""

from concurrent.futures import ThreadPoolExecutor

import lyftlearn

client = lyftlearn.Client()


def run(number: int) -> tuple[int, str, list[str], str]:
    job = client.train(
        f"eta-{number}",
        command='echo "$NUMBER of $LYFTLEARN_MODEL"; echo $NUMBER > $LYFTLEARN_MODEL_DIR/number.txt',
        env={"NUMBER": str(number)},
    )
    status = job.wait("5m").status
    folder = job.download(f"models/{number}", output="model")
    return number, status, list(job.logs()), (folder / "model" / "number.txt").read_text().strip()


with ThreadPoolExecutor(4) as pool:
    for result in pool.map(run, range(4)):
        print(*result)
