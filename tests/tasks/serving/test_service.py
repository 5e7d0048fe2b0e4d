"""The service from outside: what is asked of it over HTTP, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tasks.serving.names import BODY
from tasks.serving.refused import RefusedError
from tests.tasks.serving.running import Running


def test_health_and_metadata_of_the_protocol(service: Running) -> None:
    ask = service.client.get
    assert ask("/v2/health/live").json() == {"live": True}
    assert ask("/v2/health/ready").json() == {"ready": True}
    assert ask("/v2").json()["name"] == "scansuite"
    assert ask("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}
    told = ask("/v2/models/tiny").json()
    assert told["platform"] == "onnxruntime_onnx"
    assert {"name": "image", "datatype": "FP32", "shape": [-1, 1, -1, -1]} in told["inputs"]
    assert {"name": "logits", "datatype": "FP32", "shape": [-1, 2]} in told["outputs"]
    assert ask("/v2/models/tiny/versions/1").json() == told
    assert {one["name"] for one in ask("/v1/models").json()["models"]} == {"tiny", "masks"}
    about = ask("/v1/models/tiny").json()
    assert about["operating_points"] == {"lesion <b>": 0.4}
    assert about["licence"] == "CC0-1.0"
    assert "profile" not in about


def test_tensors_give_what_the_graph_gives(service: Running) -> None:
    image = np.random.default_rng(0).random((2, 1, 8, 12), np.float32)
    tensor = {"name": "image", "shape": [2, 1, 8, 12], "datatype": "FP32", "data": image.tolist()}
    body = {"id": "7", "inputs": [tensor], "outputs": [{"name": "logits"}]}
    answer = service.client.post("/v2/models/tiny/infer", json=body).json()
    assert (answer["id"], answer["model_name"]) == ("7", "tiny")
    (logits,) = answer["outputs"]
    assert logits["shape"] == [2, 2]
    mean = 4 * image.mean(axis=(1, 2, 3)) - 2  # what the graph is made to give
    np.testing.assert_allclose(np.reshape(logits["data"], (2, 2)), np.stack([-mean, mean], 1), atol=1e-5)


def test_files_in_tensors_give_predictions(service: Running, png: Path) -> None:
    files = [base64.b64encode(png.read_bytes()).decode(), base64.b64encode(b"no image").decode(), "!"]
    body = {"inputs": [{"name": "file", "shape": [3], "datatype": "BYTES", "data": files}]}
    (output,) = service.client.post("/v2/models/tiny/infer", json=body).json()["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("predictions", "BYTES", [3])
    good, broken, no_base64 = map(json.loads, output["data"])
    assert good["predictions"][0]["prediction"] in ("healthy", "lesion <b>")
    assert "/" not in broken["error"]
    assert "base64" in no_base64["error"]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"{", "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"inputs": []}', "one tensor"),
        (b'{"inputs": [{"name": "x"}]}', "no input 'x'"),
        (b'{"inputs": [{"name": "image", "datatype": "INT8"}]}', "FP32"),
        (b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 2, 2]}]}', "[B, 1, H, W]"),
        (b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 2, 2], "data": [1]}]}', "1 numbers"),
        (b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 1, 1], "data": [9]}]}', "[0, 1]"),
        (b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 1, 1], "data": ["a"]}]}', "numbers"),
        (
            b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 1, 1], "data": [1]}], '
            b'"outputs": [{"name": "logit"}]}',
            "did you mean 'logits'?",
        ),
        (b'{"inputs": [{"name": "image", "datatype": "\\ud800"}]}', "FP32"),
        (b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 1, 1' + b"0" * 4200 + b"]}]}", "[B, 1"),
        (
            b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 1, 1], "data": [1]}], "outputs": [3]}',
            "'outputs' must be",
        ),
    ],
)
def test_requests_that_are_not_of_the_protocol(service: Running, body: bytes, line: str) -> None:
    answer = service.client.post("/v2/models/tiny/infer", content=body)
    assert answer.status_code == 400
    assert line in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_request_may_bear_any_id_and_not_any_number_of_numbers(service: Running) -> None:
    image = '{"name": "image", "datatype": "FP32", "shape": [1, 1, 1, 1], "data": [1]}'
    body = f'{{"id": "\\ud800", "inputs": [{image}]}}'
    assert service.client.post("/v2/models/tiny/infer", content=body).json()["id"] == "?"


def test_a_body_of_too_many_numbers_is_not_made_objects_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.serving import tensors

    monkeypatch.setattr(tensors, "_MOST_ITEMS", 3)
    (tmp_path / BODY).write_text("[[],[]")
    with pytest.raises(RefusedError, match="more than the 3 numbers"):
        tensors.infer(None, "m", tmp_path, None)  # type: ignore[arg-type]


def test_an_upload_gives_rows(service: Running, png: Path) -> None:
    answer = service.predict("tiny", png).json()
    (row,) = answer["predictions"]
    assert (row["case_id"], row["path"]) == (png.stem, png.name)
    assert row["score_healthy"] + row["score_lesion <b>"] == pytest.approx(1)
    assert answer["notice"]
    raw = service.client.post(
        "/v1/models/tiny/predict", content=png.read_bytes(), headers={"Content-Type": "image/png"}
    )
    assert raw.json()["predictions"][0]["score_healthy"] == row["score_healthy"]


def test_an_upload_gives_masks(service: Running, png: Path) -> None:
    from PIL import Image

    (case,) = service.predict("masks", png).json()["cases"]
    (mask,) = case["masks"]
    values = np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["base64"]))))
    assert values.shape == (40, 48)
    assert case["mask_values"] == {"background": 0, "organ": 1}
    assert values[20, 20] == 1
    assert values[0, 0] == 0
    assert "masks" not in service.predict("masks", png, params={"masks": "none"}).json()["cases"][0]


def test_several_files_and_a_zip_are_cases(service: Running, png: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(png.read_bytes())
    broken = tmp_path / "broken.png"
    broken.write_bytes(png.read_bytes()[:60])
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in (png, other, broken):
            archive.write(file, f"deep/{file.name}")
        archive.writestr("../../outside.png", png.read_bytes())
        archive.writestr("__MACOSX/._x.png", b"x")
    answer = service.predict("tiny", png, other).json()
    assert {one["case_id"] for one in answer["cases"]} == {png.stem, "other"}
    answer = service.predict("tiny", packed).json()
    assert {one["case_id"].rsplit("/", 1)[-1] for one in answer["cases"]} == {png.stem, "other"}
    assert [one["path"].rsplit("/", 1)[-1] for one in answer["unreadable"]] == ["broken.png"]
    assert "tmp" not in json.dumps(answer)


def _bomb(tmp_path: Path) -> Path:
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(17 << 20))
    return file


def _many(tmp_path: Path) -> Path:
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(21):
            archive.writestr(f"{number}.dcm", b"")
    return file


def _written(tmp_path: Path, name: str, content: bytes) -> Path:
    file = tmp_path / name
    file.write_bytes(content)
    return file


def test_files_that_are_none_are_refused_in_one_line(service: Running, png: Path, tmp_path: Path) -> None:
    cut = zipfile.ZipFile(tmp_path / "cut.zip", "w")
    cut.writestr("a.png", png.read_bytes())
    cut.close()
    refused = {
        _bomb(tmp_path): (413, "unpacks to more than the 16 MiB"),
        _many(tmp_path): (413, "21 files, more than the 20"),
        _written(tmp_path, "noise.dcm", bytes(range(256)) * 40): (422, "noise.dcm"),
        _written(tmp_path, "half.png", png.read_bytes()[:80]): (422, "half.png"),
        _written(tmp_path, "half.zip", (tmp_path / "cut.zip").read_bytes()[:-30]): (422, "the zip is damaged"),
        _written(tmp_path, "text.txt", b"hello"): (422, ""),
    }
    for file, (status, line) in refused.items():
        answer = service.predict("tiny", file)
        assert answer.status_code == status, file
        said = answer.json()["error"]
        assert line in said
        assert "\n" not in said
        assert str(tmp_path) not in said
        assert "/tmp" not in said


def test_a_large_body_is_refused_while_it_arrives(service: Running) -> None:
    """With its length said at first, and without: the sender hears why although it has not stopped sending."""

    def endless() -> Iterator[bytes]:
        for _ in range(96):
            yield bytes(1 << 18)

    head = {"Content-Type": "application/octet-stream"}
    path = "/v1/models/tiny/predict"
    said = service.client.post(path, content=bytes(24 << 20), headers=head)
    unsaid = service.client.post(path, content=endless(), headers=head)
    for answer in (said, unsaid):
        assert answer.status_code == 413
        assert answer.json() == {"error": "the request is larger than the 8 MiB allowed"}


def test_forms_that_are_none(service: Running) -> None:
    path = "/v1/models/tiny/predict"
    damaged = service.client.post(path, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=a"})
    assert damaged.status_code == 400
    unbounded = service.client.post(path, content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert "boundary" in unbounded.json()["error"]
    fields = service.client.post(path, files={"a": (None, "text")})
    assert "no file" in fields.json()["error"]
    assert service.client.post(path).status_code == 400
    assert service.client.post("/v1/models/tony/predict", content=b"x").json()["error"].endswith("did you mean 'tiny'?")
    assert service.client.get("/nothing").json() == {"error": "there is nothing at this path"}
    assert service.client.get(path).status_code == 405


def test_callers_from_elsewhere_are_refused(service: Running) -> None:
    ask = service.client.get
    assert ask("/v2", headers={"Host": "evil.example"}).status_code == 421
    assert ask("/v2", headers={"Origin": "https://evil.example"}).status_code == 403
    assert "access-control-allow-origin" not in ask("/v2").headers


def test_the_page_has_a_policy_that_lets_nothing_in(service: Running) -> None:
    answer = service.client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert answer.text.count("<script>") == 1
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert service.client.get("/docs").status_code == 404  # its page would load scripts from elsewhere
    assert "/v1/models/{name}/predict" in service.client.get("/openapi.json").json()["paths"]


def test_images_that_come_together_are_run_together_and_answered_alike(service: Running, png: Path) -> None:
    alone = service.predict("tiny", png).json()["predictions"]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: service.predict("tiny", png).json()["predictions"], range(64)))
    for rows in answers:
        assert rows[0]["score_healthy"] == pytest.approx(alone[0]["score_healthy"], abs=1e-5)


def test_measurements_and_lines_name_no_patient(service: Running, png: Path) -> None:
    service.predict("tiny", png)
    text = service.client.get("/metrics").text
    assert 'scansuite_requests_total{method="POST",route="/v1/models/{name}/predict",status="200"}' in text
    assert "scansuite_workers 1.0" in text
    for said in (text, service.log.read_text()):
        assert "Anna" not in said
    assert "POST /v1/models/{name}/predict 200" in service.log.read_text()


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_no_request_is_lost(service: Running, png: Path) -> None:
    (before,) = service.workers()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(service.predict, "tiny", png) for _ in range(40)]
        time.sleep(0.05)
        os.kill(before, signal.SIGKILL)
        assert [one.result().status_code for one in answers] == [200] * 40
    (after,) = service.workers()
    assert after != before
    assert "scansuite_workers_replaced_total 1.0" in service.client.get("/metrics").text


def test_nothing_of_a_request_is_left(service: Running, png: Path) -> None:
    service.predict("tiny", png)
    service.client.post("/v1/models/tiny/predict", content=b"no image")
    assert list(service.folder.iterdir()) == []


@pytest.mark.slow
def test_requests_and_results_are_kept_where_that_is_asked_for(png: Path, tmp_path: Path) -> None:
    from tests.tasks.serving.models import SEGMENTER, write_model
    from tests.tasks.serving.running import running

    kept = tmp_path / "kept"
    with running(write_model(tmp_path / "masks.onnx", SEGMENTER), "--keep", str(kept)) as service:
        answer = service.predict("masks", png).json()
        service.client.post("/v1/models/masks/predict", content=b"no image")
        (folder,) = kept.iterdir()
        assert (folder / "input" / png.name).read_bytes() == png.read_bytes()
        assert json.loads((folder / "answer.json").read_text()) == answer
        assert [file.suffix for file in (folder / "masks").iterdir()] == [".png"]
