"""The documentation is complete, its links resolve, and its Python runs."""

from __future__ import annotations

import ast
import csv
import importlib
import importlib.util
import inspect
import re
import shutil
import zlib
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

from skxmodal import ProcrustesMapper
from skxmodal._doc_links import ADDRESS
from skxmodal.datasets import load_openmoji


def script(path):
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ROOT = Path(__file__).parents[1]
names = script(ROOT / "tests" / "test_docstrings.py")
public_modules, public_names = names.public_modules, names.public_names
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", DOCS / "tutorial.md", *sorted(DOCS.glob("how_to/*.md"))]
PROSE = [
    *ROOT.glob("*.md"),
    *(page for page in DOCS.rglob("*.md") if "_build" not in page.parts),
]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")

# Public names that nobody imports to use the package, and so no example does.
NOT_IMPORTED = {
    # What functions and methods return; examples use them without their names.
    "skxmodal.inspection.AlignmentReport",
    "skxmodal.inspection.NeighborOverlap",
    "skxmodal.inspection.RecallCurve",
    "skxmodal.metrics.Comparison",
    "skxmodal.metrics.Ranks",
    "skxmodal.metrics.RetrievalRanks",
    # An abstract base, and what reads a parameter's value.
    "skxmodal.neighbors.HubnessCorrection",
    "skxmodal.neighbors.make_hubness",
    # Warnings and errors, which pages show as they are raised.
    "skxmodal.distributed.ShardError",
    "skxmodal.encoders.CacheWarning",
    "skxmodal.metrics.LeakageWarning",
    # What scorers call where they are given Dask collections.
    "skxmodal.distributed.count_ranks",
}


def names_in_reference():
    text = (DOCS / "reference" / "index.rst").read_text()
    names, module = set(), ""
    for line in text.splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.removeprefix(".. currentmodule:: ").strip()
        elif re.fullmatch(r"   [A-Za-z]\w*", line):
            names.add(f"{module}.{line.strip()}")
    return names


def resolved(dotted):
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_reference_lists_every_public_name_and_no_other():
    listed = {id(resolved(name)) for name in names_in_reference()}
    public = {id(resolved(name)) for name in public_names()}
    missing = [name for name in public_names() if id(resolved(name)) not in listed]
    assert missing == []
    assert [
        name for name in names_in_reference() if id(resolved(name)) not in public
    ] == []


def names_imported(code):
    """Return what a piece of Python imports from the package."""
    for node in ast.walk(ast.parse(code)):
        module = getattr(node, "module", None) or ""
        if isinstance(node, ast.ImportFrom) and module.split(".")[0] == "skxmodal":
            for alias in node.names:
                yield f"{module}.{alias.name}"


def test_every_public_name_is_used_in_an_example_or_on_a_page():
    pieces = [path.read_text() for path in EXAMPLES]
    for page in PAGES:
        pieces += CODE.findall(page.read_text())
    names = {name for piece in pieces for name in names_imported(piece)}
    used = {id(resolved(name)) for name in names}
    unused = {name for name in public_names() if id(resolved(name)) not in used}
    assert unused == NOT_IMPORTED


def test_html_representations_link_to_pages_of_the_reference():
    estimators = [
        name
        for name in public_names()
        if inspect.isclass(resolved(name))
        and issubclass(resolved(name), BaseEstimator)
        and not inspect.isabstract(resolved(name))
    ]
    assert len(estimators) > 20
    pages = {f"generated/{name}.html" for name in names_in_reference()}
    for name in estimators:
        cls = resolved(name)
        link = cls.__new__(cls)._get_doc_link()
        assert link.removeprefix(ADDRESS) in pages, f"{name} links to {link}"


def test_classes_of_others_get_no_link():
    class Mine(ProcrustesMapper):
        """A user's own."""

    assert Mine()._get_doc_link() == ""


def test_public_modules_are_introduced_in_the_reference():
    text = (DOCS / "reference" / "index.rst").read_text()
    for module in public_modules():
        if getattr(module, "__all__", None):
            assert f".. currentmodule:: {module.__name__}\n" in text


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    # Pages of the gallery exist once the documentation is built.
    targets = [
        target
        for target in LINK.findall(CODE.sub("", page.read_text()))
        if not target.startswith(("http://", "https://", "mailto:"))
    ]
    for target in targets:
        path = (page.parent / target).resolve()
        if path.parent == DOCS / "auto_examples":
            name = "README.rst" if path.stem == "index" else f"{path.stem}.py"
            path = ROOT / "examples" / name
        assert path.exists(), f"{page.name} links to {target}, which does not exist"


def test_inventories_are_what_their_script_writes():
    folder = DOCS / "_inventories"
    make = script(folder / "make.py")
    for project in make.PROJECTS:
        body = (folder / f"{project}.inv").read_bytes().split(b"zlib.\n", 1)[1]
        lines = zlib.decompress(body).decode().splitlines()
        assert lines == make.inventory_lines(project), f"run {folder / 'make.py'}"


@pytest.fixture(scope="module")
def pictures():
    """Return emoji of things with plain names, spread over the whole set."""
    emoji = load_openmoji()
    step = len(emoji.names) // 120
    rows = set(range(0, len(emoji.names), step))
    rows |= {emoji.names.index(name) for name in ("umbrella", "dog", "pizza")}
    return [(emoji.pictures[row], emoji.names[row]) for row in sorted(rows)]


@pytest.fixture
def folder(pictures, tmp_path, monkeypatch):
    """Make what the pages assume: a folder ``photos`` with ``captions.csv``."""
    photos = tmp_path / "photos"
    photos.mkdir()
    with (photos / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        for picture, name in pictures:
            shutil.copy(picture, photos / picture.name)
            rows.writerow([picture.name, name])
            rows.writerow([picture.name, f"a drawing of {name}"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_on_the_page_runs(page, folder):
    namespace = {"__name__": "__page__"}
    for number, block in enumerate(CODE.findall(page.read_text()), start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), namespace)
