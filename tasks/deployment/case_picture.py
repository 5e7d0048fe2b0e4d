"""The picture of one case, as a file that bears its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scansuite.files import replacing, safe_path


def write_case_picture(folder: Path, case_id: str, picture: NDArray[np.uint8]) -> Path:
    """Write a picture as ``<case id>.png``.

    Args:
        folder: where to; made if need be.
        case_id: names the file; ``/`` in it separates folders.
        picture: (H, W, 3) RGB.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    from PIL import Image

    file = folder / safe_path(case_id)
    file = file.with_name(file.name + ".png")
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, durable=False) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return file
