"""How a retriever takes items of either side to unit vectors of the shared space."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from skxmodal._encoding import check_encoded, item_keys, reject_raw_items
from skxmodal._row_errors import rows_named
from skxmodal._validation import unit_rows
from skxmodal.neighbors._subspace import in_subspace


class RetrieverSides:
    """The way of queries and targets into the shared space."""

    query_encoder_: Any
    target_encoder_: Any
    mapper_: Any
    subspace_: NDArray[Any] | None

    def _encode_queries(self, X: Any, *, reset: bool = False) -> NDArray[Any]:
        if self.query_encoder_ is None:
            reject_raw_items(X, "X", "query_encoder")
            with rows_named(X=X):
                return validate_data(
                    self, X, reset=reset, dtype=[np.float64, np.float32], order="C"
                )
        return check_encoded(self.query_encoder_.transform(X), "X")

    def _encode_targets(self, y: Any, *, reset: bool = False) -> NDArray[Any]:
        if self.target_encoder_ is not None:
            return check_encoded(self.target_encoder_.transform(y), "y")
        if y is None:
            raise ValueError("y is None. Give targets, one a row.")
        reject_raw_items(y, "y", "target_encoder")
        with rows_named(y=y):
            targets = check_array(
                y,
                dtype=[np.float64, np.float32],
                order="C",
                ensure_2d=False,
                input_name="y",
            )
        if targets.ndim == 1:
            targets = targets[:, np.newaxis]
        if reset:
            self._n_target_features = targets.shape[1]
        elif targets.shape[1] != self._n_target_features:
            raise ValueError(
                f"y has {targets.shape[1]} features, but {type(self).__name__} was "
                f"fitted with targets of {self._n_target_features} features."
            )
        return targets

    def _query_vectors(self, queries: NDArray[Any]) -> NDArray[Any]:
        # As an array, whatever container set_output asks of the mapper.
        return self._in_subspace(unit_rows(np.asarray(self.mapper_.transform(queries))))

    def _target_vectors(self, targets: NDArray[Any]) -> NDArray[Any]:
        vectors = unit_rows(np.asarray(self.mapper_.transform_target(targets)))
        return self._in_subspace(vectors)

    def _in_subspace(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Coordinates with the same cosines between the sides, fewer where they can."""
        return in_subspace(vectors, self.subspace_)

    def _target_keys(self, y: Any, targets: NDArray[Any] | None) -> list[bytes]:
        return item_keys(self.target_encoder_, y, targets)
