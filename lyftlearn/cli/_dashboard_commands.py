"""`dashboard`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyftlearn._client import Client
from lyftlearn.cli import _output
from lyftlearn.cli._exit_codes import ExitCode

if TYPE_CHECKING:
    from lyftlearn.cli._invocation import Invocation


def dashboard(invocation: Invocation) -> ExitCode:
    """Serve the dashboard until it is interrupted."""
    from lyftlearn.dashboard.server import serve  # noqa: PLC0415 - brings a web server

    def tell(address: str) -> None:
        _output.note(f"open {address}\nCtrl-C ends the dashboard")

    serve(Client(config=invocation.config), on_open=tell, **invocation.arguments)
    return ExitCode.DONE
