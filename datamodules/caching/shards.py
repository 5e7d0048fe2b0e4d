"""Rows of arrays by the thousand in one file, mapped into memory: Arrow's IPC file format, whose index is at its end.

A file that was cut off is no Arrow file, and any Arrow library opens a whole one. zarr and HDF5 have no ragged rows,
LMDB's map needs its size beforehand and does not work on NFS, and webdataset's tar files are for reading in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datamodules.caching.facts import from_text, to_text

KEY_BYTES = 16
SCHEMA = pa.schema(
    [("key", pa.binary(KEY_BYTES)), ("facts", pa.string()), ("data", pa.large_binary())],
    metadata={"scansuite": "images 1"},
)
_ALIGNED = 64  # bytes that each array begins at a multiple of, from the start of its row: vector instructions like it


class Row(NamedTuple):
    """Row of a shard.

    Attributes:
        key: 16 bytes by which it is found.
        arrays: of any shapes and types of numbers; those that are read are read-only, and lie in the mapped file.
        facts: see :func:`~datamodules.caching.facts.to_text`.
    """

    key: bytes
    arrays: Sequence[NDArray[Any]]
    facts: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays)


class NotWholeError(ValueError):
    """The file is no shard, or not all of one."""


def batch_of(rows: Iterable[Row]) -> pa.RecordBatch:
    """Some rows, to be written to a shard or sent to the process that writes it.

    Raises:
        TypeError: facts that cannot be kept, or an array that holds no numbers.
    """
    keys, facts, data = [], [], []
    for row in rows:
        kinds = []
        pieces = []
        for array in row.arrays:
            if array.dtype.kind not in "buif":
                raise TypeError(f"an array of {array.dtype} holds no numbers")
            kinds.append([array.dtype.str, list(array.shape)])
            pieces.append(array.tobytes() + bytes(-array.nbytes % _ALIGNED))
        keys.append(row.key)
        facts.append(json.dumps(kinds) + "\n" + to_text(row.facts))
        data.append(b"".join(pieces))
    columns = [pa.array(keys, SCHEMA.field(0).type), pa.array(facts, pa.string()), pa.array(data, pa.large_binary())]
    return pa.record_batch(columns, schema=SCHEMA)


def write_shard(file: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write a shard; whoever calls it sees to it that the name appears when all of it is there.

    Raises:
        OSError: it cannot be written, with the reason in ``errno``.
    """
    # A file of Python's own: the errors of Arrow's do not always have an errno.
    with file.open("wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)


class Shard:
    """A shard, mapped read-only: its pages are shared by all processes that read it, and the system may drop them.

    Args:
        file: that :func:`write_shard` wrote.

    Raises:
        NotWholeError: it is damaged, or something else.
        OSError: it cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        try:
            with pa.memory_map(str(file)) as source, pa.ipc.open_file(source) as reader:
                if not reader.schema.equals(SCHEMA, check_metadata=True):
                    raise NotWholeError(f"{file}: is another kind of file")
                # The batches keep the mapping; the descriptor goes with the reader.
                self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        except pa.ArrowException as error:
            raise NotWholeError(f"{file}: {error}") from None
        self._first = np.cumsum([0, *(len(batch) for batch in self._batches)])
        self._data = [_values(batch) for batch in self._batches]

    def __len__(self) -> int:
        return int(self._first[-1])

    def keys(self) -> NDArray[np.uint64]:
        """(N, 2) of the rows, each key as two numbers."""
        parts = [
            np.frombuffer(column.buffers()[1], np.uint64).reshape(-1, 2)[column.offset : column.offset + len(column)]
            for column in (batch.column(0) for batch in self._batches)
        ]
        return np.concatenate([np.zeros((0, 2), np.uint64), *parts])

    def row(self, number: int) -> Row:
        """A row by its number.

        Raises:
            NotWholeError: what it says of itself cannot be.
        """
        part = int(np.searchsorted(self._first, number, side="right")) - 1
        place = number - int(self._first[part])
        batch, (offsets, data) = self._batches[part], self._data[part]
        start, stop = int(offsets[place]), int(offsets[place + 1])
        try:
            kinds, facts = batch.column(1)[place].as_py().split("\n", 1)
            arrays = []
            for kind, shape in json.loads(kinds):
                dtype = np.dtype(kind)
                count = int(np.prod(shape, dtype=np.int64))
                arrays.append(np.frombuffer(data, dtype, count, start).reshape(shape))
                start += count * dtype.itemsize + -(count * dtype.itemsize) % _ALIGNED
            if start != stop:
                raise ValueError("its arrays are longer or shorter than their row")
            return Row(batch.column(0)[place].as_py(), arrays, from_text(facts))
        except (ValueError, TypeError, KeyError) as error:
            raise NotWholeError(f"row {number}: {error}") from None


def _values(batch: pa.RecordBatch) -> tuple[NDArray[np.int64], pa.Buffer]:
    """Where the data of each row begin and end, and the bytes of all."""
    column = batch.column(2)
    _, offsets, data = column.buffers()
    return np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1], data


def key_numbers(keys: Sequence[bytes]) -> NDArray[np.uint64]:
    """(N, 2): keys as :meth:`Shard.keys` gives them."""
    return np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2)
