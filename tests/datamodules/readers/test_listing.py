"""Which files of a folder count: one rule for training, prediction and checks; and what lies there that is no scan."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.cases.no_scans import NO_IMAGE
from datamodules.checks.units import loose_files
from datamodules.classification.image_folder import ImageFolder
from datamodules.detection.coco import Coco
from datamodules.detection.voc import Voc
from datamodules.detection.yolo import Yolo
from datamodules.inputs import InputFiles
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volume_pairs import folder_pairs
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import pictures, truth_of, write_coco, write_voc, write_yolo
from tests.datamodules.dicom_on_disk import blob, write, write_series
from tests.datamodules.scans_on_disk import write_scans
from tests.datamodules.seg_on_disk import write_seg
from tests.datamodules.volumes_on_disk import write_nifti

CLUTTER = ("__MACOSX", ".ipynb_checkpoints", ".hidden")


def with_clutter(folder: Path) -> None:
    """Copies of everything where Jupyter, macOS and others leave them."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    for file in files:
        shutil.copy(file, file.with_name(f"._{file.name}"))
        for name in CLUTTER:
            (file.parent / name).mkdir(exist_ok=True)
            shutil.copy(file, file.parent / name / file.name)


def predicted(folder: Path, **how: bool) -> list[str]:
    return InputFiles().table([str(folder)], **how).cases["case_id"].tolist()


def test_prediction_training_and_check_pass_over_the_same_clutter(tmp_path: Path) -> None:
    write_scans(tmp_path, ["cat/1.png", "cat/2.png", "dog/3.png"])
    with_clutter(tmp_path)
    names = ["cat/1", "cat/2", "dog/3"]
    assert predicted(tmp_path) == names
    assert ImageFolder(str(tmp_path)).build_table().cases["case_id"].tolist() == names
    assert loose_files(tmp_path) == [f"{name}.png" for name in names]


@pytest.mark.parametrize(("make", "write"), [(Coco, write_coco), (Voc, write_voc), (Yolo, write_yolo)])
def test_clutter_beside_annotations(
    make: Callable[..., Any], write: Callable[[Path, Sequence[Any]], Path], tmp_path: Path
) -> None:
    for name in ("plain", "cluttered"):
        write(tmp_path / name, pictures())
    with_clutter(tmp_path / "cluttered")
    plain, cluttered = (
        truth_of(make(str(tmp_path / name), cache_dir=str(tmp_path / "cache"))) for name in ("plain", "cluttered")
    )
    assert plain.equals(cluttered)


def test_clutter_beside_masks_and_volumes(tmp_path: Path) -> None:
    write_scans(tmp_path / "flat", ["images/1.png", "images/2.png", "masks/1.png", "masks/2.png"])
    for name in ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz"):
        write_nifti(tmp_path / "volumes" / name, np.zeros((4, 4, 3), np.uint8))
    with_clutter(tmp_path)
    data = MaskFolder(str(tmp_path / "flat"), mask_kind="instances")
    assert data.build_table().cases["path"].tolist() == ["images/1.png", "images/2.png"]
    assert folder_pairs(tmp_path / "volumes", "imagesTr", "labelsTr", ())["case_id"].tolist() == ["a"]
    assert predicted(tmp_path / "volumes" / "imagesTr", volumes=True) == ["a"]


def test_predict_passes_over_dicom_that_is_no_scan(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", blob((3, 12, 10)))
    seg = write_seg(tmp_path / "a" / "AA_first.dcm", files, np.ones((3, 12, 10), np.uint8), {1: "liver"})
    alone = write_seg(tmp_path / "b" / "seg.dcm", files, np.ones((3, 12, 10), np.uint8), {1: "liver"})
    inputs = InputFiles()
    flat = inputs.table([str(tmp_path)])
    assert sorted(flat.cases["path"]) == sorted(map(str, files))
    assert sorted(inputs.passed_over) == [(str(seg), NO_IMAGE), (str(alone), NO_IMAGE)]
    inputs = InputFiles()
    assert inputs.table([str(tmp_path)], volumes=True).cases["path"].tolist() == [str(tmp_path / "a")]
    assert [path for path, _ in inputs.passed_over] == [str(tmp_path / "b")]
    with pytest.raises(SuiteError, match=r"no images found \(1 passed over: DICOM, but no image"):
        InputFiles().table([str(seg)])


def test_a_localiser_that_comes_first_does_not_hide_the_series(tmp_path: Path) -> None:
    write_series(tmp_path, blob((3, 12, 10)))
    write(tmp_path / "A_scout", np.zeros((8, 8), np.int16), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert predicted(tmp_path, volumes=True) == [tmp_path.name]


def bids(root: Path, names: Sequence[str]) -> None:
    for name in names:
        write_nifti(root / name, np.zeros((4, 4, 3), np.uint8))


def test_predict_passes_over_masks_and_derivatives_of_bids(tmp_path: Path) -> None:
    raw = ["sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz"]
    others = [
        "sub-01/anat/sub-01_dseg.nii.gz", "sub-02/anat/sub-02_desc-brain_mask.nii.gz", "sourcedata/x/scan.nii.gz",
        "derivatives/fmriprep/sub-01_T1w.nii.gz", "derivatives/fmriprep/sub-01_label-GM_probseg.nii.gz",
    ]  # fmt: skip
    bids(tmp_path, [*raw, *others])
    (tmp_path / "dataset_description.json").write_text("{}")
    inputs = InputFiles()
    found = inputs.table([str(tmp_path)], volumes=True).cases["path"].tolist()
    assert found == [str(tmp_path / name) for name in raw]
    assert sorted(path for path, _ in inputs.passed_over) == sorted(str(tmp_path / name) for name in others)
    # Named itself, a folder of derivatives is what the user wants.
    assert predicted(tmp_path / "derivatives" / "fmriprep", volumes=True) == ["sub-01_T1w"]


def test_what_only_sounds_like_bids_is_predicted(tmp_path: Path) -> None:
    names = ["derivatives/a.nii.gz", "patient1_mask.nii.gz", "mask.nii.gz", "sourcedata/b.nii.gz"]
    bids(tmp_path, names)
    inputs = InputFiles()
    assert len(inputs.table([str(tmp_path)], volumes=True)) == len(names)
    assert inputs.passed_over == []
