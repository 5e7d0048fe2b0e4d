"""Folds: several trainings on other parts of the data, which predict together."""

from __future__ import annotations

from tasks.planning.draft import Draft

BEST_FOLDS = 5
_ISENSEE = "Isensee et al., nnU-Net, Nature Methods 2021"


def folds(draft: Draft) -> None:
    """With ``--quality best``: each fold a training, all of them an ensemble."""
    if draft.value("data.test_fraction") == 0 and draft.value("judge_test") is False:
        return  # folds would be evaluated as test parts, which nobody is to look at
    if draft.budget.quality == "best":
        why = f"--quality best: {BEST_FOLDS} networks, each trained on other cases, predict together as an ensemble"
        draft.plan("folds", BEST_FOLDS, f"{why}, and every case of train and validation is predicted by one", _ISENSEE)
