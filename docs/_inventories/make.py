"""Write the intersphinx inventories that the documentation links through.

Run it after adding a name: ``python docs/_inventories/make.py``. Each name is
imported first, so that a link to something that does not exist is an error here
and not a dead link on the site. No network is used: the addresses follow each
project's own scheme.
"""

from __future__ import annotations

import importlib
import zlib
from pathlib import Path

HERE = Path(__file__).parent

GENERATED = "{name}.html#{name}"
PYTHON = {
    "library/functions.html#{name}": {
        "class": ["dict", "float", "int", "list", "object", "str", "tuple", "bytes"],
    },
    "library/exceptions.html#{name}": {
        "exception": [
            "ImportError",
            "IndexError",
            "KeyError",
            "NotImplementedError",
            "OSError",
            "RuntimeError",
            "TypeError",
            "UserWarning",
            "ValueError",
        ],
    },
    "library/pathlib.html#{name}": {"class": ["pathlib.Path"]},
    "library/pickle.html#module-{name}": {"module": ["pickle"]},
    "library/collections.abc.html#{name}": {
        "class": ["collections.abc.Iterable", "collections.abc.Sequence"]
    },
}
NUMPY = {
    "reference/generated/" + GENERATED: {
        "class": ["numpy.ndarray", "numpy.memmap", "numpy.random.RandomState"],
        "function": ["numpy.load", "numpy.save"],
    },
}
SCIPY = {
    "reference/generated/" + GENERATED: {
        "function": [
            "scipy.linalg.lstsq",
            "scipy.linalg.orthogonal_procrustes",
            "scipy.linalg.svd",
        ],
    },
}
SKLEARN = {
    "modules/generated/" + GENERATED: {
        "class": [
            "sklearn.base.BaseEstimator",
            "sklearn.base.TransformerMixin",
            "sklearn.compose.TransformedTargetRegressor",
            "sklearn.cross_decomposition.CCA",
            "sklearn.linear_model.LinearRegression",
            "sklearn.linear_model.Ridge",
            "sklearn.linear_model.RidgeCV",
            "sklearn.model_selection.GridSearchCV",
            "sklearn.model_selection.RandomizedSearchCV",
            "sklearn.model_selection.GroupKFold",
            "sklearn.model_selection.GroupShuffleSplit",
            "sklearn.model_selection.HalvingGridSearchCV",
            "sklearn.model_selection.KFold",
            "sklearn.multioutput.MultiOutputRegressor",
            "sklearn.neighbors.NearestNeighbors",
            "sklearn.pipeline.FeatureUnion",
            "sklearn.pipeline.Pipeline",
            "sklearn.preprocessing.FunctionTransformer",
            "sklearn.preprocessing.StandardScaler",
            "sklearn.utils.Bunch",
            "sklearn.utils.metadata_routing.MetadataRequest",
            "sklearn.utils.metadata_routing.MetadataRouter",
        ],
        "exception": ["sklearn.exceptions.NotFittedError"],
        "function": [
            "sklearn.base.clone",
            "sklearn.config_context",
            "sklearn.metrics.classification_report",
            "sklearn.metrics.r2_score",
            "sklearn.model_selection.cross_val_score",
            "sklearn.model_selection.cross_validate",
            "sklearn.model_selection.learning_curve",
            "sklearn.model_selection.permutation_test_score",
            "sklearn.model_selection.validation_curve",
            "sklearn.model_selection.train_test_split",
            "sklearn.set_config",
            "sklearn.utils.estimator_checks.check_estimator",
        ],
        "method": [
            "sklearn.base.TransformerMixin.set_output",
            "sklearn.model_selection.GridSearchCV.fit",
        ],
    },
}
SKLEARN_LABELS = {
    "metadata_routing": ("metadata_routing.html#metadata-routing", "Metadata Routing"),
    "metadata_routing_models": ("metadata_routing.html#metadata-routing", "Models"),
    "set_output": (
        "auto_examples/miscellaneous/plot_set_output.html",
        "Introducing the set_output API",
    ),
    "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
        "auto_examples/miscellaneous/plot_set_output.html",
        "Introducing the set_output API",
    ),
    "df_output_transform": (
        "data_transforms.html#df-output-transform",
        "Transformers output",
    ),
    "r2_score": ("modules/model_evaluation.html#r2-score", "R² score"),
    "array_api": ("modules/array_api.html#array-api", "Array API support"),
    "visualizations": ("visualizations.html#visualizations", "Visualizations"),
}
SKLEARN_TERMS = {
    "fit": ("glossary.html#term-fit", "fit"),
    "classes_": ("glossary.html#term-classes_", "classes_"),
    "random_state": ("glossary.html#term-random_state", "random_state"),
    "meta-estimator": ("glossary.html#term-meta-estimator", "meta-estimator"),
    "Glossary": ("glossary.html", "Glossary"),
    "n_jobs": ("glossary.html#term-n_jobs", "n_jobs"),
    "groups": ("glossary.html#term-groups", "groups"),
    "scoring": ("glossary.html#term-scoring", "scoring"),
    "CV splitter": ("glossary.html#term-CV-splitter", "CV splitter"),
}
MATPLOTLIB = {
    "api/_as_gen/" + GENERATED: {"class": ["matplotlib.axes.Axes"]},
    "api/figure_api.html#{name}": {"class": ["matplotlib.figure.Figure"]},
}
PANDAS = {"reference/api/" + GENERATED: {"class": ["pandas.DataFrame"]}}
DASK = {
    "array-api.html#{name}": {"class": ["dask.array.Array"]},
    "bag-api.html#{name}": {"class": ["dask.bag.Bag"]},
}

PROJECTS = {
    "python": PYTHON,
    "numpy": NUMPY,
    "scipy": SCIPY,
    "sklearn": SKLEARN,
    "matplotlib": MATPLOTLIB,
    "pandas": PANDAS,
    "dask": DASK,
}


def imported(name: str) -> object:
    """Return the object of a dotted name, or raise ImportError."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    return getattr(importlib.import_module("builtins"), name)


def inventory_lines(project: str) -> list[str]:
    """Return the body of one project's inventory, a line a name."""
    lines = []
    for address, roles in PROJECTS[project].items():
        for role, names in roles.items():
            for name in names:
                imported("sklearn.experimental.enable_halving_search_cv")
                imported(name)
                location = address.format(name=name)
                lines.append(f"{name} py:{role} 1 {location} -")
    if project == "sklearn":
        for label, (location, title) in SKLEARN_LABELS.items():
            lines.append(f"{label} std:label -1 {location} {title}")
        for term, (location, title) in SKLEARN_TERMS.items():
            lines.append(f"{term} std:term -1 {location} {title}")
    return sorted(lines)


def inventory(project: str) -> bytes:
    """Return one project's inventory in Sphinx's version 2 format."""
    header = (
        "# Sphinx inventory version 2\n"
        f"# Project: {project}\n"
        "# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    body = "".join(f"{line}\n" for line in inventory_lines(project))
    return header.encode() + zlib.compress(body.encode(), 9)


if __name__ == "__main__":
    for project in PROJECTS:
        HERE.joinpath(f"{project}.inv").write_bytes(inventory(project))
