"""Where an estimator's HTML representation links to."""

from __future__ import annotations

import sys

ADDRESS = "https://skxmodal.readthedocs.io/en/stable/"


class DocLinkMixin:
    """Link the HTML representation of an estimator to its page of the reference.

    scikit-learn reads the two attributes; classes written outside of the package, by
    subclassing, get no link.
    """

    _doc_link_module = "skxmodal"

    @property
    def _doc_link_template(self) -> str:
        offered = hasattr(sys.modules["skxmodal"], type(self).__name__)
        module = "skxmodal" if offered else "{estimator_module}"
        return f"{ADDRESS}generated/{module}.{{estimator_name}}.html"
