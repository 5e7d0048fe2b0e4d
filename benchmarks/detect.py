"""Benchmark of a training step of detection beside the bare torchvision network with the same backbone.

    python -m benchmarks.detect

ResNet-18, a pyramid of ``--channels``, batches in memory of ``--batch`` images with a dozen boxes each; the same
precision and memory format on both sides, and group norm in neck and heads. The bare side is torchvision's own model on
timm's features, with its resizing and normalising taken out, as ours has none. Steps (forward, loss, backward,
optimiser) are measured in pairs, one after the other in the same process, because machines are noisy: quote the median
ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from tasks.detect.fpn import group_norm
from tasks.detect.task import DetectionTask
from tasks.hardware import choose_precision, place

CLASSES = 3
NAMES = ("retinanet", "fcos", "faster_rcnn")


class Body(nn.Module):
    """Timm's features and torchvision's pyramid."""

    def __init__(self, channels: int, finest: int, backbone: str, in_chans: int, *, extra: bool) -> None:
        super().__init__()
        self.out_channels = channels
        indices = tuple(index for index, stride in enumerate((2, 4, 8, 16, 32)) if stride >= finest)
        self.net = timm.create_model(backbone, features_only=True, out_indices=indices, in_chans=in_chans)
        blocks = LastLevelP6P7(channels, channels) if extra else LastLevelMaxPool()
        self.fpn = FeaturePyramidNetwork(self.net.feature_info.channels(), channels, blocks, norm_layer=group_norm)

    def forward(self, image: Tensor) -> OrderedDict[str, Tensor]:
        """The levels by name."""
        levels: OrderedDict[str, Tensor] = self.fpn(OrderedDict((str(i), x) for i, x in enumerate(self.net(image))))
        return levels


class NoTransform(nn.Module):
    """Stands for the resizing and normalising that torchvision's detectors do inside."""

    def forward(self, images: Tensor, targets: Any = None) -> tuple[ImageList, Any]:
        """Hand a batch over as it is."""
        return ImageList(images, [(images.shape[-2], images.shape[-1])] * len(images)), targets

    def postprocess(self, detections: Any, image_sizes: Any, original_sizes: Any) -> Any:
        """Detections are in pixels of the batch already; Faster R-CNN asks in training too."""
        return detections


def bare_network(name: str, channels: int, backbone: str = "resnet18", in_chans: int = 3) -> Any:
    """Torchvision's detector with as many anchors as ours."""
    body = partial(Body, channels, backbone=backbone, in_chans=in_chans)
    model: Any
    if name == "faster_rcnn":
        anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
        model = FasterRCNN(body(finest=4, extra=False), CLASSES + 1, rpn_anchor_generator=anchors)
    elif name == "fcos":
        model = FCOS(body(finest=8, extra=True), CLASSES)
    else:
        sizes = tuple(tuple(side * 2 ** (k / 3) for k in range(3)) for side in (32, 64, 128, 256, 512))
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
        head = RetinaNetHead(channels, 9, CLASSES, norm_layer=group_norm)
        model = RetinaNet(body(finest=8, extra=True), CLASSES, anchor_generator=anchors, head=head)
    model.transform = NoTransform()
    return model.train()


def boxes_of(size: tuple[int, int], images: int) -> tuple[list[Tensor], list[Tensor]]:
    """A dozen boxes an image, of 24 to 64 px."""
    generator = torch.Generator().manual_seed(0)
    boxes = []
    for _ in range(images):
        sides = 24 + 40 * torch.rand(12, 2, generator=generator)
        corner = torch.rand(12, 2, generator=generator) * (torch.tensor([size[1], size[0]]) - sides)
        boxes.append(torch.cat([corner, corner + sides], dim=1))
    return boxes, [torch.randint(CLASSES, (12,), generator=generator) for _ in range(images)]


def timed(step: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    optimizer.zero_grad()
    step().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return time.perf_counter() - start


def compare(name: str, size: tuple[int, int], batch: int, channels: int, pairs: int) -> None:
    """Print the median seconds of both sides and their ratio."""
    torch.manual_seed(0)
    precision = choose_precision("cpu")
    model = DetectionTask(
        "resnet18", detector=name, channels=channels, anchors="default", num_classes=CLASSES, input_size=size,
        box_loss="smooth_l1" if name == "faster_rcnn" else "l1" if name == "retinanet" else "auto",
    ).train()  # fmt: skip
    bare = bare_network(name, channels)
    memory = place(model, "auto")
    image = torch.rand(batch, 3, *size)
    if memory == "channels_last":
        bare, image = bare.to(memory_format=torch.channels_last), image.contiguous(memory_format=torch.channels_last)
    boxes, labels = boxes_of(size, batch)
    shift = int(name == "faster_rcnn")
    targets = [{"boxes": found, "labels": named + shift} for found, named in zip(boxes, labels, strict=True)]

    def autocast() -> Any:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16-mixed")

    def ours() -> Tensor:
        with autocast():
            return model.loss(model(image), {"boxes": boxes, "labels": labels})

    def theirs() -> Tensor:
        with autocast():
            return torch.stack(list(bare(image, targets).values())).sum()

    sides = [(step, torch.optim.AdamW(net.parameters(), lr=1e-5)) for step, net in ((theirs, bare), (ours, model))]
    times = [[timed(step, optimizer) for step, optimizer in sides] for _ in range(pairs + 1)][1:]
    ratio = [suite / plain for plain, suite in times]
    plain, suite = (statistics.median(side) for side in zip(*times, strict=True))
    print(
        f"{name:12s} bare {batch / plain:6.2f} images/s   suite {batch / suite:6.2f} images/s   median ratio of step "
        f"times {statistics.median(ratio):.3f} (min {min(ratio):.3f}, max {max(ratio):.3f})",
        flush=True,
    )


def main() -> None:
    """Compare the three detectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 320), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=7, help="measured pairs, after one that warms up")
    arguments = parser.parse_args()
    print(f"{choose_precision('cpu')}, {arguments.size[0]} x {arguments.size[1]} px, batch {arguments.batch}")
    for name in arguments.detectors:
        compare(name, tuple(arguments.size), arguments.batch, arguments.channels, arguments.pairs)


if __name__ == "__main__":
    main()
