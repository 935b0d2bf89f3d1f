"""What is written in a notebook is there again after a stop and a start, which is another run with another token."""

import json
import sys
import urllib.parse
import urllib.request

import lyftlearn


def ask(notebook: lyftlearn.Notebook, method: str, path: str, **body: str) -> dict[str, object]:
    opened = urllib.parse.urlsplit(notebook.url())
    base = urllib.parse.urlunsplit((opened.scheme, opened.netloc, opened.path.removesuffix("lab"), "", ""))
    request = urllib.request.Request(f"{base}api/{path}?{opened.query}", method=method)
    with urllib.request.urlopen(request, json.dumps(body).encode() if body else None) as answer:
        return dict(json.load(answer))


notebook = lyftlearn.notebook(
    f"explore-{sys.argv[1]}",
    image="example.com/base:1",
    resources=lyftlearn.Resources(cpu=1, memory="1Gi"),
    env={"CITY": "sfo"},
    secrets=["warehouse"],
    labels={"team": "eta"},
)
first, url = notebook.id, notebook.url()
print(notebook.kind, notebook.name, notebook.status, dict(notebook.labels))
print(
    "written:", ask(notebook, "PUT", "contents/notes.txt", type="file", format="text", content="33 minutes\n")["path"]
)
notebook.stop(wait=True)
print("stopped:", notebook.status)

notebook.start()
print("another run:", notebook.id != first, notebook.url() != url, dict(notebook.labels))
print("read:", repr(ask(notebook, "GET", "contents/notes.txt")["content"]))
print("the first stays what it was:", lyftlearn.job(first).status)
notebook.stop(wait=True)
