"""Kernels by hand against the course's case and SciPy's cross-correlation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import correlate2d
from torch.nn.functional import conv2d

from scansuite.errors import SuiteError
from tasks.explain.kernels import KERNELS, apply_kernel, read_kernel

COURSE = np.tile(np.array([10, 10, 10, 0, 0, 0], np.uint8), (6, 1))
NUMBERS = st.integers(-9, 9).map(float)


def test_the_vertical_edge_of_the_course() -> None:
    kernel = read_kernel("[[1,0,-1],[1,0,-1],[1,0,-1]]").weights
    assert apply_kernel(COURSE, kernel).tolist() == [[0, 30, 30, 0]] * 4
    assert apply_kernel(COURSE[:, ::-1], kernel).tolist() == [[0, -30, -30, 0]] * 4
    same = apply_kernel(COURSE, kernel, "same")
    assert same.shape == (6, 6)
    assert same[2].tolist() == [-30, 0, 30, 30, 0, 0]  # zeros around the image


def test_a_kernel_is_not_turned_round() -> None:
    image = np.zeros((5, 5))
    image[2, 2] = 1
    kernel = np.arange(9.0).reshape(3, 3)
    assert np.array_equal(apply_kernel(image, kernel), kernel[::-1, ::-1])  # cross-correlation: the answer is


@given(
    arrays(np.float64, st.tuples(st.integers(5, 9), st.integers(5, 9)), elements=NUMBERS),
    arrays(np.float64, st.sampled_from([(1, 1), (3, 3), (1, 5), (5, 3), (2, 4)]), elements=NUMBERS),
)
def test_the_answer_is_scipys(image: np.ndarray, kernel: np.ndarray) -> None:
    assert np.allclose(apply_kernel(image, kernel), correlate2d(image, kernel, "valid"))
    if all(side % 2 for side in kernel.shape):  # of even ones the middle is a matter of taste
        assert np.allclose(apply_kernel(image, kernel, "same"), correlate2d(image, kernel, "same"))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (1, 2), (4, 5)])
def test_the_same_size_is_torchs(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(7, 9)), rng.normal(size=shape)
    expected = conv2d(torch.from_numpy(image)[None, None], torch.from_numpy(kernel)[None, None], padding="same")
    assert np.allclose(apply_kernel(image, kernel, "same"), expected[0, 0].numpy())


@pytest.mark.parametrize("name", KERNELS)
def test_sums_of_the_common_kernels(name: str) -> None:
    kernel = read_kernel(name)
    assert kernel.name == name
    assert kernel.weights.sum() == pytest.approx(1 if name in ("gaussian", "sharpen") else 0)


def test_colour_is_made_grey() -> None:
    grey = np.arange(36, dtype=np.float64).reshape(6, 6)
    colour = np.stack([grey] * 3, axis=-1)
    assert np.allclose(apply_kernel(colour, np.ones((1, 1))), grey, rtol=1e-6)


def test_files(tmp_path: Path) -> None:
    rows = [[0.0, 1.5], [2.0, -1.0]]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.csv").write_text("0,1.5\n2,-1\n")
    (tmp_path / "c.txt").write_text("0 1.5\n\n2 -1\n")
    np.save(tmp_path / "d.npy", rows)
    for name in ("a.json", "b.csv", "c.txt", "d.npy"):
        kernel = read_kernel(str(tmp_path / name))
        assert kernel.weights.tolist() == rows
        assert kernel.name == name[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vertcal", "did you mean 'vertical'"),
        ("[[1,2],[3]]", "all of one length"),
        ("[1,2]", "rows of numbers"),
        ("[[1,", "rows of numbers"),
        ("[" * 100_000, "rows of numbers"),
        ('[["a"]]', "all of one length"),
        ("[[]]", "all of one length"),
        ("[[NaN]]", "not finite"),
        (json.dumps([[0.0] * 64]), "at most 63 x 63"),
    ],
)
def test_what_is_no_kernel(text: str, said: str) -> None:
    with pytest.raises(SuiteError, match=said) as caught:
        read_kernel(text)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_kernel(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    (tmp_path / "words.csv").write_text("a,b\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large.txt").write_text("0 " * 600_000)
    for name in ("objects.npy", "words.csv", "bytes.txt", "large.txt"):
        with pytest.raises(SuiteError, match=name):
            read_kernel(str(tmp_path / name))


def test_a_kernel_larger_than_the_image() -> None:
    with pytest.raises(SuiteError, match="--padding same"):
        apply_kernel(np.zeros((2, 2)), np.ones((3, 3)))
    assert apply_kernel(np.ones((2, 2)), np.ones((3, 3)), "same").tolist() == [[4, 4], [4, 4]]
