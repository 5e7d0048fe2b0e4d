"""What a worker does with a request: from the files in its folder to the answer beside them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite.files import safe_name
from tasks.exported.model_file import ExportedModel, open_model
from tasks.serving.answers import no_case, prediction_json, relative, save_masks
from tasks.serving.archives import is_zip, unzip
from tasks.serving.batching import BatchedModel
from tasks.serving.names import INPUT, JSON_FILE, OBJECTS, VIEW_FILE
from tasks.serving.predicting import Predict, predict_upload
from tasks.serving.settings import RequestLimits
from tasks.serving.tensors import infer
from tasks.serving.view import view_of


class Work:
    """The models of a worker, and what is done with them. Its methods may be called from several threads.

    Args:
        files: file or folder of each model by name.
        limits: of requests.
        threads: of each run of a model.
        together: most images of a batch.
        wait: seconds that an image waits for others of its shape.
        trust: public key (PEM) whose signature a package must bear; None: any.
        task: that all models must be of; None: any.
        predict: from files to predictions.

    Raises:
        SuiteError: a model cannot be opened, or is of another task.
    """

    def __init__(
        self,
        files: Mapping[str, str],
        limits: RequestLimits,
        threads: int,
        together: int,
        wait: float,
        trust: str | None = None,
        task: str | None = None,
        predict: Predict = predict_upload,
    ) -> None:
        self._limits, self._predict = limits, predict
        self._lock = threading.Lock()
        self._here = 0
        self._batches: list[int] = []
        self._opened = {
            name: open_model(file, threads, None if trust is None else Path(trust)) for name, file in files.items()
        }
        for name, model in self._opened.items():
            if task is not None and (other := model.description.task) != task:
                raise SuiteError(
                    f"--model {files[name]}: is a model of {other}: serve it with scansuite {other} serve, or any with "
                    "scansuite serve"
                )
        self.models = {
            name: BatchedModel(model, self.busy, wait, together, self._ran) for name, model in self._opened.items()
        }

    def described(self) -> dict[str, dict[str, Any]]:
        """What the service says of each model."""
        return {name: _described(model) for name, model in self._opened.items()}

    def busy(self) -> int:
        """How many requests are here."""
        return self._here

    def arrived(self) -> None:
        """Count a request."""
        with self._lock:
            self._here += 1

    def left(self) -> None:
        """Count one that is answered."""
        with self._lock:
            self._here -= 1

    def take_batches(self) -> list[int]:
        """How many requests' images ran together, of each run since the last call."""
        with self._lock:
            taken, self._batches = self._batches, []
        return taken

    def do(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a request asks for.

        Args:
            job: ``kind``, ``model``, ``folder``, ``options``, see :class:`tasks.serving.pool.Job`.

        Returns:
            ``file``: the answer's file in the folder; of ``dicom`` the number of ``objects`` in theirs.

        Raises:
            RefusedError: it cannot be answered.
            SuiteError: a file cannot be read, in words that may name the request's folder.
        """
        folder, name = Path(job["folder"]), str(job["model"])
        model = self.models[name]
        if job["kind"] == "infer":
            text = infer(model, name, folder / INPUT, lambda paths: self._predict(model, paths, self._limits))
            (folder / JSON_FILE).write_text(text, encoding="utf-8")
            return {"file": JSON_FILE}
        paths = self._inputs(folder / INPUT)
        predicted = self._predict(model, paths, self._limits)
        if not predicted.cases:
            raise no_case(predicted, folder / INPUT)
        if job["kind"] == "dicom":
            from tasks.serving.dicom_objects import write_objects

            limits, kinds = self._limits.of_files, job["options"].get("kinds", ())
            return {"objects": write_objects(name, model.description, predicted, folder / OBJECTS, kinds, limits)}
        masks = job["options"].get("masks", "base64")
        answer = prediction_json(name, model.description, predicted, folder / INPUT, masks=masks)
        if job["options"].get("keep"):
            save_masks(answer, folder / "masks")
        if job["kind"] == "view":
            with (folder / VIEW_FILE).open("wb") as stream:
                view_of(model, predicted, answer, self._limits.of_files, stream)
            return {"file": VIEW_FILE}
        (folder / JSON_FILE).write_text(json.dumps(answer, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        return {"file": JSON_FILE}

    def without_folders(self, text: str, job: Mapping[str, Any]) -> str:
        """A line without the service's own folders."""
        return relative(text, Path(job["folder"]) / INPUT)

    def _inputs(self, folder: Path) -> Sequence[Path]:
        """What is predicted of an upload: the file; the folder, where there are several; what a zip holds."""
        files = sorted(path for path in folder.iterdir() if path.is_file())
        count = size = 0
        for file in files:
            if file.suffix.lower() == ".zip" or (len(files) == 1 and is_zip(file)):
                count, size = unzip(file, folder / safe_name(file.stem or "zip"), self._limits, count, size)
                file.unlink()
        there = sorted(folder.iterdir())
        return there if len(there) == 1 else [folder]

    def _ran(self, count: int) -> None:
        with self._lock:
            self._batches.append(count)


def _described(model: ExportedModel) -> dict[str, Any]:
    return {"description": model.description.to_json(), "outputs": model.shapes}
