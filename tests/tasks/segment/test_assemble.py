"""Cases put together from tiles and slices, against sums over the whole image in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from datamodules.loading.case_source import CaseSource
from datamodules.loading.case_stream import CaseStream, case_loader
from datamodules.preprocess import Preprocess
from datamodules.types import Piece, Scan, ScanInfo
from tasks.deployment.segmented import AssembledCase
from tasks.exported.segmentation.assemble import Size
from tasks.exported.segmentation.entropy import mean_entropy
from tasks.segment.assemble import (
    CaseAssembler,
    TileBlend,
    call_classes,
    gaussian_weights,
    resize_probabilities,
)
from tasks.segment.mask_entropy import entropy_sums


@dataclass
class Pieces:
    """What a loader would give of one image: its tiles with their probabilities."""

    probabilities: Tensor  # (n, K, h, w)
    pieces: list[Piece]
    scans: list[ScanInfo]


def starts(side: int, tile: int, step: int) -> list[int]:
    last = max(0, side - tile)
    return [*range(0, last, step), last]


def cut(
    size: Size,
    tile: Size,
    step: Size,
    *,
    classes: int = 3,
    case: int = 0,
    image: int = 0,
    images: int = 1,
    original: Size | None = None,
    seed: int = 0,
) -> Pieces:
    """Tiles of an image with random probabilities, that differ between tiles where these overlap."""
    generator = torch.Generator().manual_seed(seed)
    corners = [(t, left) for t in starts(size[0], tile[0], step[0]) for left in starts(size[1], tile[1], step[1])]
    pieces = [Piece(case, image, images, top, left, size, last=(top, left) == corners[-1]) for top, left in corners]
    scan = ScanInfo(case_id=f"c{case}", slice=image, original_size=original or size, content_size=size)
    logits = 3 * torch.randn(len(corners), classes, *tile, generator=generator)
    return Pieces(logits.softmax(dim=1), pieces, [scan] * len(corners))


def blended(image: Pieces) -> Tensor:
    """(K, H, W) float64: every tile on a map of the whole image."""
    height, width = image.pieces[0].size
    _, classes, h, w = image.probabilities.shape
    weights = gaussian_weights((h, w)).double()
    total, weight = torch.zeros(classes, height + h, width + w).double(), torch.zeros(height + h, width + w).double()
    for probabilities, piece in zip(image.probabilities.double(), image.pieces, strict=True):
        rows, columns = slice(piece.top, piece.top + h), slice(piece.left, piece.left + w)
        total[:, rows, columns] += weights * probabilities
        weight[rows, columns] += weights
    return (total / weight)[:, :height, :width]


def feed(assembler: CaseAssembler, image: Pieces, batch: int = 4) -> list[AssembledCase]:
    complete = []
    for start in range(0, len(image.pieces), batch):
        some = slice(start, start + batch)
        complete += assembler.add(image.probabilities[some], image.pieces[some], image.scans[some])
    return complete


def uncertainty_of(*maps: Tensor, overlapping: bool = False) -> NDArray[np.float64]:
    """Of a case with (K, H, W) probabilities of each of its images."""
    sums = [
        entropy_sums(one[None], call_classes(one[None], overlapping=overlapping), overlapping=overlapping)[0]
        for one in maps
    ]
    return mean_entropy(np.sum(sums, axis=0))


def test_weights_have_an_eighth_of_the_tile_as_deviation() -> None:
    weights = gaussian_weights((65, 32))
    assert weights.shape == (65, 32)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, weights.flip(0, 1))
    assert weights.min() == pytest.approx(1e-3)
    assert weights[32].max() == pytest.approx(np.exp(-0.5 * (0.5 / 4) ** 2))
    assert weights[32 + 8, 15] / weights[32, 15] == pytest.approx(np.exp(-0.5 * (8 / (65 / 8)) ** 2), rel=1e-6)
    assert gaussian_weights((1, 1)).item() == 1


@pytest.mark.parametrize(
    ("size", "tile", "step"),
    [
        ((37, 53), (16, 16), (8, 8)),
        ((61, 40), (17, 40), (5, 40)),
        ((23, 45), (23, 11), (23, 3)),
        ((33, 29), (10, 12), (10, 12)),  # overlapping at the last ones only
        ((9, 50), (16, 16), (8, 11)),  # filled up below
        ((50, 9), (16, 16), (11, 8)),  # filled up on the right
    ],
)
def test_bands_give_the_blend_of_the_whole_map(size: Size, tile: Size, step: Size) -> None:
    image = cut(size, tile, step)
    expected = blended(image)
    blend = TileBlend(3, min(tile[0], size[0]), size[1], torch.device("cpu"))
    bands = []
    for probabilities, piece in zip(image.probabilities, image.pieces, strict=True):
        if piece.top > blend.top:
            bands.append(blend.advance(piece.top))
        blend.add(probabilities, gaussian_weights(tile), piece.top, piece.left)
    bands.append(blend.advance(size[0]))
    torch.testing.assert_close(torch.cat(bands, dim=1).double(), expected, rtol=0, atol=1e-6)

    (case,) = feed(CaseAssembler(overlapping=False), image)
    top = expected.topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-5).numpy()
    assert case.planes.shape == (1, *size)
    assert case.planes.dtype == np.uint8
    assert (case.planes[0] == expected.argmax(dim=0).numpy())[clear].all()
    assert clear.mean() > 0.99
    # A pixel at a threshold may fall on the other side of it.
    np.testing.assert_allclose(case.uncertainty, uncertainty_of(expected), atol=1e-3)

    (case,) = feed(CaseAssembler(overlapping=True), image)
    clear = ((expected - 0.5).abs() > 1e-5).numpy()
    assert case.planes.shape == (1, 3, *size)
    assert (case.planes[0] == (expected > 0.5).numpy())[clear].all()
    np.testing.assert_allclose(case.uncertainty, uncertainty_of(expected, overlapping=True), atol=1e-3)


def test_constant_probabilities_stay_constant() -> None:
    image = cut((41, 39), (16, 12), (5, 7))
    blend = TileBlend(3, 41, 39, torch.device("cpu"))
    constant = torch.tensor([0.2, 0.7, 0.1])[:, None, None].expand(3, 16, 12)
    for piece in image.pieces:
        blend.add(constant, gaussian_weights((16, 12)), piece.top, piece.left)
    torch.testing.assert_close(blend.advance(41), torch.tensor([0.2, 0.7, 0.1])[:, None, None].expand(3, 41, 39))


def test_accumulators_hold_one_band() -> None:
    image = cut((200, 70), (16, 16), (8, 8))
    assembler = CaseAssembler(overlapping=False)
    for number, (probabilities, piece, scan) in enumerate(
        zip(image.probabilities, image.pieces, image.scans, strict=True)
    ):
        complete = assembler.add(probabilities[None], [piece], [scan])
        if number + 1 < len(image.pieces):
            assert not complete
            assert assembler.open_cases == 1
            blend = assembler._open[0].images[0].blend
            assert isinstance(blend, TileBlend)
            assert blend.total.shape == (3, 16, 70)
            assert blend.total.untyped_storage().nbytes() == 4 * 3 * 16 * 70
            assert blend.top == piece.top
    assert [case.case for case in complete] == [0]
    assert assembler.open_cases == 0


def test_tiles_of_an_image_that_was_resized() -> None:
    for original in ((90, 61), (20, 31), (60, 20)):
        image = cut((45, 38), (16, 16), (9, 9), original=original)
        (case,) = feed(CaseAssembler(overlapping=True), image)
        shrinks = original[0] < 45 or original[1] < 38
        expected = F.interpolate(blended(image)[None], original, mode="bilinear", antialias=shrinks)[0]
        clear = ((expected - 0.5).abs() > 1e-5).numpy()
        assert (case.planes[0] == (expected > 0.5).numpy())[clear].all()
        np.testing.assert_allclose(case.uncertainty, uncertainty_of(expected, overlapping=True), atol=1e-3)


def test_sides_that_shrink_are_averaged_and_sides_that_grow_interpolated() -> None:
    generator = torch.Generator().manual_seed(0)
    map_ = torch.rand(1, 2, 40, 30, generator=generator)
    assert torch.equal(resize_probabilities(map_, (40, 30)), map_)
    grown = F.interpolate(map_, (63, 44), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize_probabilities(map_, (63, 44)), grown)
    # A triangle as wide as the shrinking asks for, row by row in float64.
    shrunk = resize_probabilities(map_, (13, 30))
    scale = 40 / 13
    centres = (np.arange(13) + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(40) + 0.5 - centres[:, None]) / scale, 0, None)
    expected = np.einsum("rh,bkhw->bkrw", weights / weights.sum(axis=1, keepdims=True), map_.double().numpy())
    np.testing.assert_allclose(shrunk.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(
        resize_probabilities(torch.full((1, 1, 40, 30), 0.3), (7, 90)), torch.full((1, 1, 7, 90), 0.3)
    )


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_batch_of_whole_images_of_several_sizes(overlapping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    probabilities = (3 * torch.randn(6, 3, 16, 20, generator=generator)).softmax(dim=1)
    contents: list[Size] = [(16, 20), (16, 20), (11, 20), (11, 20), (16, 9), (16, 9)]
    originals: list[Size] = [(16, 20), (16, 20), (30, 50), (30, 50), (8, 9), (8, 9)]
    # The image the model sees was filled up (4 and 5), or the tile was (2 and 3).
    sizes: list[Size] = [(16, 20), (16, 20), (11, 20), (11, 20), (16, 20), (16, 20)]
    pieces = [Piece(case, 0, 1, 0, 0, size, True) for case, size in enumerate(sizes)]
    scans = [
        ScanInfo(original_size=original, content_size=content)
        for original, content in zip(originals, contents, strict=True)
    ]
    complete = CaseAssembler(overlapping).add(probabilities, pieces, scans)
    monkeypatch.setattr("tasks.exported.segmentation.assemble._VALUES_AT_ONCE", 1)  # as where the scans are very large
    one_by_one = CaseAssembler(overlapping).add(probabilities, pieces, scans)
    assert [case.case for case in complete] == [case.case for case in one_by_one] == list(range(6))
    for case, other in zip(complete, one_by_one, strict=True):
        height, width = contents[case.case]
        map_ = probabilities[case.case : case.case + 1, :, :height, :width]
        map_ = resize_probabilities(map_, originals[case.case])[0]
        expected = map_ > 0.5 if overlapping else map_.argmax(dim=0)
        np.testing.assert_array_equal(case.planes[0], expected.numpy())
        np.testing.assert_array_equal(other.planes, case.planes)
        np.testing.assert_allclose(case.uncertainty, uncertainty_of(map_, overlapping=overlapping), rtol=1e-6)
        np.testing.assert_allclose(other.uncertainty, case.uncertainty, rtol=1e-6)


def test_what_is_filled_up_never_reaches_the_mask() -> None:
    whole = torch.zeros(1, 2, 8, 8)
    whole[:, 0, :5, :6], whole[:, 1, 5:], whole[:, 1, :, 6:] = 1, 1, 1
    piece, scan = Piece(0, 0, 1, 0, 0, (5, 6), True), ScanInfo(original_size=(10, 12))
    (case,) = CaseAssembler(overlapping=False).add(whole, [piece], [scan])
    np.testing.assert_array_equal(case.planes, np.zeros((1, 10, 12)))
    assert case.uncertainty.tolist() == [0]

    for original in ((5, 13), (7, 26)):
        image = cut((5, 13), (8, 8), (4, 4), classes=2, original=original)
        image.probabilities[:] = torch.tensor([1.0, 0.0])[:, None, None]
        image.probabilities[:, :, 5:] = torch.tensor([0.0, 1.0])[:, None, None]
        (case,) = feed(CaseAssembler(overlapping=False), image)
        np.testing.assert_array_equal(case.planes, np.zeros((1, *original)))
        assert case.uncertainty.tolist() == [0]


def test_cases_that_mix_come_out_as_one_after_the_other() -> None:
    # Case 0 is a volume of 3 slices, 1 an image in tiles, 2 a photograph, 3 a volume whose slices come in tiles.
    cases = {
        0: [cut((16, 16), (16, 16), (8, 8), case=0, image=i, images=3, seed=i) for i in range(3)],
        1: [cut((40, 21), (16, 16), (8, 8), case=1, seed=5)],
        2: [cut((12, 9), (16, 16), (8, 8), case=2, seed=6)],
        3: [cut((20, 30), (16, 16), (8, 8), case=3, image=i, images=2, seed=7 + i) for i in range(2)],
    }
    alone = {}
    for number, images in cases.items():
        assembler = CaseAssembler(overlapping=False)
        complete = [case for image in images for case in feed(assembler, image)]
        assert [case.case for case in complete] == [number]
        assert assembler.open_cases == 0
        alone[number] = complete[0]
    assert alone[0].planes.shape == (3, 16, 16)
    assert alone[3].planes.shape == (2, 20, 30)

    queues = [
        [(p, piece, scan) for i in images for p, piece, scan in zip(i.probabilities, i.pieces, i.scans, strict=True)]
        for images in cases.values()
    ]
    assembler, done, most = CaseAssembler(overlapping=False), {}, 0
    generator = np.random.default_rng(0)
    while any(queues):
        batch = []
        for _ in range(3):
            left = [queue for queue in queues if queue]
            if left:
                batch.append(left[generator.integers(len(left))].pop(0))
        probabilities, pieces, scans = zip(*batch, strict=True)
        for case in assembler.add(torch.stack(probabilities), pieces, scans):
            done[case.case] = case
        most = max(most, assembler.open_cases)
    assert most > 1
    assert assembler.open_cases == 0
    assert sorted(done) == [0, 1, 2, 3]
    for number, case in done.items():
        np.testing.assert_array_equal(case.planes, alone[number].planes)
        np.testing.assert_allclose(case.uncertainty, alone[number].uncertainty, rtol=1e-6)
        assert case.scan["case_id"] == f"c{number}"
        assert case.scan["slice"] == 0


def test_slices_may_come_in_any_order() -> None:
    slices = [cut((9, 7), (9, 7), (9, 7), image=i, images=3, seed=i) for i in range(3)]
    assembler = CaseAssembler(overlapping=False)
    (case,) = [case for i in (2, 0, 1) for case in feed(assembler, slices[i])]
    expected = [call_classes(one.probabilities, overlapping=False)[0].numpy() for one in slices]
    np.testing.assert_array_equal(case.planes, np.stack(expected))
    # All pixels of the volume together: a slice that shows little of a class weighs little.
    np.testing.assert_allclose(case.uncertainty, uncertainty_of(*(one.probabilities[0] for one in slices)), rtol=1e-6)
    assert case.scan["slice"] == 0


@pytest.mark.parametrize(("wrong", "said"), [([0, 2, 1], "begins at row 8"), ([0, 3], "no tile held rows 16 to 24")])
def test_tiles_out_of_order_are_an_error(wrong: list[int], said: str) -> None:
    image = cut((40, 16), (16, 16), (8, 8))
    assembler = CaseAssembler(overlapping=False)
    *before, last = [(image.probabilities[i : i + 1], [image.pieces[i]], [image.scans[i]]) for i in wrong]
    for batch in before:
        assembler.add(*batch)
    with pytest.raises(ValueError, match=said):
        assembler.add(*last)


def test_pieces_that_do_not_fit_are_an_error() -> None:
    assembler = CaseAssembler(overlapping=False)
    feed(assembler, cut((16, 16), (16, 16), (8, 8), images=2))
    other = cut((16, 12), (16, 16), (8, 8), image=1, images=2)
    with pytest.raises(ValueError, match="another size"):
        feed(assembler, other)
    with pytest.raises(ValueError, match="shorter"):
        assembler.add(other.probabilities, other.pieces * 2, other.scans)


def test_a_case_that_breaks_off_is_dropped() -> None:
    assembler = CaseAssembler(overlapping=False)
    for number in range(2):
        image = cut((16, 16), (16, 16), (8, 8), case=number, images=2)
        image.scans[0]["path"] = f"{number}.nii.gz"
        feed(assembler, image)
    assembler.drop("1.nii.gz")
    assert assembler.open_cases == 1
    (case,) = feed(assembler, cut((16, 16), (16, 16), (8, 8), case=0, image=1, images=2))
    assert case.case == 0


class Arrays(CaseSource):
    """Cases in memory: 8-bit photographs, and stacks of slices."""

    def __init__(self, cases: list[NDArray[np.uint8]]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def scan_of(self, case: int) -> ScanInfo:
        return ScanInfo(case_id=f"c{case}", path=f"c{case}.png", patient_id=None)

    def images(self, case: int) -> list[Scan]:
        planes = self.cases[case]
        return [
            Scan(plane, ScanInfo(original_size=(plane.shape[0], plane.shape[1]), slice=number))
            for number, plane in enumerate(planes)
        ]


@pytest.mark.parametrize("tile", [None, (16, 24)])
@pytest.mark.parametrize("workers", [0, 2])
def test_through_the_loader_and_back(tile: Size | None, workers: int) -> None:
    """A network that calls a pixel by its own value gives the thresholds of the scan, wherever the pixel lay."""
    generator = np.random.default_rng(0)
    shapes = [(1, 50, 61), (5, 20, 30), (1, 9, 70), (3, 40, 40), (1, 16, 24)]
    cases = [generator.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    stream = CaseStream(Arrays(cases), Preprocess(channels=1), batch_size=4, tile=tile, overlap=0.5)
    loader = case_loader(stream, num_workers=workers)
    assembler, found = CaseAssembler(overlapping=False), {}
    for batch in loader:
        grey = batch["image"]
        probabilities = torch.cat([1 - grey, grey], dim=1)
        for case in assembler.add(probabilities, batch["pieces"], batch["scan"]):
            found[case.scan["case_id"]] = case.planes
    assert assembler.open_cases == 0
    assert sorted(found) == [f"c{case}" for case in range(5)]
    for number, planes in enumerate(cases):
        np.testing.assert_array_equal(found[f"c{number}"], planes > 127)
