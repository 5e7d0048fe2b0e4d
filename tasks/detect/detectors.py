"""Detectors by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import is_path
from tasks.detect.anchors import choose_anchors
from tasks.detect.faster_rcnn import FasterRcnn
from tasks.detect.fcos import Fcos
from tasks.detect.fpn import Neck
from tasks.detect.interface import DecodeSettings, Detections, Detector, Nms
from tasks.detect.losses import BoxLoss, check_losses
from tasks.detect.own_detector import own_detector, own_strides
from tasks.detect.own_losses import OwnBoxLoss, OwnClassLoss
from tasks.detect.retinanet import RetinaNet

if TYPE_CHECKING:  # brings timm, which the help of the command line can do without
    from backbones.pyramid import Backbone

DetectorName = Literal["retinanet", "fcos", "faster_rcnn"]
__all__ = [
    "BoxLoss", "DecodeSettings", "Detections", "Detector", "DetectorName", "Nms", "build_detector", "detector_strides"
]  # fmt: skip


class Layout(NamedTuple):
    """What a detector is like as published.

    Attributes:
        finest: stride of its finest level.
        extra: its levels beyond the backbone's; see :class:`Neck`.
        box_loss: of torchvision's model or of the paper.
        octaves: sizes of anchors a level.
        density: size of an anchor in strides.
    """

    finest: int
    extra: Literal["p6p7", "pool"]
    box_loss: BoxLoss
    octaves: int = 0
    density: int = 0


LAYOUTS: dict[str, Layout] = {
    "retinanet": Layout(8, "p6p7", "smooth_l1", octaves=3, density=4),
    "fcos": Layout(8, "p6p7", "giou"),
    "faster_rcnn": Layout(4, "pool", "smooth_l1", octaves=1, density=8),
}


def detector_strides(name: str | type[Detector], *, small_lesions: bool = False) -> tuple[int, ...]:
    """Strides of the levels that a detector asks of a network.

    Networks without maps of some of these strides (ViT, nest, ...) give the nearest, resized.

    Args:
        name: of the detector.
        small_lesions: start at stride 4 instead of 8, for lesions under some 16 px, at about four times the cost of the
            heads. Faster R-CNN starts there always.

    Raises:
        SuiteError: no such detector; the nearest name is given.
    """
    if is_path(name):
        return own_strides(name)
    if name not in LAYOUTS:
        raise SuiteError(f"--model.detector {name!r} is unknown: {nearest(str(name), get_args(DetectorName))}")
    name = str(name)
    finest = 4 if small_lesions else LAYOUTS[name].finest
    return tuple(stride for stride in (4, 8, 16, 32) if stride >= finest)


def build_detector(
    name: str | type[Detector],
    backbone: Backbone,
    num_classes: int,
    *,
    args: Mapping[str, Any] | None = None,
    anchors: str | Sequence[Any] | None = "auto",
    box_sizes: Sequence[Sequence[float]] | None = None,
    input_size: Sequence[int] | None = None,
    channels: int = 256,
    box_loss: str | OwnBoxLoss = "auto",
    class_loss: OwnClassLoss | None = None,
    focal_alpha: float = 0.25,
    focal_gamma: float = 2.0,
    roi_samples: int = 512,
) -> Detector:
    """A detector for a backbone.

    Args:
        name: ``retinanet`` (Lin et al., ICCV 2017), ``fcos`` (Tian et al., ICCV 2019) or ``faster_rcnn`` (Ren et al.,
            NeurIPS 2015); or the path of one of the user's, or its class.
        backbone: with the strides of :func:`detector_strides`.
        num_classes: without background.
        args: of a detector of the user's.
        anchors: see :func:`~tasks.detect.anchors.choose_anchors`; FCOS has none. The detector's ``table`` prints what
            was chosen; its ``anchors`` are what to give here when the model is built again.
        box_sizes: (N, 2) width and height of the training boxes in pixels of the model's image, for ``auto``.
        input_size: (H, W) of the images, before padding.
        channels: of the neck and the heads, a multiple of 8; 256 as published. Their cost grows with its square.
        box_loss: ``l1``, ``smooth_l1``, ``giou``, ``diou``, ``ciou``; ``auto``: ``giou`` in FCOS, else ``smooth_l1``;
            or one of the user's.
        class_loss: of the user's; None: the focal loss in RetinaNet and FCOS.
        focal_alpha: weight of positives in the focal loss of RetinaNet and FCOS.
        focal_gamma: its focusing exponent.
        roi_samples: regions of an image that the second stage of Faster R-CNN trains on.

    Raises:
        SuiteError: a name or a number that cannot be.
    """
    detector_strides(name)
    if num_classes < 1:
        raise SuiteError("there is no class to detect: the training part has no boxes")
    if is_path(name):
        asked = {"box_loss": None if box_loss == "auto" else box_loss, "class_loss": class_loss}
        offered = {
            "num_classes": num_classes, "input_size": input_size, "channels": channels, "anchors": anchors,
            "box_sizes": box_sizes, "focal_alpha": focal_alpha, "focal_gamma": focal_gamma,
        }  # fmt: skip
        return own_detector(name, args, backbone, num_classes, offered=offered, asked=asked)
    name = str(name)
    layout = LAYOUTS[name]
    loss = layout.box_loss if box_loss == "auto" else box_loss
    check_losses(name, loss, focal_alpha, focal_gamma)
    if class_loss is not None and name == "faster_rcnn":
        raise SuiteError(
            "--model.class_loss: faster_rcnn trains by cross-entropy over the regions that it samples: take retinanet "
            "or fcos"
        )
    if roi_samples < 4:
        raise SuiteError(f"--model.roi_samples {roi_samples}: must be at least 4")
    neck = Neck(backbone, channels, layout.extra)
    shared: dict[str, Any] = {"alpha": focal_alpha, "gamma": focal_gamma, "class_loss": class_loss}
    if name == "fcos":
        return Fcos(neck, num_classes, input_size=input_size, box_loss=loss, **shared)
    table = choose_anchors(
        "auto" if anchors is None else anchors,
        neck.strides,
        octaves=layout.octaves,
        density=layout.density,
        box_sizes=box_sizes,
        input_size=input_size,
    )
    if name == "retinanet":
        return RetinaNet(neck, num_classes, table, box_loss=loss, **shared)
    return FasterRcnn(neck, num_classes, table, box_loss=loss, samples=roi_samples)
