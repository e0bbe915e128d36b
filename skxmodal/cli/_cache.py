"""``skxmodal cache``: what is kept between runs, and how to be rid of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from skxmodal.cli._console import common_options, link, results

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
    "off" to keep no vectors.

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

    from skxmodal._paths import cache_folder

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
    from skxmodal._paths import cache_folder

    what = {_EMBEDDINGS: "vectors", **{name: each[0] for name, each in _FILES.items()}}
    *others, last = what.values()
    named = f"{', '.join(others)} and {last}" if only is None else what[only]
    if not yes and not click.confirm(f"Delete the cached {named}?", err=True):
        results().print("Nothing was deleted.")
        return
    if only in (None, _EMBEDDINGS):
        embeddings = _embedding_cache()
        if embeddings is not None:
            embeddings.clear()
    for name in _FILES:
        if only in (None, name):
            for folder in cache_folder(name).iterdir():
                shutil.rmtree(folder)
    if not quiet:
        results().print(f"Deleted the cached {named}.")


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
