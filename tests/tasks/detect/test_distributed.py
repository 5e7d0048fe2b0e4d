"""Two processes against one: the gradient of every detector, with unlike shares of boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from backbones.pyramid import Backbone
from tasks.detect.detectors import build_detector, detector_strides
from tests.tasks.detect.drawn import DETECTORS, SIDE, drawn

RANKS = 2
SHARES: dict[str, tuple[list[int], list[int]]] = {  # images of each rank
    "uneven": ([0, 2, 3], [1]),
    "one without boxes": ([0, 1], [3]),
    "no box anywhere": ([3], [3]),
    "one without images": ([2], []),
}


class Model(nn.Module):
    """Network, detector and loss in one call, as a training step makes it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        # Layer norm: the statistics of batch norm depend on how many images a process sees.
        self.backbone = Backbone("test_vit", 3, detector_strides(name), image_size=(SIDE, SIDE))
        sizes: dict[str, Any] = {"channels": 16, "input_size": (SIDE, SIDE), "anchors": "default"}
        detector: Any = build_detector(name, self.backbone, 2, **sizes)
        if name == "faster_rcnn":  # few proposals, and all samples: their choice is random
            detector.rpn._pre_nms_top_n = detector.rpn._post_nms_top_n = {"training": 50, "testing": 50}
            everything = BalancedPositiveNegativeSampler(1_000_000, 0.5)
            detector.rpn.fg_bg_sampler = detector.roi_heads.fg_bg_sampler = everything
        self.detector = detector

    def forward(self, image: Tensor, kept: list[int], boxes: list[Tensor], labels: list[Tensor]) -> Tensor:
        raw = self.detector(image, self.backbone(image))[kept]  # images of padding are left out of the loss
        parts = self.detector.loss(raw, [boxes[i] for i in kept], [labels[i] for i in kept])
        return torch.stack(list(parts.values())).sum()


def gradient(name: str, images: list[int], *, parallel: bool) -> tuple[Tensor, Tensor]:
    model = Model(name)
    network = nn.parallel.DistributedDataParallel(model) if parallel else model
    loss = network(*((batch := drawn(images or [3]))[0], list(range(len(images))), *batch[1:]))
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    grads = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return loss.detach(), torch.cat(grads)


def one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    results = {
        f"{name} {scenario}": gradient(name, shares[rank], parallel=True)
        for name in DETECTORS
        for scenario, shares in SHARES.items()
    }
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    # One process imports this module, which takes most of the time; the ranks are its forks.
    multiprocessing.set_forkserver_preload([__name__])
    multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        one_rank, args=(str(folder),), nprocs=RANKS, start_method="forkserver"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.parametrize("scenario", SHARES)
@pytest.mark.parametrize("name", DETECTORS)
def test_two_processes_give_the_gradient_of_one(name: str, scenario: str, ranks: list[dict[str, Any]]) -> None:
    loss, expected = gradient(name, [image for share in SHARES[scenario] for image in share], parallel=False)
    assert expected.abs().max() > 1e-3
    for rank in range(RANKS):
        found = ranks[rank][f"{name} {scenario}"][1]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    mean = torch.stack([ranks[rank][f"{name} {scenario}"][0] for rank in range(RANKS)]).mean()
    torch.testing.assert_close(mean, loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", DETECTORS)
def test_each_rank_alone_would_not(name: str) -> None:
    """The scenario is hard enough: each rank's own counts miss the gradient of one process."""
    own = torch.stack([gradient(name, share, parallel=False)[1] for share in SHARES["uneven"]]).mean(dim=0)
    whole = gradient(name, [image for share in SHARES["uneven"] for image in share], parallel=False)[1]
    assert (own - whole).abs().max() > 0.02 * whole.abs().max()
