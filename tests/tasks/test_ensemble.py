"""What an ensemble says is the mean of what its members say, and unlike members are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from datamodules.types import ScanInfo
from scansuite.errors import SuiteError
from tasks.classify.ensemble import ClassificationEnsemble
from tasks.classify.task import ClassificationTask
from tasks.ensemble import mean_points, refuse_unlike
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.maps import LogitMap
from tasks.evaluation.segmentation.cleanup import CleanUp
from tasks.segment.ensemble import most_agreed

NAMES = ["a", "b", "c"]


def member(target: Any, seed: int, **more: Any) -> ClassificationTask:
    torch.manual_seed(seed)
    names = ["number"] if target == "regression" else NAMES
    facts: dict[str, Any] = {"class_names": names, "num_classes": len(names), "in_channels": 1}
    return ClassificationTask("test_resnet", target=target, **facts, **more).eval()


def batch(count: int, padding: int = 0) -> Any:
    scans = [ScanInfo(case_id=str(number), path="x", patient_id=None) for number in range(count)]
    for scan in scans[count - padding :]:
        scan["padding"] = True
    return {"image": torch.rand(count, 1, 32, 32), "label": torch.zeros(count), "scan": scans}


@pytest.mark.parametrize("target", ["multiclass", "multilabel", "ordinal", "regression"])
def test_scores_are_averaged_not_logits(target: str) -> None:
    members = [member(target, seed) for seed in range(3)]
    images = batch(5)
    with torch.no_grad():
        own = [one.scores(one(images["image"])) for one in members]
        said = ClassificationEnsemble(members, NAMES).predict_step(images, 0)["output"]
    torch.testing.assert_close(said, torch.stack(own).mean(dim=0), atol=1e-6, rtol=0)
    assert not torch.allclose(own[0], own[1], atol=1e-4)


def test_padding_is_left_out() -> None:
    ensemble = ClassificationEnsemble([member("multiclass", 0), member("multiclass", 1)], NAMES[:2])
    said = ensemble.test_step(batch(4, padding=1), 0)
    assert len(said["output"]) == len(said["batch"]["scan"]) == len(said["batch"]["label"]) == 3


def test_attention_weights_are_averaged() -> None:
    members = [member("multiclass", seed, aggregate="attention", attention_hidden=4) for seed in range(2)]
    cases = batch(2) | {"image": torch.rand(5, 1, 32, 32), "bags": [[0, 1], [0, 1, 2]]}
    with torch.no_grad():
        own = [one.predict_step(cases, 0)["weights"] for one in members]
        said = ClassificationEnsemble(members, NAMES[:2]).predict_step(cases, 0)
    assert said["weights"] is not None
    torch.testing.assert_close(said["weights"], torch.stack([one for one in own if one is not None]).mean(dim=0))
    torch.testing.assert_close(said["weights"][2:].sum(), torch.tensor(1.0))
    assert said["output"].shape == (2, 3)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"class_names": ["a", "b", "d"]}, "classes (a, b, c and a, b, d)"),
        ({"target": "multilabel"}, "kind of target (multiclass and multilabel)"),
        ({"preprocess": {"size": [32, 32], "channels": 1}}, "image size (None and 32, 32)"),
        ({"aggregate": "mean"}, "--model.aggregate"),
        ({"bag_limit": 8}, "--data.bag_limit"),
    ],
)
def test_unlike_members_are_refused_by_name(more: dict[str, Any], said: str) -> None:
    flags: dict[str, Any] = {"target": "multiclass", "class_names": NAMES, "num_classes": 3, "in_channels": 1}
    same: dict[str, Any] = {}
    members = [ClassificationTask("test_resnet", **(flags | one)) for one in (same, same, more)]
    with pytest.raises(SuiteError) as error:
        ClassificationEnsemble(members, ["one.ckpt", "two.ckpt", "three.ckpt"])
    for part in ("one.ckpt and three.ckpt", said):
        assert part in str(error.value)


def test_lists_and_tuples_are_alike() -> None:
    refuse_unlike([{"size": (8, 8)}, {"size": [8, 8]}], ["a", "b"])


def test_operating_points_of_members() -> None:
    assert mean_points([{"ill": 0.25, "a": 0.5}, {"ill": 0.75}]) == {"ill": 0.5, "a": 0.5}


def test_calibrations_of_members_are_averaged_until_there_is_one_of_their_own() -> None:
    members = [member("multilabel", seed, calibration="platt") for seed in range(2)]
    own = Calibration("platt", tuple(NAMES), False, {"b": LogitMap(2.0, 2.0, -1.0)})
    members[0].calibration = own
    ensemble = ClassificationEnsemble(members, NAMES[:2])
    assert ensemble.calibration_method == "platt"
    assert ensemble.calibration is not None
    score = torch.rand(4, 3, dtype=torch.float64).numpy()
    assert (ensemble.calibration.apply(score) == (own.apply(score) + score) / 2).all()
    ensemble.calibration = own
    kept = ensemble.chosen()
    ensemble.adopt(kept)
    assert ensemble.calibration == own
    ensemble.adopt({"operating_points": {}})  # a record of scores that could not be calibrated
    assert "calibration" not in ensemble.chosen()


def test_clean_up_of_most_members() -> None:
    members = [CleanUp(("organ",), {"organ": 8.0}), CleanUp(("organ",)), CleanUp((), {"organ": 2.0, "core": 4.0})]
    assert most_agreed(members, ["background", "organ", "core"]) == CleanUp(("organ",), {"organ": 2.0})
    assert most_agreed([CleanUp(("organ",)), CleanUp()], ["background", "organ"]) == CleanUp()
