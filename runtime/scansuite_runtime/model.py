"""An exported model in Python: loaded from its file, applied to files."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from tasks.deployment.predictions import Predictions
    from tasks.exported.description import Description
    from tasks.exported.model_file import ExportedModel

Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


def load(path: str | PathLike[str], *, threads: int | None = None, trust: str | PathLike[str] | None = None) -> Model:
    """An exported model.

    Args:
        path: ONNX file or model package that scansuite has exported.
        threads: cores that a run of the network may use; left out: all that this process may use.
        trust: public key (PEM) that must have signed the package; left out: whose signature it bears is said.

    Raises:
        SuiteError: the file is none of the suite's, or is not signed so.
    """
    from tasks.exported.model_file import open_model

    return Model(open_model(fspath(path), threads, None if trust is None else Path(trust)))


class Model:
    """An exported model. It may be used many times, and by several threads.

    Args:
        model: with its session.
    """

    def __init__(self, model: ExportedModel) -> None:
        self._model = model

    @property
    def description(self) -> Description:
        """What the file says of itself: task, classes, preprocessing, operating points, where it comes from."""
        return self._model.description

    def __repr__(self) -> str:
        said = self.description
        return f"Model({self._model.where!r}: {said.task}, {', '.join(said.class_names)})"

    def predict(
        self,
        inputs: Paths,
        *,
        output: str | PathLike[str] | None = None,
        include: Sequence[str] | str | None = None,
        exclude: Sequence[str] | str | None = None,
        options: dict[str, Any] | None = None,
        **reading: Any,
    ) -> Predictions:
        """Predictions for files: the same numbers as those of the suite's ``predict``.

        Args:
            inputs: files, folders or a table with paths, one or several.
            output: new folder to write to what the command writes; left out: nothing is written.
            include: shell patterns of the files of a folder to take, by name or by the path below it.
            exclude: likewise, files to leave out.
            options: further flags of the task that go with ``output``: ``mask_format``, ``pictures``.
            reading: how files are read: ``root``, ``path_column``, ``batch_size``, ``window``, ``percentiles``,
                ``value_range``, ``max_pixels``, ... (see :class:`~datamodules.input_cases.InputCases`).

        Returns:
            ``table``, the rows of ``predictions.csv``; by case ``scores`` of a classifier, ``masks`` of a segmentation
            model, ``boxes`` of a detector; ``unreadable``, (path, reason) of files that could not be read.

        Raises:
            SuiteError: a path does not exist, nothing is found, or an argument is none.
        """
        from inspect import signature

        from datamodules.input_cases import InputCases
        from scansuite.errors import nearest
        from scansuite_runtime.predict import new_folder
        from tasks.exported.predict import predict_files

        known = [name for name in signature(InputCases).parameters if name != "num_workers"]
        for name in reading:
            if name not in known:
                raise SuiteError(f"{name}: predict has no such argument: {nearest(name, known)}")
        files = InputCases(**reading)
        files.choose(include, exclude, ("include", "exclude"))
        folder = None if output is None else new_folder(fspath(output))
        given = [inputs] if isinstance(inputs, (str, PathLike)) else list(inputs)
        return predict_files(self._model, files, [fspath(one) for one in given], folder, options or {})
