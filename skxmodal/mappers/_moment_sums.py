"""Sums of paired rows about a shift: how they add up, move and are taken away."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skxmodal.mappers._blocks import Block, TargetProducts, sum_blocks
from skxmodal.mappers._rounding import of_constant, rounding_of

_PENDING_BLOCKS = 32
_NO_PRODUCTS = np.empty(0)
ARRAYS = (
    "x_shift",
    "y_shift",
    "x_sum",
    "y_sum",
    "x_products",
    "xy_products",
    "y_products",
    "x_rounding",
    "y_rounding",
)
# Rounding bounds by which rows taken away may exceed what there was.
_TOLERANCE = 16.0


class MomentSums:
    """What :class:`Moments` consists of: a count, sums, and products about a shift."""

    n_features: int
    n_targets: int
    target_products: TargetProducts

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

    @property
    def x_mean(self) -> np.ndarray:
        """The weighted mean of X, of shape (n_features,)."""
        return self._x_shift + self._x_sum / self._some_weight()

    @property
    def y_mean(self) -> np.ndarray:
        """The weighted mean of y, of shape (n_targets,)."""
        return self._y_shift + self._y_sum / self._some_weight()

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

    def _combine(self, other: MomentSums, sign: int) -> Self:
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
            self._copy(other)
            return self
        self._x_products += sign * other._x_products
        self._xy_products += sign * other._xy_products
        self._y_products += sign * other._y_products
        self._x_rounding += other._x_rounding
        self._y_rounding += other._y_rounding
        self._settle([other._as_block()], sign)
        self.in_float32 |= other.in_float32
        return self

    def _copy(self, other: MomentSums) -> None:
        """Hold the rows of the other, and no others."""
        for name in ARRAYS:
            setattr(self, f"_{name}", getattr(other, f"_{name}").copy())
        self.n_samples, self.weight = other.n_samples, other.weight
        self.in_float32 = other.in_float32

    def _require_variance(self, other: MomentSums, side: str) -> None:
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
