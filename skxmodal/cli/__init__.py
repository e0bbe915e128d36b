"""The command ``skxmodal``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    try:
        from skxmodal.cli._app import app
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.stderr.write(
            f"The command skxmodal needs the package {error.name!r}, which is not "
            "installed. Install it with: pip install 'skxmodal[cli]'\n"
        )
        raise SystemExit(2) from None
    app(prog_name="skxmodal")
