"""Windows beside what else would be the channels of a slice."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.classification.image_table import ImageTable
from datamodules.segmentation.volumes import Volumes
from scansuite.errors import SuiteError


@pytest.mark.parametrize("made", [Volumes, ImageTable])
def test_neighbouring_slices_and_several_windows_are_not_both_channels(
    made: type[Volumes] | type[ImageTable], tmp_path: Path
) -> None:
    windows: tuple[list[str] | str, ...] = ("brain,bone", ["brain", "40:400"])
    for window in windows:
        with pytest.raises(SuiteError, match=r"--data\.neighbors 1: several windows"):
            made(str(tmp_path), window=window, neighbors=1)
    for one in (None, "brain", "40,400"):  # the last one is a centre and a width
        made(str(tmp_path), window=one, neighbors=1)
