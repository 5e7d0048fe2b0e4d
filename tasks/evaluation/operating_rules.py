"""Rules by which an operating point is chosen: from counts at every threshold to the one that is taken."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

FloatArray: TypeAlias = NDArray[np.float64]

_AT_LEAST = ("sensitivity", "specificity", "precision")
_FALSE_POSITIVES = "fp"
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
# By what is called.
_RULES = {
    "cases": ("youden", "f1", "sensitivity>=0.95", "specificity>=0.9", "precision>=0.8", "cost 1:10"),
    "boxes": ("f1", "sensitivity>=0.95", "precision>=0.8", "fp<=1", "cost 1:10"),
}


@dataclass(frozen=True)
class Candidates:
    """Thresholds and what calls at each of them are, over all cases (in detection: boxes).

    Attributes:
        thresholds: (m,) in any order.
        tp: (m,) calls that are right.
        fp: (m,) calls that are wrong.
        positives: cases with the finding; in detection true boxes.
        negatives: cases without it; None in detection, where nothing is a box that is rightly not called.
        images: among which false positives are counted.
    """

    thresholds: FloatArray
    tp: FloatArray
    fp: FloatArray
    positives: float
    negatives: float | None
    images: float

    @property
    def sensitivity(self) -> FloatArray:
        """Of those with the finding the share that is called; without any 0."""
        return self.tp / self.positives if self.positives else np.zeros_like(self.tp)

    @property
    def specificity(self) -> FloatArray:
        """Of those without it the share that is not called; without any 1."""
        assert self.negatives is not None  # rules that need it are refused for boxes
        return 1 - self.fp / self.negatives if self.negatives else np.ones_like(self.fp)

    @property
    def precision(self) -> FloatArray:
        """Of the calls the share that is right; without calls 0: nothing promises nothing."""
        calls = self.tp + self.fp
        return np.divide(self.tp, calls, out=np.zeros_like(self.tp), where=calls > 0)


@dataclass(frozen=True)
class OperatingRule:
    """Which threshold is taken.

    =====================  ===========================================================================================
    ``youden``             largest sensitivity + specificity - 1 (W. J. Youden, Cancer 3:32-35, 1950)
    ``f1``                 largest F1 = 2 tp / (2 tp + fp + fn)
    ``sensitivity>=0.95``  at least this sensitivity, and of those with it the largest specificity (boxes: precision)
    ``specificity>=0.9``   at least this specificity, and of those with it the largest sensitivity
    ``precision>=0.8``     at least this precision, and of those with it the largest sensitivity
    ``fp<=1``              at most so many false boxes an image in the mean, and of those the largest sensitivity
    ``cost 1:10``          least cost: what a false call costs : what a missed finding costs
    =====================  ===========================================================================================

    What is promised holds on the cases that it is chosen on, which is validation. Of equally good thresholds the
    nearest to 0.5 is taken.

    Attributes:
        text: as given.
        kind: name in front of the number.
        bound: the number; of a cost what a missed finding costs where a false call costs 1.
    """

    text: str
    kind: str
    bound: float = math.nan

    @property
    def promises(self) -> bool:
        """Whether it says what a figure will at least (``fp``: at most) be."""
        return self.kind in (*_AT_LEAST, _FALSE_POSITIVES)

    def choose(self, candidates: Candidates, name: str = "", *, quiet: bool = False) -> float:
        """The threshold; NaN where there is none to choose from.

        Args:
            candidates: see there.
            name: of the class, for what is said where a promise cannot be kept.
            quiet: say nothing of it.
        """
        if not len(candidates.thresholds):
            return math.nan
        kept, best, then = self._kept_and_best(candidates)
        if not kept.any():
            reached = getattr(candidates, self.kind)
            kept, best, then = np.ones_like(kept), reached, -candidates.fp
            if not quiet:
                log.warning(
                    "operating point%s: %s is reached at no threshold on validation; the one nearest to it is taken "
                    "(%.3g)",
                    f" of {name}" if name else "",
                    self.text,
                    reached.max(),
                )
        for worth in (best, then):
            kept = kept & (worth >= worth[kept].max())
        found = candidates.thresholds[kept]
        return float(found[np.argmin(np.abs(found - 0.5))])

    def _kept_and_best(self, of: Candidates) -> tuple[NDArray[np.bool_], FloatArray, FloatArray]:
        """Which thresholds keep what is promised, what is largest at the best of them, and then what.

        In whole numbers wherever that can be, so that ties are ties.
        """
        every, nothing = np.ones(len(of.thresholds), dtype=bool), np.zeros(len(of.thresholds))
        if self.kind == "youden":
            assert of.negatives is not None
            return every, of.tp * of.negatives - of.fp * of.positives, nothing
        if self.kind == "f1":
            called = of.tp + of.fp + of.positives
            return every, np.divide(2 * of.tp, called, out=np.zeros_like(of.tp), where=called > 0), nothing
        if self.kind == "cost":
            return every, -(of.fp + self.bound * (of.positives - of.tp)), nothing
        if self.kind == _FALSE_POSITIVES:
            return of.fp <= self.bound * of.images, of.tp, -of.fp
        kept = getattr(of, self.kind) >= self.bound - 1e-12  # 0.95 of 20 is 19
        if self.kind != "sensitivity":
            return kept, of.tp, -of.fp
        return kept, of.precision if of.negatives is None else -of.fp, of.tp


YOUDEN, F1 = OperatingRule("youden", "youden"), OperatingRule("f1", "f1")


def case_candidates(levels: FloatArray, tp: FloatArray, fp: FloatArray, rule: OperatingRule) -> Candidates:
    """Thresholds that a rule may take over cases: the midpoints between neighbouring scores.

    Where the rule may want them, also 0, which calls every case, and a threshold above the highest score, which calls
    none.

    Args:
        levels: ``(L,)`` distinct scores, ascending; one or more.
        tp: ``(L,)`` cases with the finding at and above each.
        fp: ``(L,)`` cases without it.
        rule: that chooses.
    """
    midpoints = between(levels[:-1], levels[1:])
    positives, negatives = float(tp[0]), float(fp[0])
    if rule is YOUDEN:  # its index is 0 where all or none are called: nothing is told apart
        thresholds, tp, fp = midpoints, tp[1:], fp[1:]
    else:
        none = np.nextafter(max(1.0, levels[-1]), np.inf)
        thresholds, tp, fp = np.array([0.0, *midpoints, none]), np.append(tp, 0), np.append(fp, 0)
    return Candidates(thresholds, tp, fp, positives, negatives, positives + negatives)


def box_candidates(
    levels: FloatArray, tp: FloatArray, fp: FloatArray, truth: float, images: float, rule: OperatingRule
) -> Candidates:
    """Thresholds that a rule may take over boxes: midpoints between neighbouring scores and half the lowest.

    Where the rule may want it, also a score that no box has.

    Args:
        levels: ``(L,)`` distinct scores, descending; one or more.
        tp: ``(L,)`` boxes at and above each that hit.
        fp: ``(L,)`` other boxes.
        truth: true boxes.
        images: among which false boxes are counted.
        rule: that chooses.
    """
    thresholds = between(np.append(levels[1:], 0.0), levels)
    if rule is not F1:  # which calling nothing never is best by
        none = np.nextafter(max(1.0, levels[0]), np.inf)
        thresholds, tp, fp = np.append(none, thresholds), np.append(0.0, tp), np.append(0.0, fp)
    return Candidates(thresholds, tp, fp, truth, None, images)


def between(lower: FloatArray, higher: FloatArray) -> FloatArray:
    """Thresholds that part scores: above the lower and at most the higher one.

    They are midpoints, so that rounding a score on its way through a table of fewer digits cannot move it to the other
    side; near 1 two scores may have no number between them, and the midpoint would round to the lower.
    """
    middle = (lower + higher) / 2
    return np.where(middle > lower, middle, higher)


def read_rule(text: object, called: Literal["cases", "boxes"], flag: str = "--model.operating_point") -> OperatingRule:
    """The rule that a text names.

    Args:
        text: one of those of :class:`OperatingRule`; spaces do not matter.
        called: from the threshold on.
        flag: by which it was given.

    Raises:
        SuiteError: it is none, or none for these.
    """
    plain = re.sub(r"\s+", "", str(text)).lower()
    flag = f"{flag} {text}"
    if plain in (YOUDEN.kind, F1.kind):
        rule = YOUDEN if plain == YOUDEN.kind else F1
    elif found := re.fullmatch(rf"({'|'.join(_AT_LEAST)})(?:>=|≥){_NUMBER}", plain):
        rule = OperatingRule(f"{found[1]}>={found[2]}", found[1], float(found[2]))
        if not 0 < rule.bound <= 1:
            raise SuiteError(f"{flag}: {rule.kind} is a share: give a number above 0 and at most 1")
    elif found := re.fullmatch(rf"fp(?:<=|≤){_NUMBER}", plain):
        rule = OperatingRule(f"fp<={found[1]}", _FALSE_POSITIVES, float(found[1]))
    elif found := re.fullmatch(rf"cost:?{_NUMBER}:{_NUMBER}", plain):
        if not float(found[1]) or not float(found[2]):
            raise SuiteError(f"{flag}: both costs are above 0: a false call : a missed finding")
        rule = OperatingRule(f"cost {found[1]}:{found[2]}", "cost", float(found[2]) / float(found[1]))
    else:
        raise SuiteError(f"{flag}: is no rule; rules are, with numbers of your own: {_known(called)}")
    if rule.kind not in {_kind(known) for known in _RULES[called]}:
        why = "boxes have no specificity" if called == "boxes" else "cases are called, not boxes"
        raise SuiteError(f"{flag}: {why}; rules of {called} are, with numbers of your own: {_known(called)}")
    return rule


def _kind(known: str) -> str:
    return re.split(r"[>< ]", known, maxsplit=1)[0]


def _known(called: str) -> str:
    return ", ".join(_RULES[called])
