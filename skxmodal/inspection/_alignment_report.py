"""One answer to whether two encoders will align, from a few hundred pairs."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups
from skxmodal.inspection._alignment import (
    NeighborOverlap,
    check_pair,
    effective_rank,
    hubness_skewness,
    linear_cka,
    mutual_knn_overlap,
)

# Where the words change was calibrated: docs/decisions/0021-alignment-verdict.md.
_LARGEST_P_VALUE = 0.01
_LEAST_CKA = {"strong": 0.45, "good": 0.15}
_HUBS = 1.0
_FEW_PAIRS = 100

_SENTENCES = {
    "strong": "The two spaces agree strongly: a few hundred pairs make a good map.",
    "good": "The two spaces agree well enough to map one to the other. More pairs will "
    "keep paying: some thousands are worth having.",
    "weak": "The two spaces agree more than chance explains, but little: expect far "
    "less than well-matched encoders give. Check that the pairs are right, or try "
    "encoders that see more of what the other side says.",
    "none": "The two spaces agree no more than chance explains: no map will retrieve "
    "much. Check that row i of X belongs to row i of y before trying other encoders.",
}


@dataclass(frozen=True)
class AlignmentReport:
    """What :func:`alignment_report` found; print it, or read its fields.

    Attributes
    ----------
    verdict : {"strong", "good", "weak", "none"}
        Whether the two encoders will align.

    cka : float
        Debiased linear centred kernel alignment.

    neighbors : NeighborOverlap
        Mutual k-nearest-neighbour overlap, its null and its p-value.

    x_effective_rank, y_effective_rank : float
        Dimensions that each side really uses, over these pairs.

    x_hubness, y_hubness : float
        Skewness of the k-occurrence of each side, centred.

    n_samples : int
        Pairs that it was computed from, one a picture.

    n_given : int
        Pairs given.

    n_groups : int
        Pictures among them.
    """

    verdict: str
    cka: float
    neighbors: NeighborOverlap
    x_effective_rank: float
    y_effective_rank: float
    x_hubness: float
    y_hubness: float
    n_samples: int
    n_given: int
    n_groups: int

    @property
    def summary(self) -> str:
        """The verdict in a sentence."""
        return _SENTENCES[self.verdict]

    @property
    def notes(self) -> list[str]:
        """What else is worth knowing, a sentence each."""
        notes = []
        if self.n_groups < self.n_given:
            notes.append(
                f"Of {self.n_given} pairs, {self.n_groups} have a target of their own; "
                "one pair was taken for each."
            )
        if self.n_samples < self.n_groups:
            notes.append(
                f"{self.n_samples} pairs were drawn of {self.n_groups}: raise "
                "max_samples to read more."
            )
        if self.n_samples < _FEW_PAIRS:
            notes.append(
                f"{self.n_samples} pairs are few: some {3 * _FEW_PAIRS} give a firmer "
                "answer."
            )
        if max(self.x_hubness, self.y_hubness) > _HUBS:
            notes.append(
                "Hubs: a few items are near to many. Try hubness='csls' in the "
                "retriever."
            )
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as plain numbers and words.

        Returns
        -------
        report : dict
            One entry a figure, as `json.dumps` takes it.
        """
        return {
            "verdict": self.verdict,
            "cka": self.cka,
            "neighbor_overlap": self.neighbors.overlap,
            "neighbor_overlap_expected": self.neighbors.expected,
            "p_value": self.neighbors.p_value,
            "n_neighbors": self.neighbors.n_neighbors,
            "n_permutations": self.neighbors.n_permutations,
            "x_effective_rank": self.x_effective_rank,
            "y_effective_rank": self.y_effective_rank,
            "x_hubness": self.x_hubness,
            "y_hubness": self.y_hubness,
            "n_samples": self.n_samples,
            "n_given": self.n_given,
            "n_groups": self.n_groups,
        }

    def _figures(self) -> list[tuple[str, str]]:
        k, overlap = self.neighbors.n_neighbors, self.neighbors
        return [
            ("Pairs", f"{self.n_samples}"),
            ("Linear CKA, debiased", f"{self.cka:.3f} (0 by chance, 1 at most)"),
            (
                f"Shared {k} nearest neighbours",
                f"{overlap.overlap:.1%} ({overlap.expected:.1%} by chance, "
                f"{overlap.lift:.1f} times that; p = {overlap.p_value:.2g})",
            ),
            (
                "Effective rank of X, y",
                f"{self.x_effective_rank:.0f}, {self.y_effective_rank:.0f}",
            ),
            (
                "Hubness (skewness) of X, y",
                f"{self.x_hubness:.2f}, {self.y_hubness:.2f}",
            ),
        ]

    def __str__(self) -> str:
        figures = self._figures()
        width = max(len(name) for name, _ in figures)
        lines = [f"Alignment: {self.verdict}", self.summary, ""]
        lines += [f"{name:<{width}}  {figure}" for name, figure in figures]
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: left'>{escape(name)}</th>"
            f"<td style='text-align: left'>{escape(figure)}</td></tr>"
            for name, figure in self._figures()
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f"<div><p><strong>Alignment: {escape(self.verdict)}</strong></p>"
            f"<p>{escape(self.summary)}</p><table>{rows}</table>{notes}</div>"
        )


def alignment_report(
    X: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    n_neighbors: int = 10,
    n_permutations: int = 999,
    max_samples: int | None = 2000,
    random_state: Any = 0,
) -> AlignmentReport:
    """Tell whether two encoders will align, before any map is fitted.

    A few hundred pairs are enough. The verdict is "none" unless the overlap of
    nearest neighbours beats chance with a p-value of at most 0.01 and the debiased
    linear CKA is above 0; then the CKA decides: "strong" from 0.45, "good" from 0.15,
    "weak" below.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.

    y : array-like of shape (n_samples, n_targets)
        Embeddings of the targets, row by row those of `X`.

    groups : array-like of shape (n_samples,), default=None
        The picture that each pair belongs to: of several pairs of one picture the
        first is taken. None takes equal rows of `y` for one picture.

    n_neighbors : int, default=10
        How many neighbours of each row are compared; fewer than there are pictures.

    n_permutations : int, default=999
        How many permutations of the pairs the p-value rests on, at least 99.

    max_samples : int or None, default=2000
        Of more pairs, draw this many: time grows with their square. None takes all,
        in blocks of rows.

    random_state : int, RandomState instance or None, default=0
        Draws the pairs and the permutations.

    Returns
    -------
    report : AlignmentReport
        Print it; or read `verdict`, `cka`, `neighbors` and more, or `to_dict()`.

    Raises
    ------
    ValueError
        If the sides differ in rows, hold raw items or values that are not finite, do
        not vary, or are of no more than `n_neighbors` pictures; or if a number is out
        of range.

    See Also
    --------
    linear_cka : The figure that the verdict goes by.
    mutual_knn_overlap : The test of whether there is any alignment.

    Examples
    --------
    >>> from skxmodal.datasets import make_paired_embeddings
    >>> from skxmodal.inspection import alignment_report
    >>> X, y = make_paired_embeddings(300, random_state=0)
    >>> report = alignment_report(X, y)
    >>> report.verdict
    'strong'
    >>> alignment_report(X, y[::-1]).verdict
    'none'
    """
    X, y = check_pair(X, y, min_rows=4)
    if not isinstance(n_permutations, Integral) or n_permutations < 99:
        raise ValueError(
            f"n_permutations must be an integer of at least 99, for a p-value of 0.01, "
            f"got {n_permutations!r}."
        )
    if max_samples is not None and (
        not isinstance(max_samples, Integral) or max_samples < 4
    ):
        raise ValueError(
            f"max_samples must be an integer of at least 4, or None, got "
            f"{max_samples!r}."
        )
    n_given = len(X)
    if groups is None:
        rows, _ = group_by_content(y)
    else:
        rows = np.unique(check_groups(groups, n_given), return_index=True)[1]
    n_groups = len(rows)
    rng = check_random_state(random_state)
    if max_samples is not None and n_groups > max_samples:
        rows = np.sort(rng.choice(rows, max_samples, replace=False))
    if isinstance(n_neighbors, Integral) and len(rows) <= n_neighbors:
        raise ValueError(
            f"{n_given} pairs of {len(rows)} pictures are too few to compare "
            f"{n_neighbors} neighbours of each: give more pairs, or a smaller "
            "n_neighbors."
        )
    X, y = X[rows], y[rows]
    neighbors = mutual_knn_overlap(
        X, y, n_neighbors, n_permutations=n_permutations, random_state=rng
    )
    cka = linear_cka(X, y)
    sides = [side - side.mean(axis=0, dtype=np.float64) for side in (X, y)]
    return AlignmentReport(
        verdict=_verdict(cka, neighbors.p_value),
        cka=cka,
        neighbors=neighbors,
        x_effective_rank=effective_rank(X),
        y_effective_rank=effective_rank(y),
        x_hubness=hubness_skewness(sides[0], n_neighbors=n_neighbors),
        y_hubness=hubness_skewness(sides[1], n_neighbors=n_neighbors),
        n_samples=len(rows),
        n_given=n_given,
        n_groups=n_groups,
    )


def _verdict(cka: float, p_value: float) -> str:
    if p_value > _LARGEST_P_VALUE or cka <= 0.0:
        return "none"
    return next((word for word, least in _LEAST_CKA.items() if cka >= least), "weak")
