"""Images of every stored type and number of channels, and what may be asked of them, for hypothesis to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from datamodules.preprocess import Preprocess

TYPES = ("bool", "uint8", "int8", "uint16", "int16", ">u2", "int32", "float16", "float32", "float64")
SCALES: tuple[dict[str, Any], ...] = (
    {"windows": ((40.0, 400.0),)},
    {"percentiles": (1.0, 99.0)},
    {"value_range": (-10.5, 300.25)},
    {"value_range": (3.0, 250.0)},
)


@st.composite
def batches(draw: st.DrawFn, channels: int, cases: int) -> list[np.ndarray[Any, Any]]:
    """Images of one type and size."""
    kind: np.dtype[Any] = np.dtype(draw(st.sampled_from(TYPES)))
    counts = {1: [0, 1, 2, 3, 4], 3: [0, 1, 2, 3, 4], 2: [2], 5: [5]}[channels]
    count = draw(st.sampled_from(counts))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)), *([count] if count else []))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    if kind.kind == "f":
        return [rng.normal(50, 120, shape).astype(kind) for _ in range(cases)]
    low, high = (0, 1) if kind.kind == "b" else (max(np.iinfo(kind).min, -2000), min(np.iinfo(kind).max, 4000))
    return [rng.integers(low, high + 1, shape).astype(kind) for _ in range(cases)]


@st.composite
def specs(draw: st.DrawFn, gammas: tuple[float, ...] = (1.0, 0.5)) -> Preprocess:
    several = draw(st.booleans())
    size = draw(st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)))
    how: dict[str, Any] = {
        "size": size,
        "round_resized": draw(st.booleans()),
        "fit": draw(st.sampled_from(["stretch", "pad"])),
        "gamma": draw(st.sampled_from(gammas)),
    }
    if several:
        return Preprocess(channels=2, windows=((40.0, 80.0), (-600.0, 1500.0)), **how)
    return Preprocess(channels=draw(st.sampled_from([1, 2, 3, 5])), **draw(st.sampled_from(SCALES)), **how)
