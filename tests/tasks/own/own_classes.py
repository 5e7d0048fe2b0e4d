"""Parts as a user would write them, small."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from datamodules.types import Batch
from tasks.detect.interface import DecodeSettings, Detections, Detector, Raw


class SharpLoss(nn.Module):
    """Cross-entropy of sharpened logits; for classes and for masks."""

    def __init__(self, num_classes: int, sharpness: float = 1.0) -> None:
        super().__init__()
        self.num_classes, self.sharpness = num_classes, sharpness

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        assert output.dtype == torch.float32
        assert output.shape[1] == self.num_classes
        return F.cross_entropy(output * self.sharpness, target)


class NoMean(nn.Module):
    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")


class LearntLoss(nn.Module):
    """With a parameter that is trained and kept."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output * self.log_scale.exp(), target)


class MaxHead(nn.Module):
    def __init__(self, channels: int, outputs: int, hidden: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        logits: Tensor = self.layers(levels[-1])
        return logits


class TwoStepHead(nn.Module):
    """With features that attention can weigh."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.width, self.linear = channels, nn.Linear(channels, outputs)

    def features(self, levels: list[Tensor]) -> Tensor:
        return levels[-1].amax(dim=(2, 3))

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits


class SumDecoder(nn.Module):
    """The sum of all levels, enlarged, each behind a convolution."""

    reads = (4, 16)

    def __init__(self, channels: list[int], outputs: int, kernel: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(count, outputs, kernel, padding=kernel // 2) for count in channels)

    def forward(self, image: Tensor, levels: list[Tensor]) -> Tensor:
        size = levels[0].shape[-2:]
        return sum(F.interpolate(layer(x), size) for layer, x in zip(self.layers, levels, strict=True))  # type: ignore[return-value]


class CentreDetector(Detector):
    """One box an image, its centre and size from the deepest level."""

    reads = (32,)

    def __init__(self, backbone: Any, num_classes: int, weight: float = 1.0) -> None:
        super().__init__()
        self.count, self.weight = num_classes, weight
        self.layer = nn.Linear(backbone.channels[-1], 5 + num_classes - 1)

    def forward(self, image: Tensor, levels: list[Tensor]) -> Raw:
        height, width = image.shape[-2:]
        return OneBox((height, width), (), self.layer(levels[-1].mean(dim=(2, 3))))

    def loss(self, raw: Raw, boxes: list[Tensor], labels: list[Tensor]) -> dict[str, Tensor]:
        assert isinstance(raw, OneBox)
        truth = [(values, found[0]) for values, found in zip(raw.values, boxes, strict=True) if len(found)]
        total = raw.values.sum() * 0.0
        for values, box in truth:
            total = total + F.l1_loss(self.box(values, raw.size), box)
        return {"box": self.weight * total / max(1, len(truth))}

    def box(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        x1, x2 = values[:2].sigmoid().sort().values * size[1]
        y1, y2 = values[2:4].sigmoid().sort().values * size[0]
        return torch.stack([x1, y1, x2, y2])

    def output_layers(self) -> list[nn.Module]:
        return [self.layer]

    def decode(self, raw: Raw, settings: DecodeSettings, sizes: Any = None) -> list[Detections]:
        assert isinstance(raw, OneBox)
        return [
            Detections(self.box(values, raw.size)[None], values[4:].sigmoid().double()[:1], torch.zeros(1).long())
            for values in raw.values
        ]


class OneBox(Raw):
    """Five numbers an image."""

    values: Tensor

    def __init__(self, size: tuple[int, int], grids: tuple[tuple[int, int], ...], values: Tensor) -> None:
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "grids", grids)
        object.__setattr__(self, "values", values)

    def apply(self, change: Any) -> OneBox:
        return OneBox(self.size, self.grids, change(self.values))


class Distance(nn.Module):
    """Of the corners of boxes."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, found: Tensor, truth: Tensor) -> Tensor:
        return (found - truth).abs().mean(dim=1) ** self.power


class CallsOf(Metric):
    """Share of cases that are called as the last class; higher is better."""

    higher_is_better = True
    full_state_update = False
    called: Tensor
    seen: Tensor

    def __init__(self, num_classes: int, shift: float = 0.0) -> None:
        super().__init__()
        self.last, self.shift = num_classes - 1, shift
        self.add_state("called", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, scores: Tensor, label: Tensor) -> None:
        called = scores.argmax(dim=1) == self.last if scores.ndim > 1 else scores > 0.5
        self.called += called.sum()
        self.seen += len(label)

    def compute(self) -> Tensor:
        return self.called / self.seen + self.shift


def empty(batch: Batch) -> Batch:
    """The same batch, all of it padding."""
    for scan in batch["scan"]:
        scan["padding"] = True
    return batch
