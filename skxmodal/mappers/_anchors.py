"""A bounded sample of distinct pairs that rows can be added to and taken from."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple, Self

import numpy as np

KEY = np.dtype("V16")
_BLOCK_ROWS = 8192


class Anchors(NamedTuple):
    """Distinct pairs in the order of their keys, with the sum of their weights.

    A key is a digest of the pair's content. The draw keeps the pairs whose keys,
    scrambled by a seed, are lowest: so it is without replacement, and depends neither
    on the order of the rows nor on how they were split.
    """

    keys: np.ndarray
    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    @classmethod
    def none(cls, x: np.ndarray, y: np.ndarray) -> Self:
        """No pair, of the widths and dtypes of these rows."""
        return cls(np.empty(0, KEY), x[:0], y[:0], np.empty(0))

    def astype(self, dtype: np.dtype[Any]) -> Anchors:
        """The anchors in another dtype, which changes no key."""
        x, y = (rows.astype(dtype, copy=False) for rows in (self.x, self.y))
        return self._replace(x=x, y=y)

    def with_rows(
        self,
        x: np.ndarray,
        y: np.ndarray,
        w: np.ndarray,
        seed: int,
        n_anchors: int | None,
    ) -> tuple[Anchors, bool]:
        """The anchors after rows were added, and whether pairs had to give way."""
        keys = np.concatenate([self.keys, content_keys(x, y)])
        unique, first, owner = np.unique(keys, return_index=True, return_inverse=True)
        weight = np.bincount(owner.ravel(), np.concatenate([self.weight, w]))
        kept = np.arange(len(unique))
        if n_anchors is not None and n_anchors < len(unique):
            lowest = np.argsort(_scrambled(unique, seed), kind="stable")[:n_anchors]
            kept = np.sort(lowest)
        source = first[kept]
        old = source < len(self.keys)

        def chosen(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
            rows = np.empty((len(kept), ours.shape[1]), ours.dtype)
            rows[old] = ours[source[old]]
            rows[~old] = theirs[source[~old] - len(self.keys)]
            return rows

        anchors = Anchors(
            unique[kept], chosen(self.x, x), chosen(self.y, y), weight[kept]
        )
        return anchors, len(anchors.keys) < len(unique)

    def without_rows(
        self, x: np.ndarray, y: np.ndarray, w: np.ndarray, *, complete: bool
    ) -> Anchors:
        """The anchors after rows were taken away again.

        Where the anchors are `complete`, holding every pair ever added, a pair that is
        not among them is an error.
        """
        gone, owner = np.unique(content_keys(x, y), return_inverse=True)
        weight_gone = np.bincount(owner.ravel(), w)
        place = np.searchsorted(self.keys, gone)
        place[place == len(self.keys)] = 0
        found = self.keys[place] == gone
        if complete and not found.all():
            raise ValueError(
                f"{int((~found).sum())} of the pairs to forget were never fitted, or "
                "with other values: pass them as they were fitted."
            )
        weight = self.weight.copy()
        weight[place[found]] -= weight_gone[found]
        rounding = 1e-9 * self.weight
        if (weight < -rounding).any():
            raise ValueError(
                "Pairs to forget weigh more than they were fitted with: pass the "
                "sample_weight that they were fitted with."
            )
        left = weight > rounding
        return Anchors(self.keys[left], self.x[left], self.y[left], weight[left])


def content_keys(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A digest of the content of each pair, 16 bytes each, whatever its dtype."""
    digests = bytearray()
    for start in range(0, len(x), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        # Adding zero makes one zero of the two.
        left, right = (
            np.ascontiguousarray(side[rows], np.float64) + 0 for side in (x, y)
        )
        for a, b in zip(left, right, strict=True):
            digest = blake2b(a, digest_size=16)
            digest.update(b)
            digests += digest.digest()
    return np.frombuffer(bytes(digests), dtype=KEY)


def _scrambled(keys: np.ndarray, seed: int) -> np.ndarray:
    """A number for each key that looks drawn at random, by the seed."""
    salt = blake2b(seed.to_bytes(8, "little"), digest_size=8).digest()
    mixed = np.frombuffer(keys.tobytes(), np.uint64)[::2] ^ np.frombuffer(
        salt, np.uint64
    )
    # The finaliser of SplitMix64.
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class RunningMean(NamedTuple):
    """Weighted mean of rows that come and go, in float64."""

    mean: np.ndarray
    weight: float

    def changed(self, rows: np.ndarray, w: np.ndarray, sign: int) -> RunningMean:
        """The mean with rows added (sign 1) or taken away (sign -1)."""
        if len(rows) == 0:
            return self
        weight = self.weight + sign * float(w.sum())
        shift = self.mean if self.weight else rows[0].astype(np.float64)
        total = np.zeros(rows.shape[1])
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            total += w[block] @ (rows[block] - shift)
        return RunningMean(shift + sign * total / weight, weight)
