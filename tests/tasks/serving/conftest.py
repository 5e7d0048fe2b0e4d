from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tasks.serving.models import SEGMENTER, write_model
from tests.tasks.serving.running import Running, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with two models in one worker, as a process of its own."""
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "tiny.onnx")
    write_model(folder / "masks.onnx", SEGMENTER)
    with running(folder, "--max_request", "8", "--max_unpacked", "16", "--max_members", "20") as found:
        yield found


@pytest.fixture
def png(tmp_path: Path) -> Path:
    """A grey picture of 48 x 40 pixels, bright in its middle."""
    import numpy as np
    from PIL import Image

    values = np.zeros((40, 48), np.uint8)
    values[10:30, 12:36] = 220
    file = tmp_path / "Müller_Anna.png"
    Image.fromarray(values).save(file)
    return file
