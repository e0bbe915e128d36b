"""Running first and second moments of paired rows."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from sklearn.utils._array_api import get_namespace

from skxmodal.mappers._blocks import (
    NOT_FINITE,
    TargetProducts,
    cross_may_suffice,
    cross_suffices,
    float32_suffices,
    is_float32,
)
from skxmodal.mappers._moment_sums import ARRAYS, MomentSums
from skxmodal.mappers._placement import plain

LEVELS: tuple[TargetProducts, ...] = ("none", "squares", "full")


class Moments(MomentSums):
    """Weighted count, means and cross-products of paired rows, in float64.

    All that a linear mapper needs to know of its training pairs. They are summed
    over blocks of rows, each about a shift near its own mean so that large offsets do
    not cancel, and can be added, subtracted, merged and stored. Their size does not
    depend on the number of rows.

    Products of float64 rows are formed in float64. Those of float32 rows are formed in
    float32 a block, and summed in float64, where the rows of an update are many enough
    to show that X is well conditioned; in float64 elsewhere.

    Rounding is kept account of. A column that varies by no more than that counts as
    constant: its row and column of the products are exactly zero.

    Parameters
    ----------
    n_features : int
        The number of columns of X.

    n_targets : int
        The number of columns of y.

    target_products : {"none", "squares", "full"}, default="squares"
        How much of y'y is kept: nothing, the sum of squares of each column, or the
        whole (n_targets, n_targets) matrix.

    judge_cross : bool, default=False
        Whether X'y, too, must be well conditioned for products in float32, as a map
        asks that divides by its singular values. Where `target_products` is "full", y
        always must be.

    Attributes
    ----------
    n_samples : int
        The number of rows of positive weight.

    weight : float
        The sum of the weights; `n_samples` where no weights were given.

    in_float32 : bool
        Whether any products were formed in float32.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.mappers import Moments
    >>> X, y = np.eye(3), np.arange(6.0).reshape(3, 2)
    >>> moments = Moments(3, 2).update(X[:2], y[:2]).update(X[2:], y[2:])
    >>> moments.n_samples
    3
    >>> np.allclose(moments.xy, X.T @ (y - y.mean(axis=0)))
    True
    """

    def __init__(
        self,
        n_features: int,
        n_targets: int,
        *,
        target_products: TargetProducts = "squares",
        judge_cross: bool = False,
    ) -> None:
        if target_products not in LEVELS:
            raise ValueError(
                f"target_products must be one of {LEVELS}, got {target_products!r}."
            )
        self.n_features = int(n_features)
        self.n_targets = int(n_targets)
        self.target_products: TargetProducts = target_products
        self.judge_cross = bool(judge_cross)
        self._clear()

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        target_products: TargetProducts = "squares",
    ) -> Self:
        """Make the moments of row-aligned arrays or memory maps.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            The queries.

        y : array of shape (n_samples, n_targets)
            The targets.

        sample_weight : array of shape (n_samples,), default=None
            A weight a row, not negative.

        target_products : {"none", "squares", "full"}, default="squares"
            How much of y'y is kept.

        Returns
        -------
        moments : Moments
            The moments of all rows.
        """
        X, y = _as_arrays(X, y)
        moments = cls(X.shape[1], y.shape[1], target_products=target_products)
        return moments.update(X, y, sample_weight)

    @classmethod
    def from_blocks(
        cls, blocks: Iterable[tuple[Any, ...]], *, target_products: TargetProducts
    ) -> Self:
        """Make the moments of an iterable of (X, y) or (X, y, sample_weight) blocks.

        Parameters
        ----------
        blocks : iterable of tuples of arrays
            Each is read once and may be dropped afterwards. Blocks of a thousand rows
            and more are the fastest.

        target_products : {"none", "squares", "full"}
            How much of y'y is kept.

        Returns
        -------
        moments : Moments
            The moments of all rows of all blocks.

        Raises
        ------
        ValueError
            If there is no block.
        """
        moments: Self | None = None
        for block in blocks:
            if moments is None:
                X, y = _as_arrays(*block[:2])
                widths = X.shape[1], y.shape[1]
                moments = cls(*widths, target_products=target_products)
            moments.update(*block)
        if moments is None:
            raise ValueError("blocks is empty: at least one block of rows is needed.")
        return moments

    @property
    def xx(self) -> np.ndarray:
        """X'X of the centred rows, of shape (n_features, n_features)."""
        xx = self._x_products - np.outer(self._x_sum, self._x_sum / self._some_weight())
        return _without(xx, self._x_constant(), both=True)

    @property
    def xy(self) -> np.ndarray:
        """X'y of the centred rows, of shape (n_features, n_targets)."""
        xy = np.outer(self._x_sum, self._y_sum / self._some_weight())
        _without(np.subtract(self._xy_products, xy, out=xy), self._x_constant())
        if self.target_products != "none":
            _without(xy.T, self._y_constant())
        return xy

    @property
    def yy(self) -> np.ndarray:
        """Y'Y of the centred rows, of shape (n_targets, n_targets)."""
        if self.target_products != "full":
            raise ValueError(
                f"These moments hold target_products={self.target_products!r}: y'y "
                "needs moments made with target_products='full'."
            )
        yy = self._y_products - np.outer(self._y_sum, self._y_sum / self._some_weight())
        return _without(yy, self._y_constant(), both=True)

    @property
    def y_squares(self) -> np.ndarray:
        """The sum of squares of each centred column of y, of shape (n_targets,)."""
        if self.target_products == "none":
            raise ValueError(
                "These moments hold target_products='none': squares of y need moments "
                "made with target_products='squares' or 'full'."
            )
        return np.where(self._y_constant(), 0.0, self._squares("y"))

    @property
    def x_rounding(self) -> np.ndarray:
        """What rounding may have added to the diagonal of xx, (n_features,).

        It grows with all that was ever added or taken away.
        """
        return self._x_rounding.copy()

    @property
    def y_rounding(self) -> np.ndarray:
        """What rounding may have added to `y_squares`, of shape (n_targets,).

        Empty where no products of y are kept.
        """
        return self._y_rounding.copy()

    def update(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Add rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            The queries: NumPy, a memory map, or, under scikit-learn's
            `array_api_dispatch`, any array it knows.

        y : array of shape (n_samples, n_targets)
            The targets.

        sample_weight : array of shape (n_samples,), default=None
            A weight a row, not negative. A row of weight 0 is as good as absent.

        Returns
        -------
        self : Moments
            These moments.

        Raises
        ------
        ValueError
            If the shapes do not fit or a number is not finite; nothing is added then.
        """
        return self._combine(self._summed(X, y, sample_weight), 1)

    def downdate(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Take rows away again: the inverse of `update`.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Queries that were added before.

        y : array of shape (n_samples, n_targets)
            Their targets.

        sample_weight : array of shape (n_samples,), default=None
            The weights they were added with.

        Returns
        -------
        self : Moments
            These moments.

        Raises
        ------
        ValueError
            If more rows, more weight or more variance would go than there is;
            nothing is taken away then.
        """
        return self._combine(self._summed(X, y, sample_weight), -1)

    def __iadd__(self, other: Moments) -> Self:
        return self._combine(other, 1)

    def __isub__(self, other: Moments) -> Self:
        return self._combine(other, -1)

    def __add__(self, other: Moments) -> Self:
        return self.copy()._combine(other, 1)

    def __sub__(self, other: Moments) -> Self:
        return self.copy()._combine(other, -1)

    def copy(self) -> Self:
        """Copy the moments.

        Returns
        -------
        moments : Moments
            Moments that share no array with these.
        """
        return copy.deepcopy(self)

    def to_dict(self) -> dict[str, np.ndarray]:
        """Write the moments as plain arrays.

        Returns
        -------
        arrays : dict of str to ndarray
            What `from_dict` reads. Names and shapes are stable.
        """
        return {
            "n_samples": np.array(self.n_samples, dtype=np.int64),
            "weight": np.array(self.weight),
            **{name: getattr(self, f"_{name}") for name in ARRAYS},
            "in_float32": np.array(self.in_float32),
            "judge_cross": np.array(self.judge_cross),
        }

    @classmethod
    def from_dict(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The arrays; they are copied.

        Returns
        -------
        moments : Moments
            The same moments.

        Raises
        ------
        ValueError
            If an array is missing, not finite, or of the wrong shape, or if a count,
            a weight or a sum of squares is negative.
        """
        missing = set(cls(1, 1).to_dict()) - set(arrays)
        if missing:
            raise ValueError(f"Moments need the arrays {sorted(missing)} as well.")
        d_x, d_y = np.shape(arrays["xy_products"])
        y_products = np.asarray(arrays["y_products"])
        level: TargetProducts = "full" if y_products.ndim == 2 else "squares"
        if y_products.size == 0:
            level = "none"
        judge_cross = bool(arrays["judge_cross"])
        moments = cls(d_x, d_y, target_products=level, judge_cross=judge_cross)
        for name, blank in moments.to_dict().items():
            given = np.asarray(arrays[name])
            if given.shape != blank.shape or not np.isfinite(given).all():
                raise ValueError(
                    f"{name} must hold finite numbers of shape {blank.shape}, got "
                    f"shape {given.shape}."
                )
            if given.ndim:
                setattr(moments, f"_{name}", np.array(given, dtype=np.float64))
        moments.n_samples = int(arrays["n_samples"])
        moments.weight = float(arrays["weight"])
        moments.in_float32 = bool(arrays["in_float32"])
        if moments.n_samples < 0 or (moments.n_samples > 0) != (moments.weight > 0):
            raise ValueError(
                "n_samples and weight must be positive together or both 0, got "
                f"{moments.n_samples} and {moments.weight:g}."
            )
        for side in moments._kept_sides():
            if moments.n_samples and moments._is_negative(side):
                raise ValueError(f"{side}_products has a negative sum of squares.")
        return moments

    def __repr__(self) -> str:
        return (
            f"Moments(n_features={self.n_features}, n_targets={self.n_targets}, "
            f"target_products={self.target_products!r}): {self.n_samples} rows"
        )

    def __sizeof__(self) -> int:
        # Dask goes by it when it places results and when it spills them.
        return sum(array.nbytes for array in self.to_dict().values())

    def _blank(self) -> Moments:
        return Moments(
            self.n_features,
            self.n_targets,
            target_products=self.target_products,
            judge_cross=self.judge_cross,
        )

    def _summed(self, X: Any, y: Any, sample_weight: Any) -> Moments:
        """Moments of these rows alone, of which every number is finite."""
        X, y = _as_arrays(X, y)
        n_samples = X.shape[0]
        if X.shape != (n_samples, self.n_features) or y.shape != (
            n_samples,
            self.n_targets,
        ):
            raise ValueError(
                f"Expected X of shape (n, {self.n_features}) and y of shape "
                f"(n, {self.n_targets}), got {tuple(X.shape)} and {tuple(y.shape)}."
            )
        w = None
        if sample_weight is not None:
            if hasattr(sample_weight, "dtype"):
                sample_weight = plain(sample_weight)
            w = np.asarray(sample_weight, dtype=np.float64)
            if w.shape != (n_samples,) or not (w >= 0).all():
                raise ValueError(
                    f"sample_weight must hold {n_samples} numbers, none negative."
                )
        xp, _ = get_namespace(X, y)
        sides = (X, y) if self.target_products == "full" else (X,)
        with np.errstate(all="ignore"):
            single = (
                is_float32(xp, X, y)
                and float32_suffices(xp, *sides, w=w)
                and (not self.judge_cross or cross_may_suffice(xp, X, y, w))
            )
            moments = self._blank()._accumulate(X, y, w, single)
            if single and not moments._holds_in_float32():
                single = False
                moments = self._blank()._accumulate(X, y, w, single)
        if not moments._is_finite():
            raise ValueError(NOT_FINITE)
        moments.in_float32 = single
        return moments

    def _holds_in_float32(self) -> bool:
        """Whether sums of products in float32 are good enough to be kept."""
        if not self._is_finite() or not self.n_samples:
            return False
        return not self.judge_cross or cross_suffices(self.xy)

    def _is_finite(self) -> bool:
        return all(np.isfinite(array).all() for array in self.to_dict().values())


def _as_arrays(X: Any, y: Any) -> tuple[Any, Any]:
    """Both sides as 2-D arrays of their own namespace."""
    sides = [side if hasattr(side, "shape") else np.asarray(side) for side in (X, y)]
    _, is_array_api = get_namespace(*sides)
    if not is_array_api:
        sides = [np.asarray(side) for side in sides]
    for name, side in zip("Xy", sides, strict=True):
        if side.ndim != 2:
            raise ValueError(
                f"{name} must have two dimensions, got shape {tuple(side.shape)}: "
                f"reshape a single column, {name}[:, None]."
            )
    return sides[0], sides[1]


def _without(products: np.ndarray, constant: np.ndarray, *, both: bool = False) -> Any:
    """Make the rows, and the columns, of constant columns zero, in place."""
    if constant.any():
        products[constant] = 0.0
        if both:
            products[:, constant] = 0.0
    return products
