"""Maps of one image by one model, as their methods give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scansuite.errors import SuiteError
from tasks.explain import cam, pixels, rollout
from tasks.explain.activations import Grid, by_preference, numbered, recorded
from tasks.explain.explainer import Explainer
from tasks.explain.layers import resolve_layer
from tasks.explain.methods import ABOUT, ATTENTION, GRADIENT, Method
from tasks.explain.targets import Scorer, Target
from tasks.padding import padded

NO_GRADIENT = "its detector is one of your own, whose boxes have no gradient: take occlusion or scorecam"


@dataclass(frozen=True, eq=False)
class RawMap:
    """A map as its method gives it.

    Attributes:
        raw: (h, w) float32, signed, of cells or pixels.
        covers: (H, W) in pixels of what it covers: the image, perhaps filled up below and on the right.
        method: that made it.
        target: that is explained.
        layer: path of the module whose cells it has; empty where it has pixels.
        score: the model's number.
    """

    raw: Tensor
    covers: tuple[int, int]
    method: Method
    target: Target
    layer: str
    score: float

    def full(self, size: Sequence[int]) -> Tensor:
        """(H, W) what is above 0, at the size of the image, by linear interpolation between cells."""
        fine = F.interpolate(self.raw.relu()[None, None], self.covers, mode="bilinear", align_corners=False)
        return fine[0, 0, : size[0], : size[1]]


def maps_of(
    explainer: Explainer[Any],
    index: int,
    targets: Sequence[Target],
    methods: Sequence[Method],
    *,
    layer: str | None,
    batch_size: int,
) -> list[RawMap]:
    """Maps of one image, by target and then by method.

    Args:
        explainer: of the image's case; its model is being looked at (:func:`~tasks.explain.explainer.looking`).
        index: the image, of its case.
        targets: to explain.
        methods: to explain them by.
        layer: name of the layer for the CAM family; None: chosen by rule.
        batch_size: images at once, where a method changes the image many times.

    Raises:
        SuiteError: a method cannot be computed for this network, or there is no such layer.
    """
    looked = _Looked(explainer, index, layer, batch_size)
    scorers = [explainer.scorer(target) for target in targets]
    looked.run(need_cells=any(ABOUT[method].cells for method in methods))
    found = []
    for target, scorer in zip(targets, scorers, strict=True):
        score = float(scorer.score(looked.output)[0])
        for method in methods:
            raw, path = looked.map(method, target, scorer)
            covers = looked.covers if path else looked.size
            found.append(RawMap(raw.detach().float().cpu(), covers, method, target, path, score))
    return found


class _Looked:
    """One image that has gone through the model once, with the cells of the layers in question kept."""

    def __init__(self, explainer: Explainer[Any], index: int, layer: str | None, batch_size: int) -> None:
        self.explainer, self.index, self.batch_size = explainer, index, batch_size
        self.image = explainer.images[index : index + 1].clone().requires_grad_()
        self.size = (int(self.image.shape[-2]), int(self.image.shape[-1]))
        self.covers = padded(self.size) if explainer.pads else self.size
        self.asked = layer
        self.output: Any = None
        self.grids: list[Grid] = []
        self.attention: list[Tensor] = []

    def run(self, *, need_cells: bool) -> None:
        """Run the model."""
        model = self.explainer.model
        paths = self._paths() if need_cells else []
        with recorded(model, paths, self.covers) as grids:
            self.output = self.explainer.forward(self.image, self.index)
        if self.asked is None:
            self.grids = by_preference(grids)
        else:
            wanted = [grid for name, grid in grids.items() if numbered(self.asked)[1] in ("", numbered(name)[1])]
            self.grids = wanted[::-1]
            if need_cells and not self.grids:
                raise SuiteError(f"--layer {self.asked}: what it gives is no map of the image: name another layer")

    def _paths(self) -> list[str]:
        if self.asked is None:
            return self.explainer.layers()
        return [resolve_layer(self.explainer.model, numbered(self.asked)[0])]

    def map(self, method: Method, target: Target, scorer: Scorer) -> tuple[Tensor, str]:
        """The map, and the layer whose cells it has; no layer where it has pixels."""
        if method in GRADIENT and not scorer.differentiable:
            raise SuiteError(f"--method {method}: {NO_GRADIENT}")
        if method == "cam":
            return self._cam(target)
        if method in ATTENTION:
            return self._attention(method)
        if method == "integrated_gradients":
            return pixels.integrated_gradients(self.image, self._value(scorer), self.batch_size), ""
        if method == "occlusion":
            return pixels.occlusion(self.image, self._value(scorer), self.batch_size), ""
        grid, gradient = self._best(scorer)
        cells = grid.cells.detach()
        if method == "scorecam":
            with torch.no_grad():
                value = self._value(scorer)
                return cam.scorecam(cells, self.image.detach(), self.covers, value, self.batch_size), grid.layer
        compute = {"gradcam": cam.gradcam, "gradcam++": cam.gradcam_plusplus, "layercam": cam.layercam}[method]
        return compute(cells, gradient), grid.layer

    def _value(self, scorer: Scorer) -> Callable[[Tensor], Tensor]:
        return lambda images: scorer.value(self.explainer.forward(images, self.index))

    def _best(self, scorer: Scorer) -> tuple[Grid, Tensor]:
        """The layer that is preferred of those that the target depends on, and the gradient there.

        A level of a pyramid bears on no box of another level, and a transformer's last block passes on its class token
        alone where the head reads that.
        """
        if not scorer.differentiable:
            return self.grids[0], torch.zeros(0)
        value = scorer.value(self.output).sum()
        first: tuple[Grid, Tensor] | None = None
        for grid in self.grids:
            gradient = grid.gradient(value)
            first = first or (grid, gradient)
            if gradient.abs().max() > 0:
                return grid, gradient
        if first is None:
            raise SuiteError("the network has no layer whose output is a map of the image: take occlusion")
        return first

    def _cam(self, target: Target) -> tuple[Tensor, str]:
        if (reason := self.explainer.not_linear()) is not None:
            raise SuiteError(f"--method cam: {reason}: take gradcam")
        with torch.no_grad():
            cells = self.explainer.deepest_cells(self.image.detach(), self.index)
        return cam.cam(cells, self.explainer.linear_weights(target)), "backbone"

    def _attention(self, method: Method) -> tuple[Tensor, str]:
        net = self.explainer.model.backbone.net
        if (reason := rollout.why_not(net)) is not None:
            raise SuiteError(f"--method {method}: {reason}")
        if not self.attention:
            with torch.no_grad(), rollout.attending(net) as self.attention:
                self.explainer.forward(self.image.detach(), self.index)
        prefix = int(net.num_prefix_tokens)
        grid = rollout.grid_of(self.attention, prefix, self.covers)
        if grid is None:
            raise SuiteError(f"--method {method}: {rollout.NOT_ALL}")
        read = rollout.rolled_out if method == "rollout" else rollout.last_attention
        path = "backbone." + rollout.attention_blocks(net)[-1].rpartition(".")[0]
        return read(self.attention, prefix, grid, class_token=self.explainer.reads_class_token()), path
