"""The tissue of one phantom: body, fat, organs, vessels, calcifications and lesions, as a signal before the scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.phantoms import shapes
from datamodules.phantoms.plan import ANATOMY, CUT, POSITION, Lesion, stream
from datamodules.phantoms.shapes import Curve, Floats


@dataclass(frozen=True)
class Grid:
    """Grid of pixels in millimetres about the centre of the image.

    Attributes:
        size: side of the square image in pixels.
        spacing: mm per pixel.
        centre: of the patient in the image, mm (x, y).
        rotation: of the patient, radians.
    """

    size: int
    spacing: float
    centre: Curve
    rotation: float

    def pixels(self, points: Curve) -> Curve:
        """Points (N, 2) of the patient in mm -> pixel coordinates x, y."""
        return (shapes.rotated(points, self.rotation) + self.centre) / self.spacing + (self.size - 1) / 2


@dataclass(frozen=True)
class Anatomy:
    """Anatomy that the scans of a patient share, and what the slice of one of them changes (lengths in mm)."""

    body: Curve  # (POINTS, 2)
    organ_centre: Curve
    organ_radius: Curve  # (POINTS,), at shapes.THETA
    neighbour: Curve  # (POINTS, 2), the second organ
    vessels: tuple[tuple[Curve, float], ...]  # points (N, 2) and calibre
    signal: dict[str, float]

    def inside(self, angle: float, depth: float) -> Curve:
        """The point of the organ in a direction, at a fraction of its radius there."""
        radius = np.interp(angle % (2.0 * np.pi), shapes.THETA, self.organ_radius, period=2.0 * np.pi)
        return self.organ_centre + depth * radius * np.array([np.cos(angle), np.sin(angle)])


def anatomy_of(patient: int, scan: int, seed: int) -> Anatomy:
    """Draw the anatomy of a patient in the slice of one scan.

    Outlines and vessels are the patient's; another slice changes them by a few per cent and the organ's size by up to
    a tenth.
    """
    rng = stream(seed, ANATOMY, patient)
    cut = stream(seed, CUT, patient, scan)
    body = shapes.DIRECTIONS * np.array([68.0, 61.0]) * (0.94 + 0.1 * rng.random())
    body = body * shapes.wavy(rng, 0.03)[:, None]
    centre = 8.0 * (rng.random(2) - 0.5)
    radius = (40.0 + 7.0 * rng.random()) * shapes.wavy(rng, 0.18)
    radius = radius * shapes.wavy(cut, 0.05) * (0.92 + 0.12 * cut.random())
    radius = np.minimum(radius, 56.0)
    direction = 2.0 * np.pi * rng.random()
    size = 15.0 + 8.0 * rng.random()
    place = centre + 45.0 * np.array([np.cos(direction), np.sin(direction)])
    neighbour = place + size * shapes.DIRECTIONS * shapes.wavy(rng, 0.15)[:, None] * (0.85 + 0.3 * cut.random())
    u = rng.random(5)
    signal = {
        "fat": 0.72 + 0.12 * u[0],
        "tissue": 0.26 + 0.08 * u[1],
        "organ": 0.46 + 0.1 * u[2],
        "neighbour": 0.36 + 0.3 * u[3],
        "vessel": 0.1,
    }
    vessels = _vessels(rng, cut, centre, radius)
    return Anatomy(body, centre, radius, neighbour, vessels, signal)


def _vessels(
    rng: np.random.Generator, cut: np.random.Generator, centre: Curve, radius: Curve
) -> tuple[tuple[Curve, float], ...]:
    """Three to five curved vessels that fan out from one hilum at the edge of the organ, each with one branch."""
    hilum = 2.0 * np.pi * rng.random()
    root = centre + 0.95 * float(radius[int(hilum / (2.0 * np.pi) * shapes.POINTS)]) * _unit(hilum)
    t = np.linspace(0.0, 1.0, 12)[:, None]
    lines: list[tuple[Curve, float]] = []
    for _ in range(int(rng.integers(3, 6))):
        u = rng.random(6) + 0.08 * cut.standard_normal(6)
        end = centre + 40.0 * (0.3 + 0.5 * u[0]) * _unit(hilum + np.pi + 2.6 * (u[1] - 0.5))
        bend = (root + end) / 2 + 16.0 * (u[2:4] - 0.5)
        line = (1 - t) ** 2 * root + 2 * t * (1 - t) * bend + t**2 * end
        lines.append((line, 2.0))
        side = line[6] + (8.0 + 10.0 * u[4]) * _unit(hilum + np.pi + 4.0 * (u[5] - 0.5))
        lines.append((np.stack([line[6], side]), 1.2))
    return tuple(lines)


def _unit(angle: float) -> Curve:
    return np.array([np.cos(angle), np.sin(angle)])


def tissue_signal(
    anatomy: Anatomy, grid: Grid, lesions: tuple[Lesion, ...], rng: np.random.Generator
) -> tuple[Floats, NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Draw the tissue and say what is where.

    Args:
        anatomy: of the patient in this slice.
        grid: of this scan.
        lesions: that this slice goes through.
        rng: source of textures and of the vessels and calcifications that only this slice cuts.

    Returns:
        The signal (size, size); the organ (size, size) as 0 and 1; and each lesion's own pixels (size, size).
    """
    size, signal = grid.size, anatomy.signal
    body = shapes.fill(grid.pixels(anatomy.body), size).astype(np.float32)
    inner = shapes.fill(grid.pixels(anatomy.body * 0.93), size).astype(np.float32)
    outline = anatomy.organ_centre + anatomy.organ_radius[:, None] * shapes.DIRECTIONS
    organ = shapes.fill(grid.pixels(outline), size)
    soft = shapes.blurred(organ.astype(np.float32), 0.8 / grid.spacing)
    neighbour = shapes.fill(grid.pixels(anatomy.neighbour), size).astype(np.float32) * inner
    image = np.float32(signal["fat"]) * body
    image += np.float32(signal["tissue"] - signal["fat"]) * inner * (1 + np.float32(0.12) * shapes.lumpy(rng, size, 18))
    image += (np.float32(signal["neighbour"]) - image) * shapes.blurred(neighbour, 0.8 / grid.spacing)
    image += (np.float32(signal["organ"]) - image) * soft
    image += soft * (np.float32(0.020) * shapes.lumpy(rng, size, 11) + np.float32(0.016) * shapes.lumpy(rng, size, 34))
    image += soft * np.float32(signal["vessel"]) * _vessel_coverage(anatomy, grid, rng)
    masks: list[NDArray[np.bool_]] = []
    free = np.ones((size, size), np.bool_)
    for lesion in lesions:
        mask = _add_lesion(image, lesion, grid, anatomy) & free
        free &= ~mask
        masks.append(mask)
    _add_calcifications(image, anatomy, grid, rng)
    return image, organ, masks


def _vessel_coverage(anatomy: Anatomy, grid: Grid, rng: np.random.Generator) -> Floats:
    """Vessels along the slice, and two to six cut across: round spots that a detector may take for lesions."""
    lines = [(grid.pixels(points), max(1, round(calibre / grid.spacing))) for points, calibre in anatomy.vessels]
    coverage = shapes.stroke(lines, grid.size) * np.float32(0.8)
    for _ in range(int(rng.integers(2, 7))):
        u = rng.random(3)
        middle = anatomy.inside(2.0 * np.pi * u[0], 0.9 * float(np.sqrt(u[1])))
        spot = shapes.fill(grid.pixels(middle + (1.3 + 1.4 * u[2]) * shapes.DIRECTIONS), grid.size)
        np.maximum(coverage, spot, out=coverage)
    return coverage


def _add_calcifications(image: Floats, anatomy: Anatomy, grid: Grid, rng: np.random.Generator) -> None:
    """Up to three bright points anywhere in the organ, whatever the diagnosis."""
    for u in rng.random((int(rng.integers(0, 4)), 3)):
        point = grid.pixels(anatomy.inside(2.0 * np.pi * u[0], 0.9 * float(np.sqrt(u[1])))[None])[0]
        x, y = np.clip(np.round(point), 0, grid.size - 1).astype(int)
        image[y, x] += np.float32(0.35 + 0.25 * u[2])


def _add_lesion(image: Floats, lesion: Lesion, grid: Grid, anatomy: Anatomy) -> NDArray[np.bool_]:
    """Add one lesion to the signal and return its pixels.

    Both kinds go through one recipe, led by how suspicious the lesion looks: lobes and spicules of the outline, lumps
    of the interior and strength of the halo (the shape, margin and density descriptors of the ACR BI-RADS atlas). Each
    of these traits wanders a little on its own.
    """
    rng = np.random.Generator(np.random.PCG64(lesion.shape))
    margin, interior, halo = np.clip(lesion.suspicion + 0.08 * rng.standard_normal(3), 0.0, 1.0) ** 1.5
    stretch = 0.75 + 0.25 * rng.random()
    tilt = 2.0 * np.pi * rng.random()
    relative = shapes.wavy(rng, 0.05 + 0.3 * float(margin)) * (1.0 - 0.25 * margin)
    ellipse = shapes.rotated(shapes.DIRECTIONS * np.array([1.0, stretch]), tilt)
    relative = relative + shapes.spikes(rng, 0.9 * float(margin))
    outline = anatomy.inside(lesion.angle, lesion.depth) + lesion.radius * relative[:, None] * ellipse
    mask = shapes.fill(grid.pixels(outline), grid.size)
    inside = shapes.blurred(mask.astype(np.float32), lesion.edge / grid.spacing)
    around = shapes.blurred(mask.astype(np.float32), 0.55 * lesion.radius / grid.spacing)
    lumps = shapes.lumpy(rng, grid.size, 36)
    # Bounded lumps to both sides: lesions stay within the values of other tissue, so no histogram tells the kind.
    inside *= np.clip(1 + np.float32(interior) * (np.float32(1.6) * lumps - np.float32(0.6)), -1.1, 1.3)
    image += np.float32(lesion.contrast) * np.maximum(inside, np.float32(0.45 * halo) * around)
    return mask.astype(np.bool_)


def grid_of(patient: int, scan: int, seed: int, size: int, spacing: float) -> Grid:
    """The position of the patient in one scan: shifted by up to 5 mm and turned by up to 12 degrees."""
    rng = stream(seed, POSITION, patient, scan)
    shift = 10.0 * (rng.random(2) - 0.5)
    return Grid(size, spacing, shift, float(0.42 * (rng.random() - 0.5)))
