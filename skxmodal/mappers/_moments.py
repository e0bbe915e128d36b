"""Running first and second moments of paired rows."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from sklearn.utils._array_api import get_namespace

from skxmodal.mappers._blocks import (
    NOT_FINITE,
    Block,
    TargetProducts,
    float32_suffices,
    is_float32,
    sum_blocks,
)
from skxmodal.mappers._placement import plain
from skxmodal.mappers._rounding import of_constant, rounding_of

LEVELS: tuple[TargetProducts, ...] = ("none", "squares", "full")
_PENDING_BLOCKS = 32
_NO_PRODUCTS = np.empty(0)
# Rounding bounds by which rows taken away may exceed what there was.
_TOLERANCE = 16.0


class Moments:
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

    judge_y : bool, default=False
        Whether y, too, must be well conditioned for products in float32, as a map asks
        that divides by the singular values of X'y. It always must where
        `target_products` is "full".

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
        judge_y: bool = False,
    ) -> None:
        if target_products not in LEVELS:
            raise ValueError(
                f"target_products must be one of {LEVELS}, got {target_products!r}."
            )
        self.n_features = int(n_features)
        self.n_targets = int(n_targets)
        self.target_products: TargetProducts = target_products
        self.judge_y = bool(judge_y)
        self._clear()

    def _clear(self) -> None:
        d_x, d_y = self.n_features, self.n_targets
        shapes = {"none": (0,), "squares": (d_y,), "full": (d_y, d_y)}
        self.n_samples = 0
        self.weight = 0.0
        self._x_shift = np.zeros(d_x)
        self._y_shift = np.zeros(d_y)
        self._x_sum = np.zeros(d_x)
        self._y_sum = np.zeros(d_y)
        self._x_products = np.zeros((d_x, d_x))
        self._xy_products = np.zeros((d_x, d_y))
        self._y_products = np.zeros(shapes[self.target_products])
        self._x_rounding = np.zeros(d_x)
        self._y_rounding = np.zeros(shapes[self.target_products][:1])
        self.in_float32 = False

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
    def x_mean(self) -> np.ndarray:
        """The weighted mean of X, of shape (n_features,)."""
        return self._x_shift + self._x_sum / self._some_weight()

    @property
    def y_mean(self) -> np.ndarray:
        """The weighted mean of y, of shape (n_targets,)."""
        return self._y_shift + self._y_sum / self._some_weight()

    @property
    def xx(self) -> np.ndarray:
        """X'X of the centred rows, of shape (n_features, n_features)."""
        xx = self._x_products - np.outer(self._x_sum, self._x_sum / self._some_weight())
        return _without(xx, self._x_constant(), both=True)

    @property
    def xy(self) -> np.ndarray:
        """X'y of the centred rows, of shape (n_features, n_targets)."""
        shifted = np.outer(self._x_sum, self._y_sum / self._some_weight())
        xy = _without(self._xy_products - shifted, self._x_constant())
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
            "x_shift": self._x_shift,
            "y_shift": self._y_shift,
            "x_sum": self._x_sum,
            "y_sum": self._y_sum,
            "x_products": self._x_products,
            "xy_products": self._xy_products,
            "y_products": self._y_products,
            "x_rounding": self._x_rounding,
            "y_rounding": self._y_rounding,
            "in_float32": np.array(self.in_float32),
            "judge_y": np.array(self.judge_y),
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
        judge_y = bool(arrays["judge_y"])
        moments = cls(d_x, d_y, target_products=level, judge_y=judge_y)
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
            judge_y=self.judge_y,
        )

    def _some_weight(self) -> float:
        if self.n_samples == 0:
            raise ValueError("These moments hold no rows yet: `update` adds some.")
        return self.weight

    def _kept_sides(self) -> tuple[str, ...]:
        """The sides whose sums of squares are kept."""
        return ("x",) if self.target_products == "none" else ("x", "y")

    def _diagonal(self, side: str) -> np.ndarray:
        """Sums of squares of the columns of a side about its shift."""
        products: np.ndarray = getattr(self, f"_{side}_products")
        return products.diagonal() if products.ndim == 2 else products

    def _squares(self, side: str) -> np.ndarray:
        """Sums of squares of the centred columns of a side, as they were summed."""
        total: np.ndarray = getattr(self, f"_{side}_sum")
        return self._diagonal(side) - total**2 / self._some_weight()

    def _largest_of_constant(self, side: str) -> np.ndarray:
        return of_constant(
            getattr(self, f"_{side}_rounding"),
            getattr(self, f"{side}_mean"),
            self.weight,
            in_float32=self.in_float32,
        )

    def _x_constant(self) -> np.ndarray:
        return self._squares("x") <= self._largest_of_constant("x")

    def _y_constant(self) -> np.ndarray:
        return self._squares("y") <= self._largest_of_constant("y")

    def _is_negative(self, side: str) -> bool:
        least = -_TOLERANCE * self._largest_of_constant(side)
        return bool((self._squares(side) < least).any())

    def _combine(self, other: Moments, sign: int) -> Self:
        """Add (sign 1) or subtract (sign -1) the moments of other rows."""
        ours = self.n_features, self.n_targets, self.target_products
        theirs = other.n_features, other.n_targets, other.target_products
        if ours != theirs:
            raise ValueError(
                "Moments combine only where n_features, n_targets and target_products "
                f"agree, got {ours} and {theirs}."
            )
        n_samples = self.n_samples + sign * other.n_samples
        weight = self.weight + sign * other.weight
        if n_samples == 0 and abs(weight) <= 1e-9 * self.weight:
            weight = 0.0
        if n_samples < 0 or (n_samples > 0) != (weight > 0):
            raise ValueError(
                f"Cannot take {other.n_samples} rows of total weight {other.weight:g} "
                f"from {self.n_samples} rows of total weight {self.weight:g}."
            )
        if n_samples == 0:
            self._clear()
            return self
        if sign < 0:
            for side in self._kept_sides():
                self._require_variance(other, side)
        if self.n_samples == 0:
            self._x_shift = other._x_shift.copy()
            self._y_shift = other._y_shift.copy()
        self._x_products += sign * other._x_products
        self._xy_products += sign * other._xy_products
        self._y_products += sign * other._y_products
        self._x_rounding += other._x_rounding
        self._y_rounding += other._y_rounding
        self._settle([other._as_block()], sign)
        self.in_float32 |= other.in_float32
        return self

    def _require_variance(self, other: Moments, side: str) -> None:
        """Refuse to take away rows that vary more than all there are."""
        weight = self.weight - other.weight
        shift, total, rounding = (
            getattr(self, f"_{side}_{of}") for of in ("shift", "sum", "rounding")
        )
        its_total = getattr(other, f"_{side}_sum")
        moved = getattr(other, f"_{side}_shift") - shift
        its_square = other.weight * moved**2
        left = total - its_total - other.weight * moved
        squares = self._diagonal(side) - other._diagonal(side)
        squares -= 2 * its_total * moved + its_square + left**2 / weight
        least = -_TOLERANCE * of_constant(
            rounding + getattr(other, f"_{side}_rounding") + rounding_of(its_square),
            shift + left / weight,
            weight,
            in_float32=self.in_float32 or other.in_float32,
        )
        if (squares < least).any():
            name = side if side == "y" else "X"
            column = int(np.argmin(squares - least))
            raise ValueError(
                f"Cannot take away rows that were never added: column {column} of "
                f"{name} varies more over them than over all rows that there are. "
                "Pass them, and their weights, as they were added."
            )

    def _as_block(self) -> Block:
        return Block(
            self.n_samples,
            self.weight,
            self._x_shift,
            self._y_shift,
            self._x_sum,
            self._y_sum,
            self._x_products,
            self._xy_products,
            self._y_products,
        )

    def _settle(self, blocks: list[Block], sign: int = 1) -> None:
        """Move blocks whose products were added from their own shift to this one."""
        w = sign * np.array([[block.weight] for block in blocks])
        dx = np.array([block.x_shift for block in blocks]) - self._x_shift
        dy = np.array([block.y_shift for block in blocks]) - self._y_shift
        sx = sign * np.array([block.x_sum for block in blocks])
        sy = sign * np.array([block.y_sum for block in blocks])
        # sum (x + dx)(y + dy)' = sum xy' + dx sum y' + sum x dy' + w dx dy'
        self._x_products += dx.T @ (sx + w * dx) + sx.T @ dx
        self._xy_products += dx.T @ (sy + w * dy) + sx.T @ dy
        if self.target_products == "full":
            self._y_products += dy.T @ (sy + w * dy) + sy.T @ dy
        elif self.target_products == "squares":
            self._y_products += (dy * (2 * sy + w * dy)).sum(axis=0)
        self._x_rounding += rounding_of((np.abs(w) * dx**2).sum(axis=0))
        if self.target_products != "none":
            self._y_rounding += rounding_of((np.abs(w) * dy**2).sum(axis=0))
        self._x_sum += (sx + w * dx).sum(axis=0)
        self._y_sum += (sy + w * dy).sum(axis=0)
        self.weight += float(w.sum())
        self.n_samples += sign * sum(block.n_samples for block in blocks)

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
        judged = self.judge_y or self.target_products == "full"
        sides = (X, y) if judged else (X,)
        single = is_float32(xp, X, y) and float32_suffices(xp, *sides, w=w)
        with np.errstate(all="ignore"):
            moments = self._blank()._accumulate(X, y, w, single)
            if single and not moments._is_finite():
                single = False
                moments = self._blank()._accumulate(X, y, w, single)
        if not moments._is_finite():
            raise ValueError(NOT_FINITE)
        moments.in_float32 = single and moments.n_samples > 0
        return moments

    def _accumulate(self, X: Any, y: Any, w: np.ndarray | None, single: bool) -> Self:
        pending: list[Block] = []
        for block in sum_blocks(X, y, w, self.target_products, single):
            if self.weight == 0 and not pending:
                self._x_shift = block.x_shift.astype(np.float64)
                self._y_shift = block.y_shift.astype(np.float64)
            self._x_products += block.x_products
            self._xy_products += block.xy_products
            self._y_products += block.y_products
            self._x_rounding += rounding_of(block.x_products.diagonal())
            squares = block.y_products
            squares = squares.diagonal() if squares.ndim == 2 else squares
            self._y_rounding += rounding_of(squares.astype(block.x_products.dtype))
            pending.append(
                block._replace(x_products=_NO_PRODUCTS, xy_products=_NO_PRODUCTS)
            )
            if len(pending) == _PENDING_BLOCKS:
                self._settle(pending)
                pending = []
        if pending:
            self._settle(pending)
        return self

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
