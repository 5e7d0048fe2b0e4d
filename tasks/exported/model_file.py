"""An ONNX file as it is run: its session, its description, and the raw output of its networks. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.exported.description import IMAGE, KEY, Description
from tasks.exported.package import MODEL, SUFFIX, Package, read_package, refuse_unsigned, say
from tasks.exported.package_layout import is_zip, refuse_pickle
from tasks.exported.sound import refuse_outputs

Outputs: TypeAlias = dict[str, NDArray[np.float32]]
SUFFIXES = (".onnx", SUFFIX)
_PATCH = 64  # px; no network of the suite has larger patches
NO_RUNTIME = "onnxruntime is missing: pip install 'scansuite[export]'"


class ExportedModel:
    """A model that runs on onnxruntime. Its :meth:`run` may be called from several threads.

    Args:
        content: the ONNX file's bytes, or its path, beside which weights above 2 GB lie.
        where: the file, for messages.
        threads: of each run; left out: one for each core of this process.

    Attributes:
        description: what the file says of itself.
        outputs: names of the graph's outputs.
        shapes: of the outputs by name; -1 is any size.
    """

    def __init__(self, content: bytes | str, where: str, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise SuiteError(f"{where}: {NO_RUNTIME}") from None
        options = onnxruntime.SessionOptions()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        options.intra_op_num_threads = cores if threads is None else threads
        options.log_severity_level = 3
        if isinstance(content, bytes):  # weights in other files would be looked for in the working folder
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each status of its own
            reason = " ".join(str(error).split())[:160]
            raise SuiteError(f"{where}: is no ONNX file that onnxruntime can run: {reason}") from None
        said = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if said is None:
            raise SuiteError(f"{where}: was not exported by scansuite: it does not say how scans become its input")
        self.where = where
        self.description = Description.from_json(said, where)
        self._only_asked = onnxruntime.RunOptions()
        self._only_asked.only_execute_path_to_fetches = True
        self.outputs = [one.name for one in self._session.get_outputs()]
        self.shapes = {one.name: [_side(side) for side in one.shape] for one in self._session.get_outputs()}
        try:
            refuse_outputs(self.description, self.shapes)
        except ValueError as error:
            raise SuiteError(f"{where}: {error}: export the model again") from None
        # A second stage has inputs of its own; what a run does not need is fed with next to nothing.
        self._unused = {one.name: _nothing(one) for one in self._session.get_inputs()}

    def run(self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None) -> Outputs:
        """Run the graph.

        Args:
            feeds: arrays by name of the input; ``image`` is (B, C, H, W) float32 in [0, 1].
            asked: names of the outputs that are computed; left out: those of the first stage.

        Raises:
            SuiteError: the graph does not take such an image.
        """
        names = list(asked) if asked is not None else [name for name in self.outputs if "region_" not in name]
        try:
            values = self._session.run(names, {**self._unused, **feeds}, self._only_asked)
        except Exception as error:  # onnxruntime has a class for each status of its own
            shape = feeds[IMAGE].shape if IMAGE in feeds else ""
            reason = " ".join(str(error).split())[:160]
            raise SuiteError(f"{self.where}: does not take an image of shape {shape}: {reason}") from None
        return {name: np.asarray(value, np.float32) for name, value in zip(names, values, strict=True)}


def is_exported(path: Path | str | None) -> bool:
    """Whether a file is an exported model, by its name."""
    return path is not None and Path(path).suffix.lower() in SUFFIXES


def open_model(path: Path | str, threads: int | None = None, trust: Path | None = None) -> ExportedModel:
    """The model of an ONNX file or of a model package, told by its first bytes.

    Args:
        path: the file.
        threads: of each run; left out: one for each core of this process.
        trust: a public key (PEM) whose signature the package must bear; left out: whose it is, is said.

    Raises:
        SuiteError: there is no such file, it is none of the suite's, a package was changed or its signature is wrong,
            or it is not signed by the key in ``trust``.
    """
    file = Path(path)
    if not file.is_file():
        raise SuiteError(f"{file}: there is no such file")
    refuse_pickle(file)
    if not is_zip(file) and file.suffix != SUFFIX:
        refuse_unsigned(file, trust)
        return ExportedModel(str(file), str(file), threads)
    package = read_package(file, trust)
    say(package)
    return model_of(package, threads)


def model_of(package: Package, threads: int | None = None) -> ExportedModel:
    """The model of a package that was read.

    Raises:
        SuiteError: onnxruntime cannot run it, or it is not the model that the package describes.
    """
    model = ExportedModel(package.members[MODEL], str(package.file), threads)
    if model.description != package.description:
        raise SuiteError(f"{package.file}: its description is that of another model")
    return model


def _nothing(one: Any) -> NDArray[Any]:
    """An empty array of an input's type and number of dimensions.

    An image has sides that every network takes: onnxruntime 1.32 runs both stages whatever is asked for, and layers
    that cut an image into patches refuse one that is smaller than a patch.
    """
    kind = np.float16 if "float16" in one.type else np.float32
    unknown = [1, 1, _PATCH, _PATCH] if one.name == IMAGE else [1] * len(one.shape)
    sides = zip(one.shape, unknown, strict=True)
    return np.zeros([side if isinstance(side, int) and side > 0 else least for side, least in sides], kind)


def _side(side: Any) -> int:
    """A side of a shape; -1 where it depends on the input."""
    return side if isinstance(side, int) and side > 0 else -1
