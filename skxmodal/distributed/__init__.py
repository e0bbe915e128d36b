"""Search and ranks over shards on Dask, and files that blocks are read from."""

from skxmodal._dask import ShardError
from skxmodal.distributed._files import read_npy, read_shards, write_shards
from skxmodal.distributed._rank_counts import count_ranks
from skxmodal.distributed._sharded_index import ShardedIndex

__all__ = [
    "ShardError",
    "ShardedIndex",
    "count_ranks",
    "read_npy",
    "read_shards",
    "write_shards",
]
