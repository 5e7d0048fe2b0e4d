"""int8 by onnxruntime: weights by channel, activations by what they are on training scans (static QDQ).

B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR
2018; H. Wu et al., Integer Quantization for Deep Learning Inference: Principles and Empirical Evaluation, 2020,
arXiv:2004.09602. Calibration, rewriting of the graph and kernels are onnxruntime's.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.exported.description import IMAGE
from tasks.exported.model_file import NO_RUNTIME, ExportedModel, Outputs

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)

Image: TypeAlias = NDArray[np.float32]
Method: TypeAlias = Literal["minmax", "entropy", "percentile"]
# Instructions that multiply bytes and add them up in 32 bits. Without them two products are added in 16 bits first,
# which saturates where weights use all of their 8 bits.
_WIDE_SUMS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
_PIXELS = 2**20  # of calibration images whose activations are kept at once, where a histogram is made of them
_MOST_OPERATIONS = ("Conv", "MatMul", "Gemm", "ConvTranspose")  # those with weights: where the time goes


@dataclass(frozen=True)
class Quantisation:
    """How int8 is made.

    Attributes:
        method: by which the range of an activation is chosen: ``minmax`` takes all values, ``entropy`` those that keep
            its distribution (Kullback-Leibler), ``percentile`` all but one in ten thousand.
        reduce_range: weights take 7 bits, for a CPU without :data:`_WIDE_SUMS`; None: as this CPU needs it.
        in_float: names of nodes that stay in float.
    """

    method: Method = "minmax"
    reduce_range: bool | None = None
    in_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantised:
    """A model in int8.

    Attributes:
        model: with its description as it was.
        in_float: nodes with weights that were left in float for the sake of accuracy, worst first.
        nodes: how many nodes have weights.
    """

    model: ModelProto
    in_float: tuple[str, ...]
    nodes: int


def has_wide_sums(cpu: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU multiplies bytes without saturating (VNNI of x86, SDOT of ARM); True where it is not known."""
    try:
        lines = cpu.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = [set(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features"))]
    return all(one & set(_WIDE_SUMS) for one in flags)


class Quantiser:
    """A float model and the scans that it is calibrated on; what takes long is done once.

    Use it as a context: its files are removed at the end.

    Args:
        model: with its weights inside.
        images: (1, C, H, W) or more at once, as the graph takes them.
        settings: how int8 is made.
        where: the model, for messages.

    Raises:
        SuiteError: onnxruntime is not installed, there are no images, or the model has nothing to quantise.
    """

    def __init__(
        self, model: ModelProto, images: Sequence[Image], settings: Quantisation | None = None, where: str = "model"
    ) -> None:
        self.settings, self.where = settings or Quantisation(), where
        if not len(images):
            raise SuiteError(f"{where}: there are no scans to calibrate int8 on: name some with --input")
        self.images = _fitting(images) if self.settings.method != "minmax" else list(images)
        self.source = model
        self._folder = tempfile.TemporaryDirectory(prefix="scansuite-int8-")
        self._float = Path(self._folder.name) / "float.onnx"
        self._prepare(model)
        self.nodes = self._nodes()
        if not self.nodes:
            raise SuiteError(f"{where}: has no convolution and no matrix of weights: there is nothing to quantise")

    def __enter__(self) -> Quantiser:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def quantised(self, in_float: Sequence[str] = ()) -> ModelProto:
        """The model in int8.

        Args:
            in_float: names of nodes that stay in float, beside those of the settings, with what leads to them from the
                nodes with weights before them: what goes into them would be rounded otherwise.

        Raises:
            SuiteError: onnxruntime cannot quantise it.
        """
        import onnx
        from onnxruntime import quantization as ort

        methods = ort.CalibrationMethod
        chosen = {"minmax": methods.MinMax, "entropy": methods.Entropy, "percentile": methods.Percentile}
        reduce_range = self.settings.reduce_range
        file = Path(self._folder.name) / "int8.onnx"
        with _quiet(f"{self.where}: cannot be quantised"):
            ort.quantize_static(
                self._float,
                file,
                _Reader(self.images),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=not has_wide_sums() if reduce_range is None else reduce_range,
                activation_type=ort.QuantType.QUInt8,  # the kernels that are fast on x86 take these with signed weights
                weight_type=ort.QuantType.QInt8,
                nodes_to_exclude=[*self.settings.in_float, *self._with_what_leads_to(in_float)],
                calibrate_method=chosen[self.settings.method],
                extra_options={"CalibPercentile": 99.99},
                calibration_cache_path=self._folder.name + "/ranges.json",
            )
            model = onnx.load(str(file))
        _with_metadata_of(model, self.source)
        return model

    def worst_first(self, images: int = 4) -> list[str]:
        """Nodes with weights by what is gained where each alone stays in float, the one that gains most first.

        It takes as many quantisations as there are such nodes (the ranges of activations are found once).

        Args:
            images: whose outputs are compared with the float model's.
        """
        seen = self.images[:images]
        wanted = _outputs(self.source, seen, self.where)
        noise = {name: _noise(wanted, _outputs(self.quantised([name]), seen, self.where)) for name in self.nodes}
        return sorted(self.nodes, key=lambda name: noise[name])

    def noise(self, model: ModelProto, images: int = 16) -> float:
        """Power of the difference from the float model's outputs as a share of their own, the mean over outputs.

        Args:
            model: in int8.
            images: whose outputs are compared.
        """
        seen = self.images[:images]
        return _noise(_outputs(self.source, seen, self.where), _outputs(model, seen, self.where))

    def within(self, wrong: Callable[[ModelProto], str]) -> Quantised:
        """The model in int8, with as few layers in float as it takes until nothing is wrong with it.

        All layers first; then one, two, four, ... of those that add most to the error stay in float.

        Args:
            wrong: what is wrong with a model in int8, in words; empty where nothing is.

        Raises:
            SuiteError: something is wrong with half of the layers in float too.
        """
        model = self.quantised()
        order: list[str] = []
        left: tuple[str, ...] = ()
        while why := wrong(model):
            order = order or self.worst_first()
            count = max(1, 2 * len(left))
            if count > len(self.nodes) / 2:
                raise SuiteError(
                    f"{self.where}: in int8, with {len(left)} of {len(self.nodes)} layers in float, {why}: no file is "
                    "left"
                )
            left = tuple(order[:count])
            log.info("in int8 %s: %d of the %d layers stay in float: %s",
                     why, count, len(self.nodes), ", ".join(left[:4]))  # fmt: skip
            model = self.quantised(left)
        return Quantised(model, left, len(self.nodes))

    def _prepare(self, model: ModelProto) -> None:
        """Fold and infer shapes, as onnxruntime wants it before it quantises."""
        try:
            import onnx
            from onnxruntime.quantization.shape_inference import quant_pre_process
        except ImportError:
            raise SuiteError(f"{self.where}: {NO_RUNTIME}") from None
        named = type(model)()
        named.CopyFrom(model)
        for number, node in enumerate(named.graph.node):
            node.name = node.name or f"node_{number}"
        file = str(Path(self._folder.name) / "named.onnx")
        onnx.save(named, file)
        with _quiet(f"{self.where}: cannot be prepared for int8"):
            # Symbolic shapes bear on nothing here; where they are not found, files are left in the working folder.
            quant_pre_process(file, str(self._float), skip_symbolic_shape=True)
            self._graph = onnx.load(str(self._float)).graph

    def _with_what_leads_to(self, names: Sequence[str]) -> list[str]:
        """Nodes, and those before them up to the next ones with weights."""
        made_by = {output: node for node in self._graph.node for output in node.output}
        found, open_ = set(names), [node for node in self._graph.node if node.name in names]
        while open_:
            for name in open_.pop().input:
                before = made_by.get(name)
                if before is not None and before.name not in found:
                    found.add(before.name)
                    if before.name not in self.nodes:
                        open_.append(before)
        return sorted(found)

    def _nodes(self) -> list[str]:
        """Names of the nodes with weights that are not left in float by the settings."""
        constants = {one.name for one in self._graph.initializer}
        return [
            node.name
            for node in self._graph.node
            if node.op_type in _MOST_OPERATIONS
            and any(name in constants for name in node.input[:2])
            and node.name not in self.settings.in_float
        ]


class _Reader:
    """Calibration images as onnxruntime asks for them."""

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = iter(images)

    def get_next(self) -> Mapping[str, Image] | None:
        image = next(self.images, None)
        return None if image is None else {IMAGE: image}

    def __iter__(self) -> Iterator[Mapping[str, Image]]:
        return ({IMAGE: image} for image in self.images)


def _outputs(model: ModelProto, images: Sequence[Image], where: str) -> list[Outputs]:
    ready = ExportedModel(model.SerializeToString(), where)
    return [ready.run({IMAGE: image}) for image in images]


def _noise(wanted: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """Power of the difference as a share of that of what is wanted, the mean over outputs."""
    shares = []
    for name in wanted[0]:
        signal = sum(float(np.square(one[name], dtype=np.float64).sum()) for one in wanted)
        pairs = zip(wanted, found, strict=True)
        noise = sum(float(np.square(one[name] - other[name], dtype=np.float64).sum()) for one, other in pairs)
        shares.append(noise / max(signal, 1e-30))
    return float(np.mean(shares))


def _fitting(images: Sequence[Image]) -> list[Image]:
    """As many images, evenly chosen, as their activations fit into memory; eight at least."""
    pixels = max(image.shape[0] * image.shape[-2] * image.shape[-1] for image in images)
    most = min(len(images), max(8, _PIXELS // pixels))
    return [images[round(place)] for place in np.linspace(0, len(images) - 1, most)]


def _with_metadata_of(model: ModelProto, source: ModelProto) -> None:
    del model.metadata_props[:]
    model.metadata_props.extend(source.metadata_props)


@contextlib.contextmanager
def _quiet(failed: str) -> Iterator[None]:
    """What onnxruntime prints and warns of goes to the debug log; what it raises becomes a line."""
    said, loggers = io.StringIO(), [logging.getLogger(name) for name in (None, "onnxruntime")]
    before = [one.level for one in loggers]
    for one in loggers:  # some of it is said by the root logger
        one.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(said):
            yield
    except SuiteError:
        raise
    except Exception as error:  # of all kinds
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise SuiteError(f"{failed}: {reason}") from None
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)
        if said.getvalue().strip():
            log.debug("onnxruntime said: %s", said.getvalue().strip())
