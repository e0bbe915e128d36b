"""Approximate indices: graphs, inverted lists and quantised vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from skxmodal.neighbors._blocks import Vectors
from skxmodal.neighbors._faiss_index import FaissIndex, check_counts

# Items a list that faiss asks for, so that k-means has enough to go by.
ITEMS_A_LIST = 39
CODES_A_SUBVECTOR = 256


class HNSWIndex(FaissIndex):
    """A graph of near neighbours that a search walks through.

    Fast to search and slow to build: worth it for galleries of some hundred thousand
    items that are searched many times.

    Parameters
    ----------
    n_links : int, default=32
        Links of each item, at least 2, and twice as many on the lowest level.
    ef_construction : int, default=100
        Candidates kept while an item is linked: more take longer and lose less.
    ef_search : int, default=128
        Candidates kept while searching: more take longer and lose less.
    n_threads : int, default=None
        Threads. None searches with as many as BLAS would and builds with one, since
        links made by several depend on chance.

    Attributes
    ----------
    recall_vs_exact_ : float
        Share of the true ten nearest items that the index finds, on a sample.
    n_features_ : int
        Width of the vectors.

    References
    ----------
    .. [1] Malkov and Yashunin, "Efficient and Robust Approximate Nearest Neighbor
       Search Using Hierarchical Navigable Small World Graphs", TPAMI 42, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import HNSWIndex
    >>> index = HNSWIndex().fit(np.eye(5))
    >>> scores, rows = index.search(np.eye(5)[:2], k=1)
    >>> rows.ravel()
    array([0, 1])
    """

    def __init__(
        self,
        n_links: int = 32,
        *,
        ef_construction: int = 100,
        ef_search: int = 128,
        n_threads: int | None = None,
    ) -> None:
        self.n_links = n_links
        self.ef_construction = ef_construction
        self.ef_search = ef_search
        self.n_threads = n_threads

    def _check_parameters(self) -> None:
        check_counts(self, "n_links", "ef_construction", "ef_search")
        # faiss draws levels by the logarithm of the links, and falls over at 0.
        if self.n_links < 2:
            raise ValueError("n_links must be an integer of at least 2, got 1.")

    def _build(self, faiss: Any, vectors: Vectors) -> Any:
        index = faiss.IndexHNSWFlat(
            vectors.shape[1], self.n_links, faiss.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction = self.ef_construction
        return index

    def _search_parameters(self, faiss: Any, selector: Any, k: int) -> Any:
        return faiss.SearchParametersHNSW(efSearch=max(self.ef_search, k), sel=selector)

    def _search_all(self, faiss: Any, queries: Vectors, k: int, selector: Any) -> Any:
        # Not through the graph, parts of which no link may lead to.
        vectors = faiss.downcast_index(self._index.storage)
        return vectors.search(queries, k, params=faiss.SearchParameters(sel=selector))


class IVFIndex(FaissIndex):
    """Lists of items around k-means centres, of which the nearest are searched.

    Parameters
    ----------
    n_lists : int, default=None
        Number of lists; four times the square root of the number of items by default,
        and never more than the items suffice for.
    n_probe : int, default=None
        Lists searched for each query; an eighth of them by default.
    n_threads : int, default=None
        Threads; None searches with as many as BLAS would and builds with one.

    Attributes
    ----------
    recall_vs_exact_ : float
        Share of the true ten nearest items that the index finds, on a sample.
    n_features_ : int
        Width of the vectors.
    n_lists_ : int
        Number of lists.

    References
    ----------
    .. [1] Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search",
       TPAMI 33, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import IVFIndex
    >>> gallery = np.random.default_rng(0).normal(size=(1000, 8))
    >>> index = IVFIndex(n_lists=10, n_probe=10).fit(gallery)
    >>> index.recall_vs_exact_
    1.0
    """

    def __init__(
        self,
        n_lists: int | None = None,
        *,
        n_probe: int | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_lists = n_lists
        self.n_probe = n_probe
        self.n_threads = n_threads

    def _check_parameters(self) -> None:
        names = ("n_lists", "n_probe")
        given = [name for name in names if getattr(self, name) is not None]
        check_counts(self, *given)

    def _choose_lists(self, n_items: int) -> int:
        wanted = int(4 * np.sqrt(n_items)) if self.n_lists is None else self.n_lists
        return max(1, min(wanted, n_items // ITEMS_A_LIST))

    def _build(self, faiss: Any, vectors: Vectors) -> Any:
        self.n_lists_ = self._choose_lists(len(vectors))
        width = vectors.shape[1]
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(width), width, self.n_lists_, faiss.METRIC_INNER_PRODUCT
        )
        index.train(vectors)
        return index

    def _search_parameters(self, faiss: Any, selector: Any, k: int) -> Any:
        probed = -(-self.n_lists_ // 8) if self.n_probe is None else self.n_probe
        return faiss.SearchParametersIVF(
            nprobe=min(probed, self.n_lists_), sel=selector
        )

    def _search_all(self, faiss: Any, queries: Vectors, k: int, selector: Any) -> Any:
        params = faiss.SearchParametersIVF(nprobe=self.n_lists_, sel=selector)
        return self._index.search(queries, k, params=params)


class IVFPQIndex(IVFIndex):
    """Inverted lists of product-quantised vectors: a few bytes an item.

    Parameters
    ----------
    n_lists : int, default=None
        Number of lists; four times the square root of the number of items by default,
        and never more than the items suffice for.
    n_probe : int, default=None
        Lists searched for each query; an eighth of them by default.
    n_bytes : int, default=64
        Bytes of each item's code, one for every part of the vector. Vectors are padded
        with zeros to a multiple.
    n_threads : int, default=None
        Threads; None searches with as many as BLAS would and builds with one.

    Attributes
    ----------
    recall_vs_exact_ : float
        Share of the true ten nearest items that the index finds, on a sample.
    n_features_ : int
        Width of the vectors.
    n_lists_ : int
        Number of lists.

    References
    ----------
    .. [1] Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search",
       TPAMI 33, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import IVFPQIndex
    >>> gallery = np.random.default_rng(0).normal(size=(10_000, 2))
    >>> index = IVFPQIndex(n_lists=4, n_bytes=1).fit(gallery)
    >>> index.search(gallery[:3], k=10)[1].shape
    (3, 10)
    """

    def __init__(
        self,
        n_lists: int | None = None,
        *,
        n_probe: int | None = None,
        n_bytes: int = 64,
        n_threads: int | None = None,
    ) -> None:
        super().__init__(n_lists, n_probe=n_probe, n_threads=n_threads)
        self.n_bytes = n_bytes

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_counts(self, "n_bytes")

    def _build(self, faiss: Any, vectors: Vectors) -> Any:
        needed = ITEMS_A_LIST * CODES_A_SUBVECTOR
        if len(vectors) < needed:
            raise ValueError(
                f"An IVFPQIndex learns {CODES_A_SUBVECTOR} codes for each part of the "
                f"vectors and needs at least {needed} items, got {len(vectors)}. Take "
                "the exact index for so few."
            )
        self.n_lists_ = self._choose_lists(len(vectors))
        width = vectors.shape[1]
        index = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(width),
            width,
            self.n_lists_,
            self.n_bytes,
            8,
            faiss.METRIC_INNER_PRODUCT,
        )
        index.train(vectors)
        return index

    def _pad(self, vectors: Vectors) -> Vectors:
        width = -(-vectors.shape[1] // self.n_bytes) * self.n_bytes
        padded = np.zeros((len(vectors), width), dtype=np.float32)
        padded[:, : vectors.shape[1]] = vectors
        return padded


class ScalarQuantizedIndex(FaissIndex):
    """All items, each number in eight bits: a quarter of the memory.

    Parameters
    ----------
    n_threads : int, default=None
        Threads; None searches with as many as BLAS would and builds with one.

    Attributes
    ----------
    recall_vs_exact_ : float
        Share of the true ten nearest items that the index finds, on a sample.
    n_features_ : int
        Width of the vectors.

    Examples
    --------
    >>> import numpy as np
    >>> from skxmodal.neighbors import ScalarQuantizedIndex
    >>> gallery = np.random.default_rng(0).normal(size=(1000, 8))
    >>> ScalarQuantizedIndex().fit(gallery).recall_vs_exact_ > 0.9
    True
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads

    def _check_parameters(self) -> None:
        """There is none to check but the threads, which are checked when used."""

    def _build(self, faiss: Any, vectors: Vectors) -> Any:
        index = faiss.IndexScalarQuantizer(
            vectors.shape[1],
            faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT,
        )
        index.train(vectors)
        return index

    def _search_parameters(self, faiss: Any, selector: Any, k: int) -> Any:
        return faiss.SearchParameters(sel=selector)

    def _search_all(self, faiss: Any, queries: Vectors, k: int, selector: Any) -> Any:
        params = self._search_parameters(faiss, selector, k)
        return self._index.search(queries, k, params=params)
