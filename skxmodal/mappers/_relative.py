"""Relative representations: each side described by its likeness to anchor pairs."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from skxmodal.mappers._anchors import KEY, Anchors, RunningMean
from skxmodal.mappers._base import BaseMapper
from skxmodal.mappers._dask_rows import lazily_on_dask
from skxmodal.mappers._placement import Placer, check_namespace, plain
from skxmodal.mappers._similarities import centred_unit_rows, kept_similarities


class RelativeMapper(BaseMapper):
    """Relative representations: both sides described by the same anchor pairs.

    Nothing is solved. Some training pairs are kept as anchors; a query is described
    by its cosines with the anchors' queries, a target by its cosines with the anchors'
    targets [1]_. Only the largest of them are kept, raised to a power [2]_. What
    belongs together is like the same anchors.

    Parameters
    ----------
    n_anchors : int, default=5000
        How many distinct training pairs are kept as anchors at most, drawn at random.
        None keeps all. More are better, and cost time and memory in proportion.

    k : int, default=200
        How many of its largest cosines a row keeps at most; the others become 0.
        None keeps all.

    power : float, default=2.0
        The power that kept cosines are raised to, above 0; their sign stays.

    sparse_output : bool or "auto", default=False
        Whether `transform` and `transform_target` return SciPy CSR matrices, which
        hold `k` numbers a row. "auto" returns them where they take less memory than
        arrays do. :class:`~skxmodal.CrossModalRetriever`, scorers and `set_output`
        need arrays.

    random_state : int, RandomState instance or None, default=None
        Draws the anchors where there are more pairs than `n_anchors`. The draw
        depends on the content of the pairs, not on their order.

    Attributes
    ----------
    n_anchors_ : int
        The number of anchors, which is the dimension of the shared space.

    x_anchors_ : ndarray of shape (n_anchors_, n_features)
        The anchors' queries.

    y_anchors_ : ndarray of shape (n_anchors_, n_targets)
        The anchors' targets.

    anchor_weights_ : ndarray of shape (n_anchors_,)
        The weight of each anchor, summed over the pairs that it stands for.

    x_mean_, y_mean_ : ndarray of shape (n_features,) and (n_targets,)
        The (weighted) means of all training pairs, taken off before cosines are.

    n_samples_seen_ : int
        The number of training pairs of positive weight.

    n_features_in_, n_targets_in_ : int
        The number of columns of X and of y.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        The names of the columns of X, where it had any that are all strings.

    See Also
    --------
    CCAMapper : Solves for a shared space of few dimensions; better with some
        thousands of pairs.

    Notes
    -----
    Pairs of the same content are one anchor, whose weight is their sum. An anchor of
    weight `w` counts `w` times in every sum over anchors (its coordinate is scaled by
    the square root of `w` on both sides), so that weights equal repeated rows.

    Cosines are taken of rows as they are: there is no `x_whiten` or `y_whiten`, which
    need the moments of each side, where this mapper keeps no more than anchors and
    means. Whiten the rows before, if they should be.

    `predict` is the mean of the anchors' targets, weighted by the kept similarities
    that are positive; the training mean where none is.

    `partial_fit` in any split gives what `fit` gives. `forget` gives what `fit` on the
    other pairs gives as long as no more than `n_anchors` distinct pairs were seen.
    Past that, pairs that were drawn before and gave way do not come back, so fewer
    anchors remain.

    References
    ----------
    .. [1] Moschella, Maiorca, Fumero, Norelli, Locatello and Rodola, "Relative
       representations enable zero-shot latent space communication", ICLR 2023.
       arXiv:2209.15430.
    .. [2] Norelli, Fumero, Maiorca, Moschella, Rodola and Locatello, "ASIF: coupled
       data turns unimodal models to multimodal without training", NeurIPS 2023.
       arXiv:2210.01738.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal import RelativeMapper
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4))
    >>> y = X @ rng.normal(size=(4, 6))
    >>> mapper = RelativeMapper(n_anchors=100, k=20, random_state=0).fit(X, y)
    >>> mapper.transform(X).shape, mapper.transform_target(y).shape
    ((300, 100), (300, 100))
    >>> RelativeMapper(k=20, sparse_output="auto").fit(X, y).transform(X).nnz
    6000
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_anchors": [Interval(Integral, 1, None, closed="left"), None],
        "k": [Interval(Integral, 1, None, closed="left"), None],
        "power": [Interval(Real, 0, None, closed="neither")],
        "sparse_output": ["boolean", StrOptions({"auto"})],
        "random_state": ["random_state"],
    }

    n_samples_seen_: int
    _seed: int
    _total_weight: float
    _overflowed: bool
    _x_unit: Any

    def __init__(
        self,
        n_anchors: int | None = 5000,
        *,
        k: int | None = 200,
        power: float = 2.0,
        sparse_output: bool | str = False,
        random_state: Any = None,
    ) -> None:
        self.n_anchors = n_anchors
        self.k = k
        self.power = power
        self.sparse_output = sparse_output
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Draw the anchors from paired rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of the queries. float32 stays float32 where `y` is, too; anything
            else is mapped in float64.

        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of the targets, row by row the partners of `X`.

        sample_weight : array-like of shape (n_samples,), default=None
            A weight a pair, not negative: a pair of weight 2 counts as if it were
            there twice, one of weight 0 as if it were not there.

        Returns
        -------
        self : object
            The fitted mapper.

        Raises
        ------
        ValueError
            If `X` or `y` holds raw items or a number that is not finite, or if fewer
            than two pairs have a positive weight.
        """
        return self._added(X, y, sample_weight, reset=True)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Add paired rows, of which some become anchors.

        The first part must hold two pairs of positive weight.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of further queries.

        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of their targets.

        sample_weight : array-like of shape (n_samples,), default=None
            A weight a pair, not negative.

        Returns
        -------
        self : object
            The fitted mapper.

        Raises
        ------
        ValueError
            As `fit`; the mapper is left as it was then.
        """
        return self._added(X, y, sample_weight, reset=not hasattr(self, "x_mean_"))

    @_fit_context(prefer_skip_nested_validation=True)
    def forget(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Take pairs away again, for requests to delete.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of queries that were fitted before.

        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of their targets.

        sample_weight : array-like of shape (n_samples,), default=None
            The weights they were fitted with.

        Returns
        -------
        self : object
            The mapper without these pairs.

        Raises
        ------
        ValueError
            If pairs were not fitted, as far as that can be told, or if fewer than two
            pairs or no anchor would remain; the mapper is left as it was then.
        """
        check_is_fitted(self)
        like, y = self._check_pairs(X, y, reset=False)
        X, y, w = self._rows(like, y, sample_weight, dtype=self._dtype())
        n_left = self.n_samples_seen_ - len(X)
        if n_left < 2:
            raise ValueError(
                f"RelativeMapper cannot forget {len(X)} of {self.n_samples_seen_} "
                "pairs: 2 at least must remain."
            )
        if w.sum() >= self._total_weight * (1 - 1e-9):
            raise ValueError(
                f"RelativeMapper cannot forget pairs of total weight {w.sum():g} and "
                f"keep others: all weigh {self._total_weight:g}. Pass the pairs, and "
                "the sample_weight, that they were fitted with."
            )
        anchors = self._anchors().without_rows(X, y, w, complete=not self._overflowed)
        if len(anchors.keys) == 0:
            raise ValueError(
                "No anchor would remain: the pairs that are left were not kept as "
                "anchors. Fit again on them, with a larger n_anchors."
            )
        return self._store(anchors, self._changed_means(X, y, w, -1), n_left, like)

    @lazily_on_dask
    def transform(self, X: Any) -> Any:
        """Describe queries by their likeness to the anchors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of queries.

        Returns
        -------
        Z : array or CSR matrix of shape (n_samples, n_anchors_)
            The queries in the shared space, in the dtype of `X`.
        """
        X = self._check_queries(X)
        check_namespace(X, self, "x_mean_", "transform")
        return self._described(X, self.x_mean_, self._x_unit)

    @lazily_on_dask
    def transform_target(self, y: Any) -> Any:
        """Describe targets by their likeness to the anchors.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of targets.

        Returns
        -------
        Z : array or CSR matrix of shape (n_samples, n_anchors_)
            The targets in the shared space, in the dtype of `y`.
        """
        y = self._check_targets(y)
        check_namespace(y, self, "y_mean_", "transform_target")
        return self._described(y, self.y_mean_, self._y_unit)

    @lazily_on_dask
    def predict(self, X: Any) -> Any:
        """Predict the targets of queries, in the targets' own space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of queries.

        Returns
        -------
        y : array of shape (n_samples, n_targets) or (n_samples,)
            The predicted targets, not centred; 1-D where `fit` was given a 1-D y.
        """
        X = self._check_queries(X)
        check_namespace(X, self, "x_mean_", "predict")
        rows, y_mean = as_numpy(X), as_numpy(self.y_mean_)
        targets = (as_numpy(self.y_anchors_) - y_mean).astype(rows.dtype)
        weights = as_numpy(self.anchor_weights_).astype(rows.dtype)
        predicted = np.empty((len(rows), self.n_targets_in_), rows.dtype)
        for block, kept in self._similarities(rows, self.x_mean_, self._x_unit):
            np.maximum(kept.data, 0.0, out=kept.data)
            kept = kept.multiply(weights).tocsr()
            total = np.asarray(kept.sum(axis=1)).reshape(-1, 1)
            total[total == 0.0] = 1.0
            predicted[block] = (kept @ targets) / total
        predicted += y_mean.astype(rows.dtype)
        return self._shaped_as_fitted(Placer(X)(predicted))

    def _rows(
        self, X: Any, y: Any, sample_weight: Any, *, dtype: Any = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of positive weight, as NumPy arrays."""
        X, y = (as_numpy(rows) for rows in (X, y))
        if dtype is not None:
            X, y = X.astype(dtype, copy=False), y.astype(dtype, copy=False)
        if hasattr(sample_weight, "ndim"):
            sample_weight = as_numpy(sample_weight)
        w = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        positive = w > 0
        return X[positive], y[positive], w[positive]

    def _added(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Self:
        like, y = self._check_pairs(X, y, reset=reset)
        X, y, w = self._rows(like, y, sample_weight)
        dtype = X.dtype if reset else np.result_type(X, self._dtype())
        X, y = X.astype(dtype, copy=False), y.astype(dtype, copy=False)
        n_samples = len(X) + (0 if reset else self.n_samples_seen_)
        if n_samples < 2:
            raise ValueError(
                f"RelativeMapper needs at least 2 pairs of positive weight, got "
                f"{n_samples}."
            )
        if reset:
            self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            self._overflowed = False
            self._total_weight = 0.0
            self.x_mean_, self.y_mean_ = np.zeros(X.shape[1]), np.zeros(y.shape[1])
        before = Anchors.none(X, y) if reset else self._anchors().astype(dtype)
        anchors, gave_way = before.with_rows(X, y, w, self._seed, self.n_anchors)
        self._overflowed |= gave_way
        return self._store(anchors, self._changed_means(X, y, w, 1), n_samples, like)

    def _dtype(self) -> np.dtype[Any]:
        """The widest dtype of the pairs so far."""
        return as_numpy(self.x_anchors_).dtype

    def _anchors(self) -> Anchors:
        return Anchors(
            np.frombuffer(self._anchor_keys, KEY),
            as_numpy(self.x_anchors_),
            as_numpy(self.y_anchors_),
            as_numpy(self.anchor_weights_),
        )

    def _changed_means(
        self, X: np.ndarray, y: np.ndarray, w: np.ndarray, sign: int
    ) -> tuple[RunningMean, RunningMean]:
        x_mean = RunningMean(as_numpy(self.x_mean_), self._total_weight)
        y_mean = RunningMean(as_numpy(self.y_mean_), self._total_weight)
        return x_mean.changed(X, w, sign), y_mean.changed(y, w, sign)

    def _store(
        self,
        anchors: Anchors,
        means: tuple[RunningMean, RunningMean],
        n_samples: int,
        like: Any,
    ) -> Self:
        """Keep the anchors, in the namespace and on the device of `like`."""
        put = Placer(like).as_it_is
        (x_mean, self._total_weight), (y_mean, _) = means
        self._anchor_keys = anchors.keys.tobytes()
        self.x_anchors_, self.y_anchors_ = put(anchors.x), put(anchors.y)
        self.anchor_weights_ = put(anchors.weight)
        self.x_mean_, self.y_mean_ = put(x_mean), put(y_mean)
        self._x_unit = put(centred_unit_rows(anchors.x, x_mean))
        self._y_unit = put(centred_unit_rows(anchors.y, y_mean))
        self.n_anchors_ = self._n_features_out = len(anchors.keys)
        self.n_samples_seen_ = n_samples
        return self

    def _described(self, rows: Any, mean: Any, anchors: Any) -> Any:
        given = as_numpy(rows)
        roots = np.sqrt(as_numpy(self.anchor_weights_)).astype(given.dtype)
        blocks = self._similarities(given, mean, anchors)
        if self._is_sparse(given.dtype):
            return sparse.vstack(
                [kept.multiply(roots) for _, kept in blocks], format="csr"
            )
        described = np.empty((len(given), self.n_anchors_), given.dtype)
        for block, kept in blocks:
            kept.toarray(out=described[block])
        described *= roots
        return Placer(rows)(described)

    def _is_sparse(self, dtype: np.dtype[Any]) -> bool:
        if self.sparse_output != "auto":
            return bool(self.sparse_output)
        width = dtype.itemsize
        return self._n_kept() * (width + 4) + 4 < self.n_anchors_ * width

    def _n_kept(self) -> int:
        return self.n_anchors_ if self.k is None else min(self.k, self.n_anchors_)

    def _similarities(
        self, rows: np.ndarray, mean: Any, anchors: Any
    ) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        return kept_similarities(
            rows, as_numpy(mean), as_numpy(anchors), self._n_kept(), self.power
        )


def as_numpy(array: Any) -> np.ndarray:
    """The array as NumPy, whether scikit-learn dispatches on it or not."""
    return np.asarray(plain(array))
