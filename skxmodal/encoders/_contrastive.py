"""Contrastive tuning of an encoder's network."""

from __future__ import annotations

import os
import re
import warnings
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from skxmodal._content import group_items
from skxmodal._doc_links import DocLinkMixin
from skxmodal._optional import import_optional
from skxmodal._rows import group_by_content
from skxmodal._validation import check_groups, is_raw
from skxmodal.encoders._base import BaseEncoder
from skxmodal.encoders._contrastive_tuned import TUNED, with_weights

OBJECTIVES = ("unsupervised", "captions", "paired")


class ContrastiveTuner(DocLinkMixin, TransformerMixin, BaseEstimator):
    """Tune a copy of an encoder's network by contrastive learning.

    `fit` trains, `transform` encodes with the tuned copy, and the encoder given is left
    as it is. Inside a search or a cross-validation every fold tunes on its own training
    part only.

    Parameters
    ----------
    encoder : TextEncoder, ImageEncoder or TorchvisionEncoder
        What to tune.
    objective : {"unsupervised", "captions", "paired"}, default="unsupervised"
        What belongs together. "unsupervised": two views of one item, by dropout for
        texts (SimCSE [1]_) and by augmentations for pictures (SimCLR [2]_).
        "captions": texts of one group, such as captions of one picture. "paired": each
        item and the other side's frozen vector in `y`, through a linear projection
        that is thrown away afterwards (as LiT [3]_, with the sides free to choose).
    trainable : str or peft.LoraConfig, default="last:1"
        Which weights are trained. "all"; "last:N", the last N blocks and what follows
        them; "head", only what follows the last block, for texts with nothing there a
        linear layer that starts as the identity; "adapters", low-rank adapters on the
        linear layers of all blocks by peft, which are merged into the weights
        afterwards, or a LoraConfig of peft's own, which trains nothing but such
        adapters.
    temperature : float, default=0.05
        To start from, at least 0.01; learned with the rest.
    learning_rate : float or "auto", default="auto"
        Peak of the cosine schedule for the network's weights. "auto" is 2e-5 for
        "all", 5e-5 for "last:N", 1e-3 for "head" and 5e-4 for adapters.
    weight_decay : float, default=0.01
        Of the network's weights, decoupled (AdamW).
    warmup : float, default=0.1
        Fraction of all steps in which the learning rate rises.
    weight_average : float, default=0.0
        Decay of a running mean of the weights, which is what is kept; 0 keeps the last
        weights.
    batch_size : int, default=128
        Items a step, each among the negatives of the others. The items of an epoch are
        dealt out evenly, so a step has about as many: fewer than half as many more.
    max_epochs : int, default=5
        Passes over the items.
    precision : {"auto", "float32", "bf16"}, default="auto"
        Of the network's products in training. "auto" is bf16 on a GPU that computes
        in it.
    checkpoint_dir : str, path-like or None, default=None
        Where to keep the state after each epoch. A training that was killed goes on
        from there when `fit` is called with the same settings and data, each
        combination in a subfolder of its own.
    random_state : int, RandomState instance or None, default=None
        For order, dropout and augmentations. With None and a `checkpoint_dir` the seed
        is derived from the data.
    show_progress : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    encoder_ : encoder
        The tuned copy.
    temperature_ : float
        The learned temperature.
    history_ : dict of str to ndarray
        A table with a row an epoch: `epoch`, `train_loss`, `learning_rate`,
        `temperature`, `seconds`.
    n_reused_blocks_ : int
        Number of frozen blocks that were run once for each item, their output reused
        in all epochs.

    See Also
    --------
    TextEncoder : Encode texts with a frozen transformer.
    ImageEncoder : Encode pictures with a frozen network.

    Notes
    -----
    Training runs in float32 on the encoder's device. Blocks before the first trained
    one run without dropout, so what they give is computed once and reused in every
    epoch, in a temporary file where it takes more than 1 GiB; not for augmented
    pictures, which differ each time.

    Ctrl-C ends the training after the present batch and keeps the weights so far, with
    a warning; a second Ctrl-C stops everything.

    References
    ----------
    .. [1] Gao, Yao, Chen, *SimCSE: simple contrastive learning of sentence
       embeddings*, EMNLP 2021, arXiv:2104.08821.
    .. [2] Chen, Kornblith, Norouzi, Hinton, *A simple framework for contrastive
       learning of visual representations*, ICML 2020, arXiv:2002.05709.
    .. [3] Zhai et al., *LiT: zero-shot transfer with locked-image text tuning*, CVPR
       2022, arXiv:2111.07991.

    Examples
    --------
    >>> from skxmodal.encoders import ContrastiveTuner, TextEncoder
    >>> captions = ["a dog runs", "a running dog", "a red car", "the car is red"]
    >>> tuner = ContrastiveTuner(
    ...     TextEncoder(cache=False), objective="captions", max_epochs=2, random_state=0
    ... )
    >>> tuner.fit(captions, groups=[0, 0, 1, 1]).transform(["a fast dog"]).shape
    (1, 384)
    >>> tuner.n_reused_blocks_
    5
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "encoder": [BaseEncoder],
        "objective": [StrOptions(set(OBJECTIVES))],
        "trainable": "no_validation",
        "temperature": [Interval(Real, 0.01, None, closed="left")],
        "learning_rate": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        "weight_average": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "precision": [StrOptions({"auto", "float32", "bf16"})],
        "checkpoint_dir": [str, os.PathLike, None],
        "random_state": ["random_state"],
        "show_progress": ["boolean"],
    }

    def __init__(
        self,
        encoder: Any,
        *,
        objective: str = "unsupervised",
        trainable: Any = "last:1",
        temperature: float = 0.05,
        learning_rate: float | str = "auto",
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        weight_average: float = 0.0,
        batch_size: int = 128,
        max_epochs: int = 5,
        precision: str = "auto",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        random_state: Any = None,
        show_progress: bool = False,
    ) -> None:
        self.encoder = encoder
        self.objective = objective
        self.trainable = trainable
        self.temperature = temperature
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.weight_average = weight_average
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.show_progress = show_progress

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Tune a copy of the encoder on items.

        Parameters
        ----------
        X : list, tuple, array, column or iterable of n items
            Texts or pictures, as the encoder takes them.
        y : array-like of shape (n, d) or iterable of n items, default=None
            For "paired" the other side's vectors. For "captions" without `groups`,
            rows with equal `y` are one group. Else ignored.
        groups : array-like of shape (n,), default=None
            Items of one group, such as the captions of one picture, are never
            negatives of each other. By default items that are equal or, for
            "captions" and "paired", have equal `y`.

        Returns
        -------
        self : ContrastiveTuner
            The fitted tuner.

        Raises
        ------
        ValueError
            If the objective lacks `y` or `groups`, or there are too few items or
            groups for a contrastive loss.
        FloatingPointError
            If a loss is NaN or infinite.
        """
        import_optional("torch", extra="encoders", purpose="ContrastiveTuner")
        from skxmodal._training import Checkpoint, check_contrastive_batches
        from skxmodal.encoders._contrastive_training import tune

        check_trainable(self.trainable)
        # A subclass may encode in another way, which the tuned copy wouldn't have.
        if type(self.encoder) not in {*TUNED, *TUNED.values()}:
            raise ValueError(
                f"ContrastiveTuner got encoder={self.encoder!r}; it tunes a "
                f"{', '.join(kind.__name__ for kind in TUNED)} itself, not a subclass "
                "or another encoder."
            )
        plain = {"backend": "torch", "dtype": "float32"}
        encoder: Any = clone(self.encoder).set_params(**plain)
        encoder._validate_params()
        items = encoder._items(X)
        keys = encoder._keys(items)
        targets = self._targets(y, len(items))
        numbers = self._groups(keys, y, groups)
        check_contrastive_batches(numbers, min(self.batch_size, len(items)))
        name, seed = self._name_and_seed(encoder, keys, targets, numbers)
        checkpoint = None
        if self.checkpoint_dir is not None:
            checkpoint = Checkpoint(self.checkpoint_dir, name)
        outcome = tune(
            encoder,
            items,
            targets,
            numbers,
            self.get_params(deep=False),
            seed=seed,
            checkpoint=checkpoint,
        )
        if outcome.cut:
            encoder._warn_of(outcome.cut, items, 0)
        self.encoder_ = with_weights(clone(self.encoder), outcome.weights)
        self.temperature_ = outcome.temperature
        self.n_reused_blocks_ = outcome.n_reused
        self.history_ = {
            column: np.array([row.get(column, np.nan) for row in outcome.history])
            for column in outcome.history[-1]
        }
        if outcome.interrupted:
            warnings.warn(
                "The tuning was interrupted in epoch "
                f"{outcome.history[-1]['epoch']} of {self.max_epochs}. The weights so "
                "far are kept.",
                ConvergenceWarning,
                # Above the decorator of fit.
                stacklevel=3,
            )
        return self

    def transform(self, X: Any, out: Any = None) -> NDArray[np.float32]:
        """Encode items with the tuned copy.

        Parameters
        ----------
        X : list, tuple, array, column or iterable of n items
            Texts or pictures, as the encoder takes them.
        out : ndarray of shape (n, d), str or path, default=None
            Where to write the vectors, as the encoder has it.

        Returns
        -------
        vectors : ndarray of shape (n, d) of float32
            One row an item.
        """
        check_is_fitted(self)
        return self.encoder_.transform(X, out)

    def content_keys(self, items: Any) -> list[bytes]:
        """Key of each item by its content, equal where the content is equal.

        Parameters
        ----------
        items : list, tuple, array, column or iterable of n items
            The items.

        Returns
        -------
        keys : list of bytes of length n
            Digests of 20 bytes.
        """
        return getattr(self, "encoder_", self.encoder).content_keys(items)

    def fingerprint(self) -> dict[str, Any]:
        """Everything that changes a vector: equal where the vectors are equal.

        Returns
        -------
        fingerprint : dict
            That of the tuned copy.
        """
        check_is_fitted(self)
        return self.encoder_.fingerprint()

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns of `transform`.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str
            One name a column.
        """
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        n_features = self.encoder_._n_features_out
        return np.asarray([f"{prefix}{i}" for i in range(n_features)], dtype=object)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the tuned network as a checkpoint, weights as safetensors.

        ``TextEncoder(folder)`` and ``ImageEncoder(folder)`` read it like any other,
        with the tuned encoder's other parameters (`pooling` of pictures, `normalize`)
        as they were. Of a `TorchvisionEncoder` it is the file ``model.safetensors`` in
        the folder, for its `weights`.

        Parameters
        ----------
        folder : str or path-like
            A new or empty folder.

        Returns
        -------
        folder : pathlib.Path
            The same folder.

        Raises
        ------
        FileExistsError
            If the folder holds files already.
        """
        check_is_fitted(self)
        from skxmodal.encoders._contrastive_files import save_tuned

        return save_tuned(self.encoder_, Path(folder).expanduser())

    def _targets(self, y: Any, n_items: int) -> NDArray[Any] | None:
        if self.objective != "paired":
            return None
        if y is None:
            raise ValueError(
                "objective='paired' needs y, the other side's vectors: "
                "fit(items, vectors). CrossModalRetriever gives them to its query "
                "encoder; to tune the target's encoder, fit it on its own."
            )
        if is_raw(y):
            raise ValueError(
                "objective='paired' needs y as vectors, an array of shape (n, d), and "
                "got raw items. Put the tuner inside the retriever, "
                "CrossModalRetriever(query_encoder=tuner, target_encoder=...), or "
                "encode y beforehand."
            )
        targets = check_array(y, dtype=["float64", "float32"], input_name="y")
        if len(targets) != n_items:
            raise ValueError(f"X has {n_items} items and y has {len(targets)} rows.")
        return targets

    def _groups(self, keys: list[bytes], y: Any, groups: Any) -> NDArray[np.intp]:
        if groups is not None:
            numbers: NDArray[np.intp] = check_groups(groups, len(keys))
        elif self.objective != "unsupervised" and y is not None:
            _, numbers = group_by_content(y)
        elif self.objective == "captions":
            raise ValueError(
                "objective='captions' needs groups: fit(captions, groups=pictures), "
                "one label a caption, the same for captions of one picture."
            )
        else:
            _, numbers = group_items(keys)
        if len(numbers) != len(keys):
            raise ValueError(f"X has {len(keys)} items and y has {len(numbers)} rows.")
        if self.objective == "captions" and len(np.unique(numbers)) == len(numbers):
            raise ValueError(
                f"objective='captions' brings texts of one group together, and the "
                f"{len(numbers)} texts are of {len(numbers)} groups. Choose "
                "objective='unsupervised' or 'paired'."
            )
        return numbers

    def _name_and_seed(
        self,
        encoder: Any,
        keys: list[bytes],
        targets: NDArray[Any] | None,
        groups: NDArray[np.intp],
    ) -> tuple[str, int]:
        """Name of the checkpoint and seed of the training."""
        if self.checkpoint_dir is None:
            return "", check_random_state(self.random_state).randint(2**31)
        from skxmodal._training import digest

        ignored = {"checkpoint_dir", "encoder", "random_state", "show_progress"}
        params = self.get_params(deep=False)
        if not isinstance(self.trainable, str):
            params["trainable"] = _plain(self.trainable)
        parts: list[Any] = [
            (name, params[name]) for name in sorted(set(params) - ignored)
        ]
        # The cache keeps vectors as they were before they were normalised.
        parts += [encoder.fingerprint(), encoder.normalize, b"".join(keys), groups]
        if targets is not None:
            parts.append(targets)
        if self.random_state is not None:
            seed = check_random_state(self.random_state).randint(2**31)
            return digest([*parts, seed]), seed
        name = digest(parts)
        return name, int(name[:7], 16)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if isinstance(self.encoder, BaseEncoder):
            tags.input_tags = self.encoder.__sklearn_tags__().input_tags
        return tags


def _plain(config: Any) -> list[tuple[str, Any]]:
    """A configuration of peft's with the same repr in every process."""
    return [
        (name, sorted(value) if isinstance(value, set) else value)
        for name, value in sorted(config.to_dict().items())
    ]


def check_trainable(trainable: Any) -> None:
    """Refuse what names no layers.

    Raises
    ------
    ValueError
        If it is no such word or configuration.
    """
    if isinstance(trainable, str):
        known = trainable in ("all", "head", "adapters")
        if known or re.fullmatch(r"last:[1-9]\d*", trainable):
            return
    elif hasattr(trainable, "target_modules"):
        # Whoever has such a configuration has peft.
        from peft import LoraConfig

        if isinstance(trainable, LoraConfig):
            return
    raise ValueError(
        f"trainable={trainable!r} must be 'all', 'last:N' with N at least 1, 'head', "
        "'adapters' or a LoraConfig of peft."
    )
