"""The package as a whole: what importing it costs, its names, its layers."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest

import skxmodal
from skxmodal._doc_links import ADDRESS

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "torchvision", "matplotlib", "faiss", "dask", "PIL")
SUBPACKAGES = (
    "datasets",
    "distributed",
    "encoders",
    "inspection",
    "mappers",
    "metrics",
    "model_selection",
    "neighbors",
    "persistence",
)


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_import_brings_no_heavy_package():
    loaded = run_python(
        "import sys, skxmodal\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert loaded == "[]"


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_subpackages_bring_no_heavy_package(name):
    loaded = run_python(
        f"import sys, skxmodal.{name}\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert loaded == "[]"


def test_import_brings_nothing_but_the_package_and_what_scikit_learn_brings():
    listed = "print(' '.join(sys.modules))"
    loaded = set(run_python(f"import sys, skxmodal; {listed}").split())
    theirs = [name for name in loaded if name.partition(".")[0] == "sklearn"]
    code = (
        f"import importlib, sys\nfor name in {theirs!r}: importlib.import_module(name)"
    )
    brought = set(run_python(f"{code}\n{listed}").split())
    added = {name.partition(".")[0] for name in loaded - brought}
    assert added - {"skxmodal"} <= sys.stdlib_module_names


def test_import_takes_little_more_than_that_of_scikit_learn():
    code = (
        "import time\n"
        "start = time.perf_counter(); import sklearn, scipy.linalg\n"
        "middle = time.perf_counter(); import skxmodal\n"
        "print((time.perf_counter() - middle) / (middle - start))"
    )
    # A ratio, the best of three: the machine may be busy.
    assert min(float(run_python(code)) for _ in range(3)) < 2


@pytest.mark.parametrize("module", ["", *(f".{name}" for name in SUBPACKAGES)])
def test_public_names_exist_and_are_sorted(module):
    package = importlib.import_module(f"skxmodal{module}")
    assert list(package.__all__) == sorted(package.__all__, key=_as_ruff_sorts)
    for name in package.__all__:
        assert getattr(package, name) is not None


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    # Constants, then classes, then functions.
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def test_types_are_declared():
    assert resources.files("skxmodal").joinpath("py.typed").is_file()


def test_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert version("skxmodal") == skxmodal.__version__


def test_every_requirement_of_the_extras_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = set(project["dependencies"])
    for requirements in project["optional-dependencies"].values():
        wanted |= set(requirements)
    names = {
        requirement.split("[")[0].split("=")[0].split(">")[0].strip().lower()
        for requirement in wanted
    }
    assert names - {"skxmodal"} <= pinned


def test_layers_run_one_way():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_package_index_names_the_address_of_the_documentation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Documentation"] == ADDRESS


def test_a_source_distribution_holds_what_its_tests_read():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    included = set(build["build"]["targets"]["sdist"]["include"])
    needed = {"/skxmodal", "/tests", "/docs", "/examples", "/constraints.txt", "/*.md"}
    assert needed <= included


# make bench gives every one of them the folder of real embeddings.
@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/bench_*.py")))
def test_every_benchmark_takes_a_folder_of_data(path):
    assert '"--data"' in path.read_text()
