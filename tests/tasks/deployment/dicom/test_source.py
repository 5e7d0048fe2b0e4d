"""What a result can be of: DICOM with an identity, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scansuite.errors import SuiteError
from tasks.deployment.dicom.source import open_source, refuse_other
from tests.datamodules.dicom_on_disk import blob, write, write_enhanced, write_series

GREY = blob((1, 8, 6))[0]


def test_what_is_no_dicom_is_refused_with_the_reason(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    for name in ("a.png", "empty", "a.nii.gz"):
        (tmp_path / "a.nii.gz").touch()
        with pytest.raises(SuiteError, match="is no DICOM, so nothing says whose it is"):
            refuse_other(tmp_path / name)
    with pytest.raises(SuiteError, match="no such file or folder"):
        refuse_other(tmp_path / "none")


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_image_without_a_uid_cannot_be_referred_to(tmp_path: Path, keyword: str) -> None:
    file = write(tmp_path / "a.dcm", GREY, **{keyword: None})
    with pytest.raises(SuiteError, match=rf"a\.dcm: .*{keyword} .* is missing: no other object could refer to it"):
        open_source(file)


def test_images_of_several_studies_are_no_case(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.dcm", GREY), write(tmp_path / "b.dcm", GREY, StudyInstanceUID="1.2.9")
    with pytest.raises(SuiteError, match="several studies"):
        open_source([one, other])


def test_a_frame_that_is_not_there(tmp_path: Path) -> None:
    file = write_enhanced(tmp_path / "x.dcm", blob((3, 8, 6)))
    assert open_source(file, frame=2).planes[0].frame == 2
    with pytest.raises(SuiteError, match="has 3 frames, so there is no number 3"):
        open_source(file, frame=3)


def test_a_volume_of_several_files_with_frames_is_refused(tmp_path: Path) -> None:
    import pydicom

    whole = blob((4, 8, 6))
    for number in range(2):
        file = write_enhanced(tmp_path / "s" / f"{number}.dcm", whole[:2], SOPInstanceUID=f"1.2.{number + 3}")
        dataset = pydicom.dcmread(file)
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence[0].ImagePositionPatient[2] += 5 * number
        dataset.save_as(file)
    with pytest.raises(SuiteError, match="its frames lie in 2 files"):
        open_source(tmp_path / "s", volume=True)


def test_planes_are_in_the_order_of_the_grid(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", blob((5, 8, 6)))
    source = open_source(tmp_path / "s", volume=True)
    assert [source.paths[plane.image] for plane in source.planes] == files
    assert source.located
    volume = np.arange(5 * 8 * 6).reshape(6, 8, 5)
    planes = source.on_images(volume)
    assert planes.shape == (5, 8, 6)
    assert planes[2, 0, 3] == volume[3, 7, 2]  # rows of the grid run up
