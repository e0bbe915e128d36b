"""``skxmodal cache``: what is kept between runs, and how to be rid of it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from skxmodal._paths import CACHE_VARIABLE, cache_folder
from skxmodal.cli._console import Progress, Stopped, common_options, link, results

_EMBEDDINGS = "embeddings"
# Folders of plain files: what each holds, and which of its files are counted.
_FILES = {
    "openmoji": ("emoji pictures", ".png"),
    "exports": ("exported networks", ".onnx"),
}


@click.group(
    invoke_without_command=True, short_help="Show or clear what is kept between runs."
)
@click.pass_context
def cache(ctx: click.Context) -> None:
    """Show or clear what skxmodal keeps between runs.

    Vectors of texts and pictures are kept by content, so that nothing is
    encoded twice; the emoji of the demo are kept as PNG files, and networks
    exported for onnxruntime and OpenVINO as ONNX files. All are made again
    when they are needed. SKXMODAL_CACHE says where: a folder, or
    "off" to keep no vectors, and the rest where it is by default.

    \b
    Examples:
      skxmodal cache info
      skxmodal cache clear
      SKXMODAL_CACHE=/big/disk skxmodal fit photos -o model
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cache.command(short_help="Show where the cache is and how large.")
@common_options
def info(quiet: bool) -> None:
    """Show where the cache is and what it holds.

    \b
    Example:
      skxmodal cache info
    """
    from rich.table import Table

    table = Table(title="Cache", title_justify="left", title_style="bold")
    for name in ("what", "items", "size", "folder"):
        table.add_column(name, justify="right" if name in ("items", "size") else "left")
    embeddings = _embedding_info()
    if embeddings is None:
        table.add_row("vectors", "-", "-", "off")
    else:
        table.add_row(
            "vectors",
            str(embeddings["n_vectors"]),
            size_of(embeddings["n_bytes"]),
            link(Path(embeddings["path"])),
        )
    for name, (what, suffix) in _FILES.items():
        folder = cache_folder(name)
        files = [path for path in folder.rglob("*") if path.is_file()]
        table.add_row(
            what,
            str(sum(path.suffix == suffix for path in files)),
            size_of(sum(path.stat().st_size for path in files)),
            link(folder),
        )
    results().print(table)


@cache.command(short_help="Delete what is kept.")
@click.option(
    "--only",
    type=click.Choice([_EMBEDDINGS, *_FILES]),
    help="Delete this part alone.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common_options
def clear(only: str | None, yes: bool, quiet: bool) -> None:
    """Delete what is kept between runs. Models that you saved stay.

    \b
    Examples:
      skxmodal cache clear
      skxmodal cache clear --only openmoji --yes
    """
    found = _kept()
    if only is not None and only not in found:
        raise Stopped(f"SKXMODAL_CACHE={os.environ[CACHE_VARIABLE]}: no vectors kept.")
    chosen = found if only is None else {only: found[only]}
    whats = [what for what, _ in chosen.values()]
    named = " and ".join(filter(None, (", ".join(whats[:-1]), whats[-1])))
    progress = Progress(quiet=quiet)
    for what, folder in chosen.values():
        progress.say(f"{what}: {folder}")
    if not yes and not _confirmed(f"Delete the cached {named}?"):
        results().print("Nothing was deleted.")
        return
    for name, (_, folder) in chosen.items():
        if name == _EMBEDDINGS:
            _embedding_cache().clear()
            continue
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    if not quiet:
        results().print(f"Deleted the cached {named}.")


def _kept() -> dict[str, tuple[str, Path]]:
    """What there may be of each kind, in words, and its folder."""
    embeddings = _embedding_cache()
    kept = {} if embeddings is None else {_EMBEDDINGS: ("vectors", embeddings.path)}
    files = {name: (what, cache_folder(name)) for name, (what, _) in _FILES.items()}
    return kept | files


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise Stopped("There is nobody to ask. To delete without asking: --yes") from (
            None
        )


def size_of(n_bytes: int) -> str:
    """Bytes in the unit that keeps the number short."""
    size = float(n_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _embedding_cache() -> Any:
    from skxmodal.encoders._cache import resolve_cache

    return resolve_cache(None)


def _embedding_info() -> dict[str, Any] | None:
    embeddings = _embedding_cache()
    return None if embeddings is None else embeddings.info()
