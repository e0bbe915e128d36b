"""The group of commands, and what becomes of errors."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import click

from skxmodal.cli._console import Stopped, say_error

_COMMANDS = {
    "cache": "skxmodal.cli._cache",
    "demo": "skxmodal.cli._demo",
    "evaluate": "skxmodal.cli._evaluate",
    "fit": "skxmodal.cli._fit",
    "search": "skxmodal.cli._search",
    "serve": "skxmodal.cli._serve",
}
_MISTAKE = 2
_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
# What the package raises for input it can't use, with a message that says why.
_EXPECTED = (ImportError, OSError, Stopped, ValueError)


class App(click.Group):
    """Commands that are imported when they are called.

    A user's mistake is one line on standard error and the exit code 2; an
    interruption the exit code 130.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, as the help lists them."""
        return ["demo", "fit", "search", "serve", "evaluate", "cache"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a name."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name])
        return getattr(module, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called, or say which may be meant."""
        if args[0] not in _COMMANDS:
            close = get_close_matches(args[0], _COMMANDS)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,
    ) -> None:
        """Run a command, report what went wrong, and exit."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            code = super().main(arguments, prog_name or "skxmodal", **extra)
        except click.Abort:
            say_error("stopped; nothing was left half written.")
            raise SystemExit(_INTERRUPTED) from None
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "skxmodal"
            hint = f" Try: {command} --help" if context is not None else ""
            say_error(f"{error.format_message()}{hint}")
            raise SystemExit(_MISTAKE) from None
        except _EXPECTED as error:
            if "--traceback" in arguments:
                raise
            say_error(str(error) or type(error).__name__)
            raise SystemExit(_MISTAKE) from None
        raise SystemExit(code if isinstance(code, int) else 0)


@click.group(
    cls=App,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(package_name="skxmodal", prog_name="skxmodal")
@click.pass_context
def app(ctx: click.Context) -> None:
    """Find pictures by words, and words by pictures.

    A text encoder and a picture encoder that were trained apart, and a map
    between them that your own captioned pictures fit in seconds.

    \b
    Try it, on emoji:
      skxmodal demo
    On your own folder, with a captions.csv of image,caption:
      skxmodal fit photos -o model
      skxmodal search model "a dog on a beach"
      skxmodal serve model
      skxmodal evaluate model other-photos
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
