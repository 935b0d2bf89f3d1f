"""JupyterLab as a browser speaks to it: REST requests, and a kernel's messages over a websocket."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import websocket

PATIENCE = 600.0


class Lab:
    """An open notebook, by the URL that `Notebook.url()` gave."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.token = parse_qs(parts.query).get("token", [""])[0]
        self.base = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('lab')}"
        self.headers = {"Authorization": f"token {self.token}"} if self.token else {}

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Return what the REST API answers."""
        answer = requests.request(
            method, f"{self.base}api/{path}", headers=self.headers, json=body or None, timeout=PATIENCE
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def kernel(self) -> str:
        """Start a kernel and return its id."""
        return str(self.ask("POST", "kernels")["id"])

    def begin(self, kernel: str, code: str) -> websocket.WebSocket:
        """Run a cell, and return the connection on which its output comes."""
        address = f"{self.base.replace('http', 'ws', 1)}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
        connection = websocket.create_connection(address, header=self.headers, timeout=PATIENCE)
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header | {"session": uuid.uuid4().hex, "date": ""}, "parent_header": {}, "metadata": {}}
        connection.send(json.dumps(message | {"content": content, "channel": "shell", "buffers": []}))
        return connection

    def run(self, kernel: str, code: str) -> str:
        """Run a cell to its end and return what it printed; its error, if it raised one.

        Output and the reply come by different ways, in any order: the output is whole when the kernel is idle.
        """
        connection, printed, missing = self.begin(kernel, code), "", {"reply", "output"}
        try:
            while missing:
                message = json.loads(connection.recv())
                content = message["content"]
                if message["msg_type"] == "stream":
                    printed += content["text"]
                elif message["msg_type"] == "error":
                    printed += f"{content['ename']}: {content['evalue']}"
                elif message["msg_type"] == "execute_reply":
                    missing.discard("reply")
                elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                    missing -= {"output"} if message["parent_header"].get("msg_type") == "execute_request" else set()
            return printed
        finally:
            connection.close()
