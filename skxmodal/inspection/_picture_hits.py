"""The first hits of each query as pictures."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxmodal._content import as_items, content_keys
from skxmodal._pictures import open_picture
from skxmodal._validation import is_raw
from skxmodal.inspection._axes import open_axes
from skxmodal.metrics._protocol import check_aligned, opened

RIGHT_COLOUR = "#2a9d3f"
THUMBNAIL = 160


class PictureHitsDisplay:
    """Queries and their first hits as pictures, the correct ones framed.

    In a notebook the display shows itself as an HTML block; :meth:`plot` draws it
    with matplotlib.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    queries : list of str
        The queries.
    pictures : list of list of pictures
        Pictures found for each query, nearest first: paths, PIL images, bytes or
        arrays.
    distances : ndarray of shape (n_queries, n_hits), default=None
        Distance of each picture.
    correct : ndarray of shape (n_queries, n_hits) of bool, default=None
        Which pictures are right.
    names : list of list of str, default=None
        Name of each picture.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure of the last :meth:`plot`.
    axes_ : ndarray of shape (n_queries, n_hits)
        Its axes.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.inspection import PictureHitsDisplay
    >>> red, blue = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    >>> red[..., 0], blue[..., 2] = 255, 255
    >>> display = PictureHitsDisplay.from_predictions(
    ...     ["something red"], [[red, blue]], correct=[[True, False]]
    ... )
    >>> display.axes_.shape
    (1, 2)
    """

    def __init__(
        self,
        *,
        queries: list[str],
        pictures: list[list[Any]],
        distances: NDArray[np.float64] | None = None,
        correct: NDArray[np.bool_] | None = None,
        names: list[list[str]] | None = None,
    ) -> None:
        self.queries = queries
        self.pictures = pictures
        self.distances = distances
        self.correct = correct
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Sequence[Any],
        y: Any = None,
        *,
        n_neighbors: int = 5,
        pictures: Sequence[Any] | None = None,
    ) -> PictureHitsDisplay:
        """Search a retriever's gallery and draw the hits.

        Parameters
        ----------
        estimator : fitted CrossModalRetriever
            What searches, alone, last in a pipeline or the best of a search.
        X : sequence of n queries
            Queries, as the estimator takes them.
        y : sequence of n targets, default=None
            The right target of each query, as the retriever takes them or as pictures,
            to be framed where it is found; by content, so a path is enough.
        n_neighbors : int, default=5
            Number of hits.
        pictures : sequence of pictures, default=None
            The picture of each gallery item; by default the paths that the gallery
            was made from.

        Returns
        -------
        display : PictureHitsDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator does not search, as a mapper alone.
        ValueError
            If the gallery was not made from paths and `pictures` is not given, or y or
            `pictures` are of another length than X or the gallery.
        """
        final, steps = opened(estimator)
        if not hasattr(final, "kneighbors"):
            raise TypeError(
                "The display needs a fitted CrossModalRetriever, which finds pictures; "
                f"got {type(final).__name__}. Put the mapper into a retriever."
            )
        if y is not None:
            check_aligned(X, y)
        gallery = final.gallery_items_ if pictures is None else list(pictures)
        if gallery is None:
            raise ValueError(
                "The gallery holds vectors, not paths of pictures. Give the picture "
                "of each gallery item: pictures=[...], in the order of gallery_ids_."
            )
        ids = final.gallery_ids_
        if len(gallery) != len(ids):
            raise ValueError(
                f"pictures has {len(gallery)} entries for a gallery of {len(ids)} "
                "items: give the picture of each, in the order of gallery_ids_."
            )
        asked = X
        for step in steps:
            asked = step.transform(asked)
        distances, rows = final.kneighbors(asked, n_neighbors=n_neighbors)
        correct = None if y is None else _are_correct(final, gallery, y, rows)
        return cls.from_predictions(
            [str(query) for query in as_items(X)],
            [[gallery[row] for row in hits] for hits in rows],
            distances=distances,
            correct=correct,
            names=[[str(ids[row]) for row in hits] for hits in rows],
        )

    @classmethod
    def from_predictions(
        cls,
        queries: Sequence[str],
        pictures: Sequence[Sequence[Any]],
        *,
        distances: ArrayLike | None = None,
        correct: ArrayLike | None = None,
        names: Sequence[Sequence[str]] | None = None,
    ) -> PictureHitsDisplay:
        """Draw hits that were found before.

        Parameters
        ----------
        queries : sequence of str
            The queries.
        pictures : sequence of sequences of pictures
            Pictures found for each query, nearest first, as many for each.
        distances : array-like of shape (n_queries, n_hits), default=None
            Distance of each picture.
        correct : array-like of shape (n_queries, n_hits) of bool, default=None
            Which pictures are right.
        names : sequence of sequences of str, default=None
            Name of each picture.

        Returns
        -------
        display : PictureHitsDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the queries have unequal numbers of pictures, or none, or what is said of
            the pictures is of another shape.
        """
        counts = {len(hits) for hits in pictures}
        if len(pictures) != len(queries) or len(counts) != 1 or 0 in counts:
            raise ValueError(
                "Every query needs the same number of pictures, at least one; got "
                f"{len(queries)} queries and {[len(hits) for hits in pictures]}."
            )
        shape = (len(queries), counts.pop())
        display = cls(
            queries=[str(query) for query in queries],
            pictures=[list(hits) for hits in pictures],
            distances=_check_shape("distances", distances, shape, float),
            correct=_check_shape("correct", correct, shape, bool),
            names=None
            if names is None
            else _check_shape("names", names, shape, str).tolist(),
        )
        return display.plot()

    def plot(self) -> PictureHitsDisplay:
        """Draw one line of pictures for each query.

        Returns
        -------
        display : PictureHitsDisplay
            The display itself.
        """
        n_queries, n_hits = len(self.queries), len(self.pictures[0])
        size = (1.5 * n_hits + 1.8, 1.6 * n_queries)
        ax, self.figure_ = open_axes(None, figsize=size)
        ax.remove()
        grid = self.figure_.add_gridspec(
            n_queries, n_hits + 1, width_ratios=[1.2] + [1] * n_hits
        )
        axes = np.empty((n_queries, n_hits), dtype=object)
        for row, query in enumerate(self.queries):
            label = self.figure_.add_subplot(grid[row, 0])
            label.axis("off")
            label.text(
                0.98,
                0.5,
                textwrap.fill(query, 18),
                ha="right",
                va="center",
                transform=label.transAxes,
                parse_math=False,
            )
            for place, picture in enumerate(self.pictures[row]):
                ax = self.figure_.add_subplot(grid[row, place + 1])
                ax.imshow(_thumbnail(picture))
                self._frame(ax, row, place)
                axes[row, place] = ax
        self.axes_ = axes
        return self

    def _frame(self, ax: Any, row: int, place: int) -> None:
        ax.set_xticks([])
        ax.set_yticks([])
        if self.distances is not None:
            ax.set_xlabel(f"{self.distances[row, place]:.2f}", fontsize="x-small")
        right = self.correct is not None and bool(self.correct[row, place])
        for side in ax.spines.values():
            side.set(
                color=RIGHT_COLOUR if right else "0.85", linewidth=3 if right else 1
            )

    def _repr_html_(self) -> str:
        lines = []
        for row, query in enumerate(self.queries):
            cells = []
            for place, picture in enumerate(self.pictures[row]):
                right = self.correct is not None and bool(self.correct[row, place])
                name = self.names[row][place] if self.names else ""
                text = html.escape(name, quote=True) + (" (correct)" if right else "")
                border = f"3px solid {RIGHT_COLOUR}" if right else "1px solid #ccc"
                caption = ""
                if self.distances is not None:
                    caption = f"<br><small>{self.distances[row, place]:.2f}</small>"
                cells.append(
                    '<td style="text-align:center">'
                    f'<img src="{_data_url(picture)}" alt="{text}" title="{text}" '
                    f'style="border:{border};max-height:{THUMBNAIL}px">{caption}</td>'
                )
            lines.append(
                f'<tr><th style="text-align:right">{html.escape(query)}</th>'
                + "".join(cells)
                + "</tr>"
            )
        return "<table>" + "".join(lines) + "</table>"


def _are_correct(
    final: Any, gallery: Sequence[Any], y: Any, rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which hits are the item, or show the picture, that each query is to find."""
    correct = np.zeros(rows.shape, dtype=bool)
    pictures = is_raw(y)
    if pictures:
        wanted = np.array(content_keys(y, kind="found"), dtype=object)
        shown = [gallery[row] for row in rows.ravel().tolist()]
        found = np.array(content_keys(shown, kind="found"), dtype=object)
        correct |= found.reshape(rows.shape) == wanted[:, np.newaxis]
    if not pictures or getattr(final, "target_encoder_", None) is not None:
        correct |= rows == final.gallery_rows_of(y)[:, np.newaxis]
    return correct


def _check_shape(name: str, values: Any, shape: tuple[int, int], dtype: type) -> Any:
    if values is None:
        return None
    try:
        array: NDArray[Any] = np.asarray(values, object if dtype is str else dtype)
    except ValueError as error:
        raise ValueError(f"{name} must be of shape {shape}: {error}") from error
    if array.shape != shape:
        raise ValueError(
            f"{name} must be of shape {shape}, a value for each picture; got shape "
            f"{array.shape}."
        )
    return np.vectorize(str, otypes=[object])(array) if dtype is str else array


def _thumbnail(picture: Any) -> Any:
    image = open_picture(picture)
    image.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    return image


def _data_url(picture: Any) -> str:
    buffer = io.BytesIO()
    _thumbnail(picture).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
