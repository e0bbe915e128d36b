"""Sphinx configuration; the build reads local files only."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import warnings
from pathlib import Path
from typing import Any

# Before NumPy is imported: for problems of the examples' size threads of BLAS cost
# more than they gain, and torch keeps its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import skxmodal

project = "skxmodal"
author = "The skxmodal developers"
project_copyright = "2026, The skxmodal developers (BSD-3-Clause)"
release = skxmodal.__version__
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "_templates",
    "_inventories",
    "auto_examples/*.ipynb",
    "auto_examples/*.py.md5",
    "auto_examples/*.codeobj.json",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = True
# Private bases show in signatures only; scikit-learn's own docstrings name
# labels of its user guide, of which the inventory holds those met so far.
nitpick_ignore_regex = [("py:.*", r"(skxmodal\.)?([a-z]+\.)*_[A-Za-z_]+(\..*)?")]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

default_role = "literal"  # as in scikit-learn's docstrings
autosummary_generate = True
autodoc_typehints = "none"
autodoc_inherit_docstrings = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
numpydoc_validation_checks: set[str] = set()

extlinks = {
    "arxiv": ("https://arxiv.org/abs/%s", "arXiv:%s"),
    "doi": ("https://doi.org/%s", "doi:%s"),
}
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "_inventories/python.inv"),
    "numpy": ("https://numpy.org/doc/stable", "_inventories/numpy.inv"),
    "scipy": ("https://docs.scipy.org/doc/scipy", "_inventories/scipy.inv"),
    "sklearn": ("https://scikit-learn.org/stable", "_inventories/sklearn.inv"),
    "matplotlib": ("https://matplotlib.org/stable", "_inventories/matplotlib.inv"),
    "pandas": ("https://pandas.pydata.org/docs", "_inventories/pandas.inv"),
    "dask": ("https://docs.dask.org/en/stable", "_inventories/dask.inv"),
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "doc_module": ("skxmodal",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"skxmodal": None},
    "within_subsection_order": "ExampleTitleSortKey",
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "remove_config_comments": True,
    "show_memory": False,
    "download_all_examples": False,
    "matplotlib_animations": False,
}

# Beside a class its methods' names alone: with the class before them they don't fit.
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "skxmodal"
html_static_path = ["_static"]
html_css_files = ["skxmodal.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skxmodal"},
    "navigation_with_keys": False,
    "show_prev_next": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "tutorial": []}

# An example that warns about matplotlib's backend would fail the build for
# nothing a reader can see.
warnings.filterwarnings("ignore", message=".*Matplotlib is currently using agg.*")


def public_addresses() -> dict[str, set[str]]:
    """Return, for each public name, the dotted names under which it is offered."""
    addresses: dict[str, set[str]] = {}
    modules = [skxmodal] + [
        importlib.import_module(module.name)
        for module in pkgutil.iter_modules(skxmodal.__path__, "skxmodal.")
        if not module.name.rpartition(".")[2].startswith("_")
    ]
    for module in modules:
        for name in getattr(module, "__all__", ()):
            addresses.setdefault(name, set()).add(f"{module.__name__}.{name}")
    return addresses


def resolve_public_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Find the page of a name that a docstring gives short, or by another module.

    A class that the package offers itself is documented there, and its docstring
    may name a function of the subpackage in which it is written.
    """
    if node.get("refdomain") != "py":
        return None
    parts = node["reftarget"].removeprefix("skxmodal.").split(".")
    for start, part in enumerate(parts):
        for address in sorted(app.public_addresses.get(part, ()), key=len):
            full = ".".join([address, *parts[start + 1 :]])
            found = env.domains["py"].resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], full, node, contnode
            )
            if found is not None:
                return found
    return None


def escape_attributes_in_shapes(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Keep names such as n_features_in_ in a type from being read as links."""
    for number, line in enumerate(lines):
        if re.match(r"\s*\*?[\w, ]+ : .*\bshape\b", line):
            lines[number] = re.sub(r"(?<![`\w])(\w+)_(?=[,)\s])", r"\1\\_", line)


def write_command_page(app: Any) -> None:
    """Write the page of the command from what each part's --help says."""
    import click

    from skxmodal.cli._app import app as command

    parts = ["# The command", "What `--help` says of each part of the command.", ""]

    def add(name: str, each: Any, parent: Any) -> None:
        context = click.Context(
            each, info_name=name, parent=parent, max_content_width=88, terminal_width=88
        )
        heading = context.command_path
        text = each.get_help(context)
        parts.extend([f"## {heading}", "", "```text", text, "```", ""])
        if isinstance(each, click.Group):
            for inner in each.list_commands(context):
                add(inner, each.get_command(context, inner), context)

    add("skxmodal", command, None)
    page = Path(app.srcdir) / "generated" / "command.md"
    page.parent.mkdir(exist_ok=True)
    text = "\n".join(parts)
    # Left alone where nothing changed, or every build would read it anew.
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Register what the build needs beyond its extensions."""
    app.public_addresses = public_addresses()
    app.connect("builder-inited", write_command_page)
    app.connect("missing-reference", resolve_public_name)
    # Before numpydoc, which reads the lines at the usual priority.
    app.connect("autodoc-process-docstring", escape_attributes_in_shapes, priority=100)
