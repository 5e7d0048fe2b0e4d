"""The perceptual hash, near pairs against comparing all with all, and the suspicion of writing."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from datamodules.checks.perceptual import DISTANCE, distances, near_pairs, perceptual_hash
from datamodules.checks.text import suspect_text


def scene(seed: int, side: int = 96) -> Any:
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), side / 12)
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def apart(one: np.ndarray, other: np.ndarray) -> int:
    hashes = np.array([perceptual_hash(one), perceptual_hash(other)], np.uint64)
    return int(distances(hashes[:1], hashes[1:])[0])


def test_the_hash_stays_where_a_picture_is_only_shown_differently() -> None:
    for seed in range(5):
        one = scene(seed)
        assert apart(one, one * 300 + 20) == 0
        assert apart(one, cv2.resize(one, (64, 64), interpolation=cv2.INTER_AREA)) <= DISTANCE
        assert apart(one, scene(seed + 100)) > 12


def test_distances_count_bits() -> None:
    rng = np.random.default_rng(0)
    some, others = rng.integers(0, 2**63, (2, 50)).astype(np.uint64)
    expected = [(int(one) ^ int(other)).bit_count() for one, other in zip(some, others, strict=True)]
    assert distances(some, others).tolist() == expected


def test_near_pairs_are_those_of_comparing_all_with_all() -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**63, 400).astype(np.uint64)
    for place in range(60):  # neighbours that differ in nought to five bits
        bits = rng.choice(64, place % 6, replace=False)
        hashes[200 + place] = hashes[place] ^ np.bitwise_or.reduce(
            np.uint64(1) << bits.astype(np.uint64), initial=np.uint64(0)
        )
    parts = rng.integers(0, 3, 400)
    expected = set()
    for one in range(400):
        away = distances(np.full(400, hashes[one]), hashes)
        found = [other for other in range(one + 1, 400) if away[other] <= DISTANCE and parts[one] != parts[other]]
        expected |= {(one, other, int(away[other])) for other in found}
    assert set(near_pairs(hashes, parts)) == expected
    assert len(expected) > 15


def test_a_set_that_looks_all_alike_is_not_compared_all_with_all() -> None:
    hashes = np.full(200_000, 12345, np.uint64)
    parts = np.arange(200_000) % 2
    assert len(list(near_pairs(hashes, parts))) <= 200_000


@pytest.mark.parametrize("words", ["JOHN SMITH 1954", "L  PORTABLE AP"])
def test_writing_is_suspected(words: str) -> None:
    picture = scene(3, 256) * 150
    written = picture.astype(np.uint8)
    cv2.putText(written, words, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    assert suspect_text(written.astype(np.float32))
    assert not suspect_text(picture)


def test_phantoms_bear_no_writing() -> None:
    from datamodules.phantoms.draw import draw

    assert not any(
        suspect_text(draw(patient, 0, seed=0, difficulty=0.5).image.astype(np.float32)) for patient in range(12)
    )
