"""Rows of arrays in mapped files: what comes out is what went in, and a damaged file is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from datamodules.caching.facts import from_text, to_text
from datamodules.caching.shards import NotWholeError, Row, Shard, batch_of, key_numbers, write_shard

KINDS: list[np.dtype[Any]] = [np.dtype(name) for name in ("u1", "u2", "i2", "f4", "f8", "i8", "?", ">i2")]
ARRAYS: st.SearchStrategy[NDArray[Any]] = arrays_of.arrays(
    st.sampled_from(KINDS), arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7)
)
NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
FACTS = st.dictionaries(
    st.text("abc_", min_size=1, max_size=5),
    st.recursive(
        NUMBERS | ARRAYS | st.builds(np.float32, st.floats(width=32)),
        lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
        max_leaves=6,
    ),
    max_size=4,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic):
        alike = type(one) is type(other) and (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and one.tobytes() == other.tobytes() if one.dtype.kind != "f" else np.array_equal(one, other, True)
    return type(one) is type(other) and (one == other or (one != one and other != other))


@given(FACTS)
def test_facts_come_back_with_their_types(facts: dict[str, Any]) -> None:
    back = from_text(to_text(facts))
    assert list(back) == list(facts)
    assert all(same(facts[name], back[name]) for name in facts)


@pytest.mark.parametrize("fact", [object(), {1: 2}, b"bytes", np.array(["text"]), {2, 3}])
def test_facts_of_other_kinds_are_refused(fact: object) -> None:
    with pytest.raises(TypeError, match="cannot be kept"):
        to_text({"fact": fact})


@given(st.lists(st.lists(ARRAYS, max_size=4), max_size=8), st.integers(1, 4))
def test_rows_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, rows: Any, together: int) -> None:
    file = tmp_path_factory.mktemp("shard") / "one.arrow"
    given_rows = [Row(os.urandom(16), arrays, {"number": number}) for number, arrays in enumerate(rows)]
    write_shard(file, [batch_of(given_rows[at : at + together]) for at in range(0, len(rows), together)])
    shard = Shard(file)
    assert len(shard) == len(rows)
    assert (shard.keys() == key_numbers([row.key for row in given_rows])).all()
    for number in reversed(range(len(rows))):
        row, want = shard.row(number), given_rows[number]
        assert (row.key, row.facts, row.nbytes) == (want.key, want.facts, want.nbytes)
        for array, wanted in zip(row.arrays, want.arrays, strict=True):
            assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
            assert array.tobytes() == wanted.tobytes()
            assert array.flags.aligned
            assert array.size == 0 or not array.flags.writeable


def test_an_array_outlives_its_shard_and_its_file(tmp_path: Path) -> None:
    file = tmp_path / "one.arrow"
    write_shard(file, [batch_of([Row(bytes(16), [np.arange(1000)], {})])])
    [array] = Shard(file).row(0).arrays
    file.unlink()
    assert array.sum() == 499500


@pytest.mark.parametrize("damage", ["truncated", "longer", "empty", "end", "text", "other"])
def test_a_file_that_is_not_whole_is_no_shard(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "one.arrow"
    write_shard(file, [batch_of([Row(bytes(16), [np.arange(1000)], {})])])
    data = file.read_bytes()
    broken = {"truncated": data[:-7], "longer": data + b"7", "empty": b"", "end": data[:-60] + bytes(60)}
    file.write_bytes(broken.get(damage, b"no Arrow file at all, but long enough for one"))
    if damage == "other":
        import pyarrow as pa

        table = pa.table({"key": [1]})
        with pa.ipc.new_file(str(file), table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(NotWholeError, match=r"one\.arrow"):
        Shard(file)


def test_an_array_of_objects_is_refused() -> None:
    with pytest.raises(TypeError, match="holds no numbers"):
        batch_of([Row(bytes(16), [np.array([None])], {})])
