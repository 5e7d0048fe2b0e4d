"""Nobody's name in what is written: DICOM objects bear their source's patient, and no other output bears any."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from datamodules.input_cases import InputCases
from tasks.cli.dicom import finish_dicom, send_exported
from tasks.exported.packing import write_package
from tasks.exported.predict import FileRun
from tests.datamodules.dicom_on_disk import write
from tests.tasks.cli.conftest import Run
from tests.tasks.explain.models import classifier as explained
from tests.tasks.exported.by_torch import TorchRunnable
from tests.tasks.exported.test_predict import classifier, detector, segmenter
from tests.tasks.exported.tiny_model import write_tiny
from tests.tasks.serving.models import SEGMENTER, write_model
from tests.tasks.serving.running import running

PATIENT = {"PatientName": "Secret^Patient", "PatientID": "ID12345", "AccessionNumber": "ACC98765"}
MORE = {"PatientComments": "Secret"}  # of the patient too
_WORDS = (b"secret", b"patient^", b"^patient", b"id12345", b"acc98765")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")


def unpacked(content: bytes, depth: int = 4) -> Iterator[bytes]:
    """What a file holds, and what is packed in it: zip members, zlib and gzip streams (PNG, PDF, NIfTI), base64."""
    yield content
    if depth == 0:
        return
    inside: list[bytes] = []
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside += [archive.read(name) for name in archive.namelist()]
    if content[:2] == b"\x1f\x8b":
        inside.append(zlib.decompressobj(31).decompress(content))
    if content[:4] == b"\x89PNG":
        place = 8
        while place < len(content):
            length, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
            if kind in (b"zTXt", b"iTXt", b"iCCP"):
                inside += streams(content[place + 8 : place + 8 + length])
            place += 12 + length
    if b"%PDF" in content:
        inside += streams(content)
    for text in _BASE64.findall(content) if content[:1] in b"{[<" else ():
        with suppress(ValueError):
            inside.append(base64.b64decode(text))
    for one in inside:
        yield from unpacked(one, depth - 1)


def streams(content: bytes) -> list[bytes]:
    """All zlib streams somewhere in bytes."""
    found = []
    for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", content):
        with suppress(zlib.error):
            found.append(zlib.decompressobj().decompress(content[start.start() :]))
    return found


def names_nobody(content: bytes) -> bool:
    return not any(word in part.lower().replace(b"\0", b"") for part in unpacked(content) for word in _WORDS)


def check(folder: Path) -> set[str]:
    """Look at each file of a folder; the suffixes that there were."""
    suffixes = set()
    for file in (path for path in folder.rglob("*") if path.is_file()):
        assert names_nobody(str(file.relative_to(folder)).encode()), file
        suffixes.add(file.suffix)
        if file.suffix == ".dcm":
            check_object(pydicom.dcmread(file))
        else:
            assert names_nobody(file.read_bytes()), file
    return suffixes


def check_object(made: pydicom.Dataset) -> None:
    """An object bears the patient of the source, where the source does, and nowhere else."""
    assert set(PATIENT) <= set(made.dir())
    for keyword, value in {**PATIENT, **MORE}.items():
        if keyword in made:
            assert str(made[keyword].value) == value, made.Modality
            del made[keyword]
    rest = io.BytesIO()
    made.save_as(rest)
    assert names_nobody(rest.getvalue()), [
        one.keyword for one in made.iterall() if not names_nobody(str(one.value).encode())
    ]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    pixels = np.random.default_rng(0).integers(0, 4096, (48, 40), dtype=np.uint16)
    write(
        folder / "scan.dcm", pixels, Modality="CR", SOPClassUID="1.2.840.10008.5.1.4.1.1.1",
        FrameOfReferenceUID=None, **PATIENT, **MORE,
    )  # fmt: skip
    return folder


def test_the_search_finds_what_is_packed() -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info, picture = PngInfo(), io.BytesIO()
    info.add_text("name", "Secret^Patient", zip=True)
    Image.new("L", (4, 4)).save(picture, "PNG", pnginfo=info)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"x" * 100 + b"ID12345")
    told = json.dumps({"base64": base64.b64encode(b"ACC98765" * 20).decode()}).encode()
    for content in (picture.getvalue(), packed.getvalue(), told, "Secret".encode("utf-16")):
        assert not names_nobody(content)


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        pytest.param(classifier, "sr sc pdf", id="classify"),
        pytest.param(segmenter, "seg sr sc gsps pdf", id="segment"),
        pytest.param(detector, "sr sc gsps pdf", id="detect"),
    ],
)
def test_predictions(scans: Path, tmp_path: Path, model: Any, kinds: str, caplog: pytest.LogCaptureFixture) -> None:
    runnable = TorchRunnable(model())
    options = {} if model is classifier else {"pictures": "true"}
    run = FileRun(runnable, InputCases(), tmp_path, options)
    table = run.table([str(scans)])
    flags = {"dicom": kinds.split(), "dicom_seg": "binary", "dicom_codes": None, "dicom_pdf": None}
    folder = send_exported(run, table, runnable.description, flags, tmp_path)
    result = run.predict(table)
    result.table.to_csv(tmp_path / "predictions.csv")
    assert finish_dicom(folder, tmp_path, True) == 0
    assert len(list(tmp_path.rglob("*.dcm"))) == len(kinds.split())
    assert check(tmp_path) >= {".dcm", ".csv"} | (set() if model is classifier else {".png", ".json"})
    assert names_nobody(caplog.text.encode())


def test_answers_and_lines_of_the_service(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    write_model(tmp_path / "models" / "tiny.onnx")
    write_model(tmp_path / "models" / "masks.onnx", SEGMENTER)
    file = scans / "scan.dcm"
    with running(tmp_path / "models") as service:
        answers = [service.predict(name, file) for name in ("tiny", "masks")]
        answers += [
            service.client.post(f"/v1/models/{name}/view", files=[("file", ("scan.dcm", file.read_bytes()))])
            for name in ("tiny", "masks")
        ]
        body = {
            "name": "file",
            "datatype": "BYTES",
            "shape": [1],
            "data": [base64.b64encode(file.read_bytes()).decode()],
        }
        answers.append(service.client.post("/v2/models/tiny/infer", json={"inputs": [body]}))
        cut = ("scan.dcm", file.read_bytes()[:-1000])
        broken = service.client.post("/v1/models/tiny/predict", files=[("file", cut)])
        answers.append(service.client.get("/metrics"))
    assert [one.status_code for one in answers] == [200] * 6
    assert broken.status_code == 422
    for one in (*answers, broken):
        assert names_nobody(one.content)
        assert names_nobody(str(one.headers).encode())
    assert names_nobody(service.log.read_bytes())


def test_a_package_with_a_scan_as_its_example(scans: Path, tmp_path: Path) -> None:
    write_package(tmp_path / "m.scansuite", write_tiny(tmp_path / "m.onnx"), example=scans / "scan.dcm")
    assert check(tmp_path) == {".scansuite", ".onnx"}


@pytest.mark.slow
def test_explanations_and_exports(run: Run, scans: Path, tmp_path: Path) -> None:
    from tests.tasks.cli.test_explain import facts, saved

    model = saved(explained(class_names=["healthy", "ill"], **facts()), tmp_path)
    status, out, err = run(
        "explain", "--ckpt_path", model, "--input", scans, "--output", "out", "--method", "gradcam", "occlusion",
        "--features", "conv1", "--filters", "conv1", "--kernel", "vertical",
    )  # fmt: skip
    assert status == 0, err
    assert names_nobody((out + err).encode())
    status, out, err = run("export", "--ckpt_path", model, "--input", scans, "--output", "out/m.onnx")
    assert status == 0, err
    assert names_nobody((out + err).encode())
    assert check(tmp_path / "out") >= {".html", ".png", ".csv", ".npy", ".onnx"}
