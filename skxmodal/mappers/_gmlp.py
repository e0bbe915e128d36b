"""Gated MLP that starts from the closed-form map."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from skxmodal.mappers._base import BaseMapper
from skxmodal.mappers._dask_rows import lazily_on_dask
from skxmodal.mappers._gmlp_fit import INITS, GMLPFit


class GMLPMapper(GMLPFit):
    """Gated MLP (gMLP) on embeddings, added to a closed-form map.

    Each side's place in the shared space is that of a closed-form map plus a
    correction by a small network of gMLP blocks [1]_, trained so that the two sides of
    a pair find each other among the other pairs of a batch. The correction starts at
    zero, so the untrained network is the closed-form map, and with early stopping what
    is kept is never below it on held-out pairs.

    An embedding enters the network as `n_tokens` tokens, each a learned projection of
    the whole embedding to `width` channels. It is not cut into pieces, for its
    coordinates have neither order nor neighbourhood; as several learned views of one
    item the tokens give the spatial gating unit, which multiplies channels by a mix
    over tokens, products of views to work with.

    Parameters
    ----------
    init : {"cca", "procrustes", "least_squares"}, mapper or None, default="cca"
        The closed-form map to start from, by name with its defaults or as an estimator
        of this package that is cloned and fitted. None trains from scratch.
    loss : {"contrastive", "mse"}, default="contrastive"
        "contrastive" is the symmetric InfoNCE [2]_ with a learned temperature; pairs of
        one group are all positives and never negatives of each other. "mse" regresses
        on the targets' closed-form places, or on the centred targets where `init` is
        None.
    two_sided : bool, default=True
        Whether the target side has a network too. Without effect for `loss="mse"`,
        whose targets must stand still.
    n_components : int or None, default=None
        Dimensions of the shared space where `init` is None and both sides have a
        network; None takes 256, or the fewer of the two sides. Else the closed-form
        map fixes them.
    depth : int, default=2
        Number of gMLP blocks of a side.
    width : int or "auto", default="auto"
        Channels of a token. "auto", here and below, goes by the number of distinct
        targets: see Notes.
    n_tokens : int, default=4
        Tokens an embedding is turned into.
    dropout : float or "auto", default="auto"
        On the input, inside the blocks and before the last layer.
    noise : float or "auto", default="auto"
        Standard deviation of Gaussian noise in training, on the embeddings that enter
        the network and on the closed-form places, in units of the root mean square of
        each. A closed-form map looks better than it is on the rows it was fitted to;
        the noise keeps the network from trusting it too far.
    group_mixing : float or "auto", default="auto"
        In training, queries are moved by a random share, up to this one, towards
        another query of the same group, such as another caption of the picture.
    temperature : float, default=0.05
        To start from, at least 0.01; learned with the rest.
    batch_size : int or "auto", default="auto"
        Pairs a step; all of them where there are fewer. The pairs of an epoch are
        dealt out evenly, so a step has about as many: fewer than half as many more.
    max_epochs : int or "auto", default="auto"
        Passes over the data; 0 keeps the closed-form map.
    learning_rate : float, default=1e-3
        Peak of the cosine schedule, for AdamW [3]_.
    weight_decay : float, default=0.1
        Decoupled, on matrices alone.
    warmup : float, default=0.1
        Fraction of all steps in which the learning rate rises.
    weight_average : float, default=0.98
        Decay of the running mean of the weights, which is what is kept; 0 keeps the
        last weights.
    early_stopping : bool or "auto", default=False
        Whether to hold out groups, score them after each epoch and keep the best
        epoch, 0 included. "auto" does so where at least 200 distinct targets would be
        held out.
    validation_fraction : float, default=0.1
        Fraction of the groups to hold out, at least `validation_k` + 1 of them: among
        fewer every target would be a hit.
    validation_k : int, default=10
        K of the hit rate on the held-out groups, the mean of both directions.
    patience : int, default=5
        Epochs without a better hit rate before the training ends.
    warm_start : bool, default=False
        Whether `fit` goes on from the network and closed-form map of the last one, and
        its "auto" settings. Loss, start and shape of the network then can't change.
    device : str or None, default=None
        A torch device; None takes a CUDA device where there is one.
    precision : {"auto", "float32", "bf16"}, default="auto"
        Of the network's products in training. "auto" is bf16 on a GPU that computes in
        it, and the data's own precision elsewhere. The closed-form map stays in the
        data's own.
    checkpoint_dir : str, path-like or None, default=None
        Where to keep the state after each epoch. A training that was killed goes on
        from there when `fit` is called with the same settings and data, and ends with
        the same weights; each combination has a subfolder of its own, so the folds
        and candidates of a search may share one folder.
    random_state : int, RandomState instance or None, default=None
        For weights, order, dropout, noise and the held-out groups. The same integer
        gives the same bits on the CPU with the same number of threads. With None and a
        `checkpoint_dir` the seed is derived from the data.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    init_mapper_ : mapper or None
        The fitted closed-form map.
    weights_ : dict of str to ndarray
        The network's weights.
    temperature_ : float
        The learned temperature.
    history_ : dict of str to ndarray
        A table with a row an epoch, from epoch 0, the state before training:
        `epoch`, `train_loss`, `learning_rate`, `temperature`, `seconds` and, with
        early stopping, `validation_score`, the hit rate on the held-out groups, and
        `validation_mrr`, their mean reciprocal rank, which decides between epochs of
        equal hit rate. `pandas.DataFrame(history_)` shows it.
    best_epoch_ : int
        The epoch whose weights are kept.
    n_features_in_ : int
        Number of features of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features of `X`, where it has such names.
    n_targets_in_ : int
        Number of columns of `y`.

    See Also
    --------
    CCAMapper : The closed-form map this one starts from.

    Notes
    -----
    Values of "auto": with fewer than 500 distinct targets, `width` 16, `max_epochs`
    10, neither dropout nor noise nor mixing; else `width` 256, `max_epochs` 8,
    `dropout` and `group_mixing` 0.5 and `noise` 0.6. `batch_size` is 1024.

    Weights and loss are float32, save that float64 data are trained in float64 on the
    CPU where `precision` is "auto".

    Ctrl-C ends the training after the present batch and keeps the best state so far,
    with a warning; a second Ctrl-C stops everything.

    References
    ----------
    .. [1] Liu, Dai, So, Le, *Pay attention to MLPs*, arXiv:2105.08050.
    .. [2] van den Oord, Li, Vinyals, *Representation learning with contrastive
       predictive coding*, arXiv:1807.03748.
    .. [3] Loshchilov, Hutter, *Decoupled weight decay regularization*,
       arXiv:1711.05101.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.mappers import GMLPMapper
    >>> rng = np.random.default_rng(0)
    >>> latent = rng.normal(size=(100, 4))
    >>> X = np.tanh(latent @ rng.normal(size=(4, 12)))
    >>> y = np.tanh(latent @ rng.normal(size=(4, 8)))
    >>> mapper = GMLPMapper(random_state=0).fit(X, y)
    >>> mapper.transform(X).shape == mapper.transform_target(y).shape
    True
    >>> int(mapper.best_epoch_)
    10
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "init": [StrOptions(set(INITS)), BaseMapper, None],
        "loss": [StrOptions({"contrastive", "mse"})],
        "two_sided": ["boolean"],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "depth": [Interval(Integral, 1, None, closed="left")],
        "width": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_tokens": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "noise": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "group_mixing": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "temperature": [Interval(Real, 0.01, None, closed="left")],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "max_epochs": [
            Interval(Integral, 0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        "weight_average": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "validation_k": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, None],
        "precision": [StrOptions({"auto", "float32", "bf16"})],
        "checkpoint_dir": [str, os.PathLike, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        init: Any = "cca",
        *,
        loss: str = "contrastive",
        two_sided: bool = True,
        n_components: int | None = None,
        depth: int = 2,
        width: int | str = "auto",
        n_tokens: int = 4,
        dropout: float | str = "auto",
        noise: float | str = "auto",
        group_mixing: float | str = "auto",
        temperature: float = 0.05,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        warmup: float = 0.1,
        weight_average: float = 0.98,
        early_stopping: bool | str = False,
        validation_fraction: float = 0.1,
        validation_k: int = 10,
        patience: int = 5,
        warm_start: bool = False,
        device: str | None = None,
        precision: str = "auto",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.init = init
        self.loss = loss
        self.two_sided = two_sided
        self.n_components = n_components
        self.depth = depth
        self.width = width
        self.n_tokens = n_tokens
        self.dropout = dropout
        self.noise = noise
        self.group_mixing = group_mixing
        self.temperature = temperature
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.weight_average = weight_average
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation_k = validation_k
        self.patience = patience
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Fit the closed-form map and train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of the queries.
        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            A pair of weight 2 counts as that pair given twice.
        groups : array-like of shape (n_samples,), default=None
            Which target each pair is about: pairs of one group are never negatives of
            each other, nor on both sides of the held-out split. By default pairs
            with identical rows of `y` are one group.

        Returns
        -------
        self : GMLPMapper
            The fitted mapper.

        Raises
        ------
        ValueError
            If there are too few pairs, targets or rows a batch for the loss, or if it
            goes on and loss, start or shape of the network were changed since.
        FloatingPointError
            If a loss or the network is NaN or infinite. A fit that fails leaves the
            mapper as it was.
        """
        going_on = self.warm_start and hasattr(self, "weights_")
        with self._unchanged_by_failure():
            pairs = self._pairs(X, y, sample_weight, groups, reset=not going_on)
            return self._train(pairs, going_on=going_on, whole=True)

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Train for one pass over these pairs, at a constant learning rate.

        The closed-form map and the "auto" settings are those of the first call, or of
        `fit`, so the first pairs should be many and like those to come. Nothing is
        held out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of the queries.
        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            A pair of weight 2 counts as that pair given twice.
        groups : array-like of shape (n_samples,), default=None
            Which target each pair is about, as for `fit`.

        Returns
        -------
        self : GMLPMapper
            The fitted mapper.

        Raises
        ------
        ValueError
            If there are too few pairs, targets or rows a batch for the loss, or if it
            goes on and loss, start or shape of the network were changed since.
        FloatingPointError
            If a loss or the network is NaN or infinite. A fit that fails leaves the
            mapper as it was.
        """
        going_on = hasattr(self, "weights_")
        with self._unchanged_by_failure():
            pairs = self._pairs(X, y, sample_weight, groups, reset=not going_on)
            return self._train(pairs, going_on=going_on, whole=False)

    @lazily_on_dask
    def transform(self, X: Any) -> Any:
        """Take queries to the shared space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of queries.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Their places, in the dtype of `X`.
        """
        X = self._check_queries(X)
        correction = self._head_outputs("query", X)
        if self.init_mapper_ is None:
            return correction
        return self.init_mapper_.transform(X) + correction

    @lazily_on_dask
    def transform_target(self, y: Any) -> Any:
        """Take targets to the shared space.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Embeddings of targets.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Their places, in the dtype of `y`.
        """
        y = self._check_targets(y)
        base = (
            y - self._scales["target"]["mean"].astype(y.dtype)
            if self.init_mapper_ is None
            else self.init_mapper_.transform_target(y)
        )
        if not self._shape["two_sided"]:
            return base
        correction = self._head_outputs("target", y)
        return correction if self.init_mapper_ is None else base + correction

    @lazily_on_dask
    def predict(self, X: Any) -> Any:
        """Predict the targets of queries, in the targets' own space.

        To the closed-form map's prediction is added a ridge regression of what it
        missed in training on the network's output.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of queries.

        Returns
        -------
        y : ndarray of shape (n_samples, n_targets) or (n_samples,)
            The predicted targets, not centred; 1-D where `fit` was given a 1-D y.
        """
        X = self._check_queries(X)
        scale = self._scales["query"]["output"]
        outputs = self._head_outputs("query", X) / scale
        prediction = self._base_prediction(X) + (
            outputs @ self._readout["coef"].astype(X.dtype)
            + self._readout["intercept"].astype(X.dtype)
        )
        return self._shaped_as_fitted(prediction)
