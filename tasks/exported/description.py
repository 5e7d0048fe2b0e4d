"""Description of an exported model: what its file says of itself, so that nothing else is needed to apply it.

It is written as JSON under the key :data:`KEY` of an ONNX file's ``metadata_props``, and beside other formats. Whoever
reads it needs no torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from datamodules.preprocess import Preprocess
from scansuite.errors import SuiteError
from tasks.evaluation.calibration.calibration import Calibration
from tasks.exported.sound import refuse_unfit

KEY = "scansuite"
VERSION = 1  # of the description; raised where an older reader would misunderstand it
IMAGE = "image"  # the graph's input: (B, C, H, W) float32 in [0, 1]; mean and deviation are in the graph

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Boxes:
    """What decoding the heads of a detector needs, beside :attr:`Description.decoding`.

    Attributes:
        detector: ``retinanet``, ``fcos`` or ``faster_rcnn``.
        strides: of the levels that the heads see, fine to coarse.
        shapes: of the anchors of each level: [width, height] in pixels of the model's image; of FCOS squares as wide as
            the stride.
    """

    detector: str
    strides: tuple[int, ...]
    shapes: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class Member:
    """A network of the file: one, or those of an ensemble.

    Attributes:
        prefix: of the names of its outputs (and of the further inputs of a second stage): empty, or ``0.``, ``1.``, ...

            - classify: ``logits`` (B, K); where the images of a case are weighed (``aggregate`` is ``attention``) the B
              images are one case's, and ``logits`` is (1, K) and ``weights`` (B,); ``cam`` (B, K, h, w), if there: the
              class activation maps, where the head is a linear layer on average-pooled features;
            - segment: ``logits`` (B, K, H, W);
            - detect: ``logits`` (B, M, C), ``codes`` (B, M, 4) and, of FCOS, ``centerness`` (B, M, 1), the M anchors of
              all levels fine to coarse. Of Faster R-CNN ``objectness`` (B, M), ``offsets`` (B, M, 4) and ``maps.<i>``
              (B, c, h, w), and its second stage, which takes ``maps.<i>`` of the first one as inputs ``of_maps.<i>``
              and ``regions`` (R, 5) float32 (number of the image, xyxy), and gives ``region_logits`` (R, C + 1), 0
              being background, and ``region_codes`` (R, 4 * (C + 1)).
        ordinal: the logits are those of the ordinal loss (CORN).
        boxes: of a detector.
        own: what is its own of the description's ``aggregate``, ``topk``, ``tta`` and ``decoding``, where members of an
            ensemble differ.
    """

    prefix: str = ""
    ordinal: bool = False
    boxes: Boxes | None = None
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A comparison of the file with the model that it was made of, on the same scans.

    Attributes:
        name: of what is compared: ``logits``, ``masks``, ``boxes``, ``scores``, or a metric such as ``auroc``.
        value: largest difference that was found (of ``masks`` the share of pixels that differ).
        tolerance: above which the export is refused.
        scans: on how many.
    """

    name: str
    value: float
    tolerance: float
    scans: int


@dataclass(frozen=True)
class Description:
    """An exported model: from scan values to the rows of a table.

    Attributes:
        task: ``classify``, ``segment`` or ``detect``.
        class_names: in class order.
        preprocess: stored values -> the model's image.
        in_channels: of the image.
        input_size: (H, W) in pixels that it was trained on; None: not known.
        sizes: the (H, W) that the graph takes; empty: any.
        multiple: both sides of an image must be multiples of this; the runner fills up below and on the right by
            repeating the last pixels, and cuts the filling off masks again.
        standardised: the runner subtracts each image's own mean and divides by its own deviation (over all pixels and
            channels, of n - 1 degrees of freedom, at least 1e-6) before it fills the image up, whose filling must not
            bear on them; where nothing is filled up that is in the graph.
        most_images: largest batch that the graph takes; None: any.
        members: networks of the file.
        slices: cutting of volumes, as ``SliceSpec.to_dict`` has it; None: the model is for images alone.
        tile: (h, w) in pixels of the parts that large images are seen by; None: whole.
        overlap: share of a tile that the next one covers again.
        operating_points: threshold by class, chosen on validation.
        operating_rule: by which they were chosen.
        calibration: of the scores; None: they are the model's own.
        target: kind of target of a classifier.
        positive_class: of a binary target.
        aggregate: how the images of a case are put together: ``none``, ``mean``, ``max``, ``topk``, ``attention``.
        topk: share of a case's images that ``topk`` averages.
        bag_limit: most images of a case that are seen.
        overlapping: masks have a layer for each region.
        tta: of segmentation, ``none``, ``mirror`` or ``flips``; what a classifier averages is in its graph.
        cleanup: of masks, as ``CleanUp.to_dict`` has it.
        decoding: of boxes, the fields of ``DecodeSettings``.
        precision: of the weights.
        opset: of ONNX; None in other formats.
        checks: by which the file was let pass.
        run: SHA-256 (hexadecimal) of the checkpoint that it was made of, of an ensemble's members in order.
        weights: where the first weights came from, in words; None: from scratch.
        licence: of these weights; None: not known, or from scratch.
        profile: of the training cases (``training_profile`` of the checkpoint), for the comparison of new ones.
        suite: version of the suite.
        made: when, ISO 8601 in UTC.
        name: of the model, for people: the run's folder, or what the user gave.
    """

    task: str
    class_names: tuple[str, ...]
    preprocess: Preprocess
    in_channels: int
    input_size: tuple[int, int] | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    multiple: int = 1
    standardised: bool = False
    most_images: int | None = None
    members: tuple[Member, ...] = (Member(),)
    slices: Mapping[str, Any] | None = None
    tile: tuple[int, int] | None = None
    overlap: float = 0.0
    operating_points: Mapping[str, float] = field(default_factory=dict)
    operating_rule: str | None = None
    calibration: Calibration | None = None
    target: str | None = None
    positive_class: str | None = None
    aggregate: str = "none"
    topk: float = 0.1
    bag_limit: int | None = None
    overlapping: bool = False
    tta: str = "none"
    cleanup: Mapping[str, Any] = field(default_factory=dict)
    decoding: Mapping[str, Any] = field(default_factory=dict)
    precision: Precision = "fp32"
    opset: int | None = None
    checks: tuple[Check, ...] = ()
    run: str | None = None
    weights: str | None = None
    licence: str | None = None
    profile: str | None = None
    suite: str = ""
    made: str = ""
    name: str = ""

    def to_json(self) -> str:
        """The description as JSON text."""
        plain = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        plain["preprocess"] = self.preprocess.to_dict()
        plain["calibration"] = None if self.calibration is None else self.calibration.to_dict()
        plain["members"] = [dataclasses.asdict(member) for member in self.members]
        plain["checks"] = [dataclasses.asdict(check) for check in self.checks]
        for name in ("slices", "operating_points", "cleanup", "decoding"):
            plain[name] = None if plain[name] is None else dict(plain[name])
        return json.dumps({"version": VERSION, **plain}, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> Description:
        """Read back what :meth:`to_json` wrote.

        Args:
            text: JSON.
            where: the file, for messages.

        Raises:
            SuiteError: it is no such description, or a newer one.
        """
        try:
            plain = json.loads(text, parse_constant=_no_number, parse_float=_finite)
            version, suite = plain.pop("version"), plain.get("suite")
            unknown = sorted(set(plain) - {one.name for one in dataclasses.fields(cls)})
            newer = version > VERSION
            if not newer and not unknown:
                return cls._from_plain(plain)
        except (SuiteError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
            reason = _in_line(str(error)) or type(error).__name__
            missing = "a value is missing: " if isinstance(error, KeyError) else ""
            raise SuiteError(
                f"{where}: its description cannot be read ({missing}{reason}): export the model again"
            ) from None
        except RecursionError:
            raise SuiteError(f"{where}: its description cannot be read: export the model again") from None
        if newer:
            raise SuiteError(f"{where}: was exported by a newer version of scansuite ({_in_line(str(suite))})")
        named = _in_line(", ".join(unknown))
        raise SuiteError(f"{where}: its description has unknown fields {named}: of a newer version")

    @classmethod
    def _from_plain(cls, plain: dict[str, Any]) -> Description:
        plain["preprocess"] = Preprocess.from_dict(plain["preprocess"])
        calibration = plain.get("calibration")
        plain["calibration"] = None if calibration is None else Calibration.from_dict(calibration)
        plain["members"] = tuple(_member(one) for one in plain.get("members", [{}]))
        plain["checks"] = tuple(Check(**one) for one in plain.get("checks", ()))
        for name in ("class_names", "input_size", "tile"):
            plain[name] = None if plain.get(name) is None else _listed(plain[name], name)
        plain["sizes"] = tuple(_listed(size, "sizes") for size in plain.get("sizes", ()))
        made = cls(**plain)
        refuse_unfit(made)
        return made


def _listed(value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")
    return tuple(value)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if abs(number) == float("inf"):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _in_line(text: str) -> str:
    """Text of a file from elsewhere in a line of a message: short, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:160].strip()


def _member(plain: Mapping[str, Any]) -> Member:
    boxes, own = plain.get("boxes"), dict(plain.get("own", {}))
    if unknown := sorted(set(own) - {"aggregate", "topk", "tta", "decoding"}):
        raise ValueError(f"a member has {', '.join(unknown)} of its own")
    if boxes is not None:
        shapes = tuple(tuple((float(w), float(h)) for w, h in level) for level in boxes["shapes"])
        boxes = Boxes(boxes["detector"], tuple(boxes["strides"]), shapes)
    return Member(plain.get("prefix", ""), plain.get("ordinal", False), boxes, own)
