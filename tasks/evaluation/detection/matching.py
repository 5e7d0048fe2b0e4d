"""Matching of found and true boxes: every image once, for all metrics and resamples.

The rule is COCO's: in each image and class, found boxes take turns from the best score down; each takes the true box it
overlaps best among those still free, if the IoU reaches the threshold. A second hit on a true box is a false positive.
True boxes to be ignored (a crowd, or outside the range of areas) are the last choice, a crowd any number of times, and
their hits count neither as found nor as false; so do found boxes outside the range that hit nothing. The overlap with a
crowd is the share of the found box inside it. Source: ``COCOeval.evaluateImg`` of the COCO API (T.-Y. Lin and others,
ECCV 2014).

Difficult boxes are no crowds, and are ignored by PASCAL VOC's rule: a found box whose true box of largest IoU, free or
not, is difficult counts neither way where that IoU reaches the threshold, and takes nothing. One that merely lies in a
difficult box is false. Source: ``VOCevaldet.m`` of the VOC2010 development kit (M. Everingham and others, IJCV
88:303-338, 2010). Where there are no difficult boxes all is as in COCO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.detection.boxes import BoxSet, IntArray
from tasks.evaluation.detection.coco_map import AREAS, xywh

EVERY_SIZE = (AREAS["all"],)


@dataclass(frozen=True)
class Matches:
    """The found boxes of one class, best score first over the whole data set, and what each hit.

    Equal scores stand in order of image, then of row, as in COCO.

    Attributes:
        image: ``(D,)`` image number.
        score: ``(D,)``.
        place: ``(D,)`` how many better ones of the class the image has.
        hit: ``(A, T, D)`` took a true box that counts, by range of areas and IoU threshold.
        ignored: ``(A, T, D)`` counts neither as hit nor as false.
        truth: ``(A, n)`` true boxes that count, of each image.
        taken: ``(D,)`` row of the true box that each takes in the first range at the first threshold, -1 = none that
            counts.
    """

    image: IntArray
    score: FloatArray
    place: IntArray
    hit: BoolArray
    ignored: BoolArray
    truth: FloatArray
    taken: IntArray

    def best(self, count: int) -> Matches:
        """The ``count`` best found boxes of each image alone: what comes after a box does not change what it hits."""
        kept = self.place < count
        return Matches(
            self.image[kept],
            self.score[kept],
            self.place[kept],
            self.hit[:, :, kept],
            self.ignored[:, :, kept],
            self.truth,
            self.taken[kept],
        )


def match_boxes(
    boxes: BoxSet,
    max_detections: int,
    thresholds: FloatArray,
    areas: Sequence[tuple[float, float]] = EVERY_SIZE,
) -> list[Matches]:
    """Match all images.

    Args:
        boxes: of n images.
        max_detections: best found boxes of an image and class that count.
        thresholds: ``(T,)`` IoU in (0, 1].
        areas: A ranges of box areas in square pixels, both ends inside.

    Returns:
        One for each class, in class order.
    """
    return [_match_class(boxes, number, max_detections, thresholds, areas) for number in range(len(boxes.class_names))]


def _match_class(
    boxes: BoxSet, number: int, max_detections: int, thresholds: FloatArray, areas: Sequence[tuple[float, float]]
) -> Matches:
    true = np.flatnonzero(boxes.true_label == number)
    true = true[np.argsort(boxes.true_image[true], kind="stable")]
    found = np.flatnonzero(boxes.label == number)
    found = found[np.lexsort((-boxes.score[found], boxes.image[found]))]
    starts = np.searchsorted(boxes.image[found], np.arange(boxes.images + 1))
    place = np.arange(len(found)) - starts[boxes.image[found]]
    found, place = found[place < max_detections], place[place < max_detections]
    starts = np.searchsorted(boxes.image[found], np.arange(boxes.images + 1))
    true_starts = np.searchsorted(boxes.true_image[true], np.arange(boxes.images + 1))

    true_places, places = xywh(boxes.true_boxes[true]), xywh(boxes.boxes[found])
    difficult = boxes.difficult[true]
    crowd = boxes.ignore[true] & ~difficult
    passed_over = boxes.ignore[true] | _outside(true_places, areas)
    shape = (len(areas), len(thresholds), len(found))
    hit, spared = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    first: IntArray = np.full(len(found), -1, dtype=np.intp)
    # COCO's own guard: a perfect overlap may come out a little below 1.
    limits = np.minimum(thresholds, 1 - 1e-10)
    for image in range(boxes.images):
        own, theirs = slice(*starts[image : image + 2]), slice(*true_starts[image : image + 2])
        if own.start < own.stop and theirs.start < theirs.stop:
            overlaps = _overlaps(places[own], true_places[theirs], crowd[theirs])
            passed = passed_over[:, theirs]
            taken, spared[:, :, own] = _match_image(overlaps, crowd[theirs], difficult[theirs], passed, limits)
            hit[:, :, own] = taken >= 0
            first[own] = np.where(taken[0, 0] >= 0, true[theirs][taken[0, 0]], -1)

    ignored = spared | (~hit & _outside(places, areas)[:, None, :])
    order = np.argsort(-boxes.score[found], kind="stable")
    counts = [np.bincount(boxes.true_image[true[~row]], minlength=boxes.images) for row in passed_over]
    return Matches(
        image=boxes.image[found[order]],
        score=boxes.score[found[order]],
        place=place[order],
        hit=hit[:, :, order],
        ignored=ignored[:, :, order],
        truth=np.stack(counts).astype(np.float64),
        taken=first[order],
    )


def _outside(places: FloatArray, areas: Sequence[tuple[float, float]]) -> BoolArray:
    """``(A, N)``: the box is smaller or larger than the range."""
    area = places[:, 2] * places[:, 3]
    ends = np.array(areas)
    outside: BoolArray = (area < ends[:, :1]) | (area > ends[:, 1:])
    return outside


def _overlaps(found: FloatArray, true: FloatArray, crowd: BoolArray) -> FloatArray:
    """``(D, G)`` IoU; with a crowd, the share of the found box inside it.

    COCO's own: so ties fall alike, crowds are known (torchvision's ``box_iou`` has none), and no torch is needed.
    """
    from faster_coco_eval.core import mask

    return np.asarray(mask.iou(found, true, crowd.astype(int).tolist()), dtype=np.float64)


def match_one(
    true: FloatArray, ignore: BoolArray, difficult: BoolArray, found: FloatArray, threshold: float
) -> tuple[IntArray, BoolArray]:
    """Match the boxes of one class in one image.

    Args:
        true: ``(G, 4)`` xyxy.
        ignore: ``(G,)`` neither to be found nor to be missed.
        difficult: ``(G,)`` of these, those that are VOC's difficult and no crowd.
        found: ``(D, 4)`` xyxy, best score first.
        threshold: least IoU of a hit.

    Returns:
        ``(D,)`` number of the true box that each takes, -1 = none that counts, and ``(D,)`` whether it counts neither
        way.
    """
    if not len(true) or not len(found):
        return np.full(len(found), -1, dtype=np.intp), np.zeros(len(found), dtype=bool)
    crowd = ignore & ~difficult
    overlaps = _overlaps(xywh(found), xywh(true), crowd)
    taken, spared = _match_image(overlaps, crowd, difficult, ignore[None], np.array([min(threshold, 1 - 1e-10)]))
    return taken[0, 0], spared[0, 0]


def _match_image(
    overlaps: FloatArray, crowd: BoolArray, difficult: BoolArray, passed_over: BoolArray, limits: FloatArray
) -> tuple[IntArray, BoolArray]:
    """Match one image and class, for all ranges and thresholds at once.

    Args:
        overlaps: ``(D, G)``, best score first.
        crowd: ``(G,)`` may be hit any number of times.
        difficult: ``(G,)`` ignored by VOC's rule.
        passed_over: ``(A, G)`` does not count.
        limits: ``(T,)`` least IoU.

    Returns:
        ``(A, T, D)`` number of the true box that counts and was taken, -1 = none, and whether one was that does not.
    """
    shape = (len(passed_over), len(limits), len(overlaps))
    hit: IntArray = np.full(shape, -1, dtype=np.intp)
    best = np.where(crowd, -1.0, overlaps).argmax(axis=1)  # of equal overlaps VOC takes the first row
    forgiven = difficult[best] & (overlaps[np.arange(len(best)), best] >= limits[:, None])
    spared: BoolArray = np.broadcast_to(forgiven, shape).copy()
    overlaps = np.where(difficult, -1.0, overlaps)
    free = np.ones((len(passed_over), len(limits), len(crowd)), dtype=bool)
    lowest = limits.min()
    for number in np.flatnonzero(overlaps.max(axis=1) >= lowest):
        near = np.flatnonzero(overlaps[number] >= lowest)[::-1]  # of equal overlaps COCO takes the later row
        overlap = overlaps[number, near]
        possible = (overlap >= limits[:, None]) & (free[:, :, near] | crowd[near]) & ~forgiven[:, number, None]
        counting = possible & ~passed_over[:, None, near]
        counts = counting.any(axis=2)
        possible = np.where(counts[:, :, None], counting, possible)
        taken = near[np.where(possible, overlap, -1.0).argmax(axis=2)]
        any_taken = possible.any(axis=2)
        hit[:, :, number] = np.where(counts, taken, -1)
        spared[:, :, number] |= any_taken & ~counts
        area, threshold = np.nonzero(any_taken)
        free[area, threshold, taken[area, threshold]] = False
    return hit, spared
