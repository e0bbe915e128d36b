"""What every encoder shares: duplicates once, cached vectors, unit rows."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from copy import copy
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)

from skxmodal._content import group_items
from skxmodal._doc_links import DocLinkMixin
from skxmodal._progress import Progress
from skxmodal._validation import is_dask
from skxmodal.encoders._backends import build_run
from skxmodal.encoders._cache import resolve_cache
from skxmodal.encoders._dask_items import encode_partitions
from skxmodal.encoders._devices import (
    check_dtype,
    resolve_device,
    warn_of_emulation,
)
from skxmodal.encoders._engines import ENGINES
from skxmodal.encoders._loaded import shared
from skxmodal.encoders._output import Output, open_output
from skxmodal.encoders._pool import DevicePool

# Raise it when items are prepared or encoded otherwise: older vectors then differ.
FORMAT = 1

# Batches encoded between two writes to the cache, sorted by length together.
BATCHES_A_CHUNK = 64
# Where several devices share the work, so that each has some.
BATCHES_FOR_A_DEVICE = 8

# Lengths of vectors by fingerprint: names of features then need no network.
_dimensions: dict[str, int] = {}


class BaseEncoder(
    DocLinkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Encoder of raw items by a frozen network.

    A subclass stores its parameters, `model`, `batch_size`, `device`, `normalize`,
    `cache` and `show_progress` among them, and implements the methods below that
    raise. `_encode` is given distinct items.
    """

    def fit(self, X: Any, y: Any = None) -> BaseEncoder:
        """Check the parameters and the items. Nothing is learned.

        An iterator is left as it is: its items are checked by :meth:`transform`.

        Parameters
        ----------
        X : list, tuple, array, column or iterable of n items
            The items.
        y : None
            Ignored.

        Returns
        -------
        self : BaseEncoder
            The encoder itself.
        """
        self._validate_params()
        # Reading an iterator would leave nothing to transform.
        if not is_dask(X) and not isinstance(X, Iterator):
            self._items(X)
        return self

    def transform(self, X: Any, out: Any = None) -> NDArray[np.float32]:
        """Encode items.

        Parameters
        ----------
        X : list, tuple, array, column or iterable of n items
            The items. Equal ones are encoded once. An iterator with ``out`` is read
            block by block, so that any number of items takes the same memory; equal
            items of different blocks are then found in the cache, if there is one.
        out : ndarray of shape (n, d), str or path, default=None
            Where to write the vectors: a float32 array, such as a memory map, or the
            path of a ``.npy`` file, which appears once it is whole. By default a new
            array. With Dask items the path of a new folder, which
            :func:`skxmodal.distributed.read_shards` reads.

        Returns
        -------
        vectors : ndarray of shape (n, d) of float32
            One row an item, of unit length where ``normalize=True``; ``out`` if it is
            an array, and a memory map of the file if it is a path. For a Dask bag,
            array or column a lazy Dask array, encoded partition by partition on its
            workers: read from the folder ``out``, where one is given.
        """
        self._validate_params()
        if is_dask(X):
            return encode_partitions(self, X, out)
        in_blocks = isinstance(X, Iterator) and out is not None
        start = 0
        pool = DevicePool(self, self.devices)
        with open_output(out) as output, pool:
            for block in self._blocks(X) if in_blocks else [X]:
                start += self._write(block, output, start, pool)
            if not start:
                self._items([])
            return output.finish(start)

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
        return self._keys(self._items(items))

    def fingerprint(self) -> dict[str, Any]:
        """Everything that changes a vector: equal where the vectors are equal.

        Returns
        -------
        fingerprint : dict
            Names and plain values, fit for JSON: the class, a digest of the weights
            and settings on disk, and the parameters that matter.
        """
        fingerprint = {"encoder": type(self).__name__, "format": FORMAT}
        fingerprint.update(self._settings())
        if self.backend != "torch":
            fingerprint["backend"] = self.backend
        return fingerprint

    @property
    def _n_features_out(self) -> int:
        namespace = self._namespace()
        if namespace not in _dimensions:
            _dimensions[namespace] = int(self._model().dimension)
        return _dimensions[namespace]

    def _blocks(self, items: Iterator[Any]) -> Iterator[list[Any]]:
        while block := list(islice(items, self.batch_size * BATCHES_A_CHUNK)):
            yield block

    def _write(self, X: Any, output: Output, start: int, pool: DevicePool) -> int:
        """Write the vectors of a block of items, and say how many items it had."""
        items = self._items(X, start)
        output.check(start, len(items))
        keys = self._keys(items, start)
        first_rows, item_of_row = group_items(keys)
        rows_in_order = np.argsort(item_of_row, kind="stable")
        n_distinct = len(first_rows)
        bounds = np.searchsorted(item_of_row[rows_in_order], np.arange(n_distinct + 1))
        problems: set[bytes] = set()
        written = None
        found = self._distinct(items, keys, first_rows, problems, start, pool)
        for places, vectors in found:
            if self.normalize:
                _to_unit_rows(vectors)
            if written is None:
                written = output.block(start, len(items), vectors.shape[1])
                _dimensions[self._namespace()] = vectors.shape[1]
            if n_distinct == len(items):
                written[places] = vectors
                continue
            for place, vector in zip(places.tolist(), vectors, strict=True):
                written[rows_in_order[bounds[place] : bounds[place + 1]]] = vector
        if problems:
            rows = [row for row, key in enumerate(keys) if key in problems]
            self._warn_of(rows, items, start)
        return len(items)

    def _distinct(
        self,
        items: list[Any],
        keys: list[bytes],
        rows: NDArray[np.intp],
        problems: set[bytes],
        start: int,
        pool: DevicePool,
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Places among `rows` and their vectors, those that the cache has first.

        The keys of items that didn't go as they should are added to `problems`, those
        of vectors from the cache too: they are marked there.
        """
        store = resolve_cache(self.cache)
        fingerprint = self.fingerprint()
        missing = []
        size = self.batch_size * BATCHES_A_CHUNK
        for places in _chunks(np.arange(len(rows)), size):
            found = np.zeros(len(places), dtype=bool)
            if store is not None:
                wanted = [keys[row] for row in rows[places]]
                vectors, found, marks = store.get_many(
                    fingerprint, wanted, return_marks=True
                )
                problems.update(wanted[place] for place in np.flatnonzero(marks))
            missing.append(places[~found])
            if found.any():
                yield places[found], vectors[found]
        if self.devices is not None:
            size = self.batch_size * BATCHES_FOR_A_DEVICE
        left = list(_chunks(np.concatenate(missing), size))
        work = (
            (chosen, [start + row for row in chosen_rows])
            for chosen, chosen_rows in (_pick(items, rows[places]) for places in left)
        )
        with Progress(
            sum(map(len, left)), type(self).__name__, bool(self.show_progress)
        ) as bar:
            encoded_chunks = self._encode_all(work, bar, pool)
            for places, encoded in zip(left, encoded_chunks, strict=True):
                vectors, troubled = encoded
                chosen, chosen_rows = _pick(items, rows[places])
                chosen_keys = [keys[row] for row in chosen_rows]
                marks = np.zeros(len(chosen), dtype=bool)
                marks[troubled] = True
                problems.update(chosen_keys[place] for place in troubled)
                if store is not None:
                    kept = np.isfinite(vectors).all(axis=1)
                    kept &= self._as_keyed(chosen, chosen_keys)
                    kept_keys = [chosen_keys[place] for place in np.flatnonzero(kept)]
                    store.put_many(fingerprint, kept_keys, vectors[kept], marks[kept])
                yield places, vectors

    def _encode_all(
        self,
        work: Iterator[tuple[list[Any], list[int]]],
        bar: Progress,
        pool: DevicePool,
    ) -> Iterator[tuple[NDArray[np.float32], list[int]]]:
        if self.devices is None:
            for items, rows in work:
                yield self._encode(self._model(), items, rows, bar)
            return
        for vectors, troubled in pool.encode(work):
            bar.update(len(vectors))
            yield vectors, troubled

    def _as_keyed(self, items: list[Any], keys: list[bytes]) -> NDArray[np.bool_]:
        """Which items still are what their key says, after they were encoded."""
        return np.ones(len(items), dtype=bool)

    def _namespace(self) -> str:
        return json.dumps(self.fingerprint(), sort_keys=True)

    def _model(self) -> Any:
        key = f"{self._namespace()} {resolve_device(self.device, self.backend)}"
        forks = self.backend == "torch" or ENGINES[self.backend].forks
        return shared(key, self._load_backend, holder=self, forks=forks)

    def _load_backend(self) -> Any:
        if self.backend == "torch":
            check_dtype(self.dtype)
            warn_of_emulation(self.dtype, resolve_device(self.device))
            return self._load()
        settings = {"backend": "torch", "dtype": "float32", "device": "cpu"}
        # A copy, not a clone: a tuned encoder has weights of its own.
        plain = copy(self).set_params(**settings)
        model = plain._load()
        model.run = build_run(
            model.network,
            model.examples(),
            backend=self.backend,
            dtype=self.dtype,
            identity=plain._namespace(),
            free_axes=model.free_axes,
        )
        # The engine has its own copy of the weights.
        model.network = None
        return model

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    @abstractmethod
    def _items(self, X: Any, start: int = 0) -> list[Any]:
        """The items as a checked list, whose rows errors count from `start`."""

    @abstractmethod
    def _keys(self, items: list[Any], start: int = 0) -> list[bytes]:
        """Key of each checked item by its content."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """The part of the fingerprint that is the subclass's own."""

    @abstractmethod
    def _load(self) -> Any:
        """The network and what goes with it, an object with a `dimension`."""

    @abstractmethod
    def _encode(
        self, model: Any, items: list[Any], rows: list[int], bar: Progress
    ) -> tuple[NDArray[np.float32], list[int]]:
        """Vectors of distinct items, not yet unit rows, and which to warn of.

        The latter are rows of NaN, or are marked in the cache.
        """

    @abstractmethod
    def _warn_of(self, rows: list[int], items: list[Any], start: int) -> None:
        """Warn of the items that `_encode` told of, once for all of them.

        Their rows are named as counted from `start`.
        """


def _pick(items: list[Any], rows: NDArray[np.intp]) -> tuple[list[Any], list[int]]:
    return [items[row] for row in rows], rows.tolist()


def _chunks(places: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(places), size):
        yield places[start : start + size]


def _to_unit_rows(vectors: NDArray[np.float32]) -> None:
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    # A row of zeros has no direction and stays as it is.
    norms[norms == 0] = 1
    vectors /= norms[:, None].astype(np.float32)
