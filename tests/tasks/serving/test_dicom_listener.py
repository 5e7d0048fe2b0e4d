"""DICOM over the network, with DCMTK's own tools on the other side."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datamodules.preprocess import Preprocess
from scansuite.errors import SuiteError
from tasks.serving.dicom_settings import DicomSettings, Peer, read_peers
from tasks.serving.settings import ServeSettings
from tests.tasks.serving.models import SEGMENTER, write_model
from tests.tasks.serving.running import Running, running

TOOLS = ("storescu", "storescp", "echoscu")


def test_peers() -> None:
    assert read_peers(["pacs.local:104:ARCHIVE", "[::1]:11112:B"]) == (
        Peer("pacs.local", 104, "ARCHIVE"),
        Peer("::1", 11112, "B"),
    )
    for text in ("pacs", "pacs:104", "pacs:port:A", "pacs:0:A", "pacs:104:", "pacs:104:WAY_TOO_LONG_A_TITLE"):
        with pytest.raises(SuiteError, match="--send"):
            read_peers([text])


def test_settings_that_are_none() -> None:
    with pytest.raises(SuiteError, match="--ae_title"):
        DicomSettings(104, title="a\\b")
    with pytest.raises(SuiteError, match="--accept"):
        ServeSettings(host="0.0.0.0", token="correct horse", dicom=DicomSettings(104))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """DCMTK's storescp: the folder that it writes to, and its port."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: apt-get install dcmtk)")
    folder, port = tmp_path_factory.mktemp("archive"), free_port()
    process = subprocess.Popen(["storescp", "--aetitle", "ARCHIVE", "-od", str(folder), "+uf", str(port)])
    yield folder, port
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory, archive: tuple[Path, int]) -> Iterator[tuple[Running, int]]:
    pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom-out)")
    model = tmp_path_factory.mktemp("model") / "masks.onnx"
    write_model(model, replace(SEGMENTER, preprocess=Preprocess(channels=1, percentiles=(0.0, 100.0))))
    port = free_port()
    words = ["--dicom_port", str(port), "--ae_title", "MODEL", "--accept", "SCANNER", "--dicom_wait", "0.4"]
    with running(model, *words, "--send", f"127.0.0.1:{archive[1]}:ARCHIVE", "--max_request", "4") as service:
        yield service, port


def store(port: int, *files: Path, caller: str = "SCANNER", called: str = "MODEL") -> subprocess.CompletedProcess[str]:
    words = ["storescu", "-aet", caller, "-aec", called, "127.0.0.1", str(port), *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def scan(folder: Path) -> Path:
    import pydicom
    from pydicom.data import get_testdata_file

    file = get_testdata_file("CT_small.dcm")
    assert file is not None
    data = pydicom.dcmread(file)
    data.PatientName = "Muster^Erika"
    data.save_as(folder / "slice.dcm")
    return folder / "slice.dcm"


@pytest.mark.slow
def test_what_is_sent_is_predicted_and_sent_on(
    listening: tuple[Running, int], archive: tuple[Path, int], tmp_path: Path
) -> None:
    import pydicom

    service, port = listening
    echo = subprocess.run(
        ["echoscu", "-aet", "SCANNER", "-aec", "MODEL", "127.0.0.1", str(port)], capture_output=True, check=False
    )
    assert echo.returncode == 0
    source = scan(tmp_path)
    assert store(port, source).returncode == 0
    deadline = time.monotonic() + 40
    while len(list(archive[0].iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    made = {one.Modality: one for one in map(pydicom.dcmread, archive[0].iterdir())}
    assert set(made) == {"SEG", "SR"}
    sent = pydicom.dcmread(source)
    for one in made.values():
        assert one.PatientName == sent.PatientName
        assert one.StudyInstanceUID == sent.StudyInstanceUID
    assert made["SEG"].ReferencedSeriesSequence[0].SeriesInstanceUID == sent.SeriesInstanceUID
    while list(service.folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(service.folder.iterdir()) == []
    said = service.log.read_text()
    assert "sent to ARCHIVE" in said
    assert "Erika" not in said
    assert str(sent.StudyInstanceUID) not in said


@pytest.mark.slow
def test_callers_that_are_not_known_are_refused(listening: tuple[Running, int], tmp_path: Path) -> None:
    _, port = listening
    source = scan(tmp_path)
    assert store(port, source, caller="STRANGER").returncode != 0
    assert store(port, source, called="OTHER").returncode != 0


@pytest.mark.slow
def test_an_image_that_is_too_large_ends_its_association_alone(listening: tuple[Running, int], tmp_path: Path) -> None:
    import numpy as np
    import pydicom

    service, port = listening
    data = pydicom.dcmread(scan(tmp_path))
    data.Rows = data.Columns = 2000
    data.PixelData = np.zeros((2000, 2000), np.uint16).tobytes()
    data.save_as(tmp_path / "large.dcm")
    assert store(port, tmp_path / "large.dcm").returncode != 0
    assert service.client.get("/v2/health/ready").json() == {"ready": True}
    assert "larger than the 4 MiB allowed" in service.log.read_text()
