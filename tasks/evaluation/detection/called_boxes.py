"""Found boxes that are calls. Of tables alone, for whoever predicts and whoever evaluates."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

UNCHOSEN_SCORE = 0.5  # operating point of a class that has none


def called(predictions: pd.DataFrame, points: Mapping[str, float]) -> pd.DataFrame:
    """The boxes that are calls: from their class's operating point on, or from 0.5 where it has none."""
    return predictions[
        predictions["score"] >= predictions["label"].map(points).astype("float64").fillna(UNCHOSEN_SCORE)
    ]
