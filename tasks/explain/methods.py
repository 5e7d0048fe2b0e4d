"""Methods of maps by name: what each is, and which networks it is refused for."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Method = Literal[
    "cam", "gradcam", "gradcam++", "layercam", "scorecam", "integrated_gradients", "occlusion", "rollout", "attention"
]
METHODS: tuple[Method, ...] = get_args(Method)


class About(NamedTuple):
    """A method for readers.

    Attributes:
        title: its name.
        source: where it was published.
        cells: whether its map has the cells of a layer, or else pixels.
        meaning: what a bright place says, in one line.
    """

    title: str
    source: str
    cells: bool
    meaning: str


ABOUT: dict[Method, About] = {
    "cam": About(
        "CAM", "Zhou et al., CVPR 2016", True,
        "adds to the class, exactly: the head is linear on the mean of these cells",
    ),
    "gradcam": About(
        "Grad-CAM", "Selvaraju et al., ICCV 2017", True,
        "has the channels by which the class rises; in segmentation Vinogradova, Dibrov and Myers, AAAI 2020",
    ),
    "gradcam++": About(
        "Grad-CAM++", "Chattopadhay et al., WACV 2018", True,
        "as Grad-CAM, with small cells that raise the class counting like large ones",
    ),
    "layercam": About(
        "Layer-CAM", "Jiang et al., IEEE Trans Image Process 30, 2021", True,
        "raises the class by its own gradient, cell by cell",
    ),
    "scorecam": About(
        "Score-CAM", "Wang et al., CVPR Workshops 2020", True,
        "has the channels that keep the class where they alone let the image through; no gradient",
    ),
    "integrated_gradients": About(
        "Integrated gradients", "Sundararajan, Taly and Yan, ICML 2017", False,
        "adds to the class on the way from a plain image to this one",
    ),
    "occlusion": About(
        "Occlusion", "Zeiler and Fergus, ECCV 2014", False,
        "lowers the class where a window there is made plain",
    ),
    "rollout": About(
        "Attention rollout", "Abnar and Zuidema, ACL 2020", True,
        "is gathered by attention over all blocks, whatever the class",
    ),
    "attention": About(
        "Attention of the last block", "Caron et al., ICCV 2021", True,
        "is attended to in the last block, whatever the class",
    ),
}  # fmt: skip
GRADIENT: frozenset[Method] = frozenset(("gradcam", "gradcam++", "layercam", "integrated_gradients"))
ATTENTION: frozenset[Method] = frozenset(("rollout", "attention"))
