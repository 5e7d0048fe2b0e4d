"""The phantoms: what is drawn depends on the arguments alone, and every truth agrees with every other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from datamodules.cases.table import case_id_of, table_of_images
from datamodules.phantoms.cohort import cohort
from datamodules.phantoms.draw import PhantomScan, draw, tight_box
from datamodules.phantoms.plan import CLASS_NAMES, SEGMENTATION_CLASSES, SITES, plan_patient, seen_lesions
from datamodules.phantoms.scanner import SCANNERS
from datamodules.phantoms.shapes import lumpy
from scansuite.errors import SuiteError

SEED = 3


def same(a: PhantomScan, b: PhantomScan) -> bool:
    arrays = ("image", "mask", "boxes", "labels")
    return a.spacing == b.spacing and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)


@pytest.fixture(scope="module")
def scans() -> dict[tuple[int, int], PhantomScan]:
    table = cohort(60, SEED, 0.5)
    return {(p, s): draw(p, s, seed=SEED) for p, s in zip(table["patient"], table["scan"], strict=True)}


def test_draw_depends_on_its_arguments_alone(scans: dict[tuple[int, int], PhantomScan]) -> None:
    np.random.seed(0)
    for key in list(scans)[::-7]:  # another order, and another state of the global generator
        np.random.rand(3)
        assert same(draw(*key, seed=SEED), scans[key])


def test_every_argument_matters() -> None:
    scan = draw(4, 0, seed=SEED)
    assert not np.array_equal(draw(4, 1, seed=SEED).image, scan.image)
    assert not np.array_equal(draw(5, 0, seed=SEED).image, scan.image)
    assert not np.array_equal(draw(4, 0, seed=SEED + 1).image, scan.image)
    assert not np.array_equal(draw(4, 0, seed=SEED, difficulty=0.6).image, scan.image)


def test_drawing_leaves_the_global_generator_alone() -> None:
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    draw(0, 0, seed=SEED)
    assert np.random.rand() == expected


def test_types_and_ranges(scans: dict[tuple[int, int], PhantomScan]) -> None:
    for scan in scans.values():
        assert scan.image.dtype == np.uint16
        assert scan.mask.dtype == np.uint8
        assert scan.boxes.dtype == np.float32
        assert scan.labels.dtype == np.int64
        assert scan.image.shape == scan.mask.shape == (96, 96)
        assert scan.boxes.shape == (len(scan.labels), 4)
        assert not (scan.image % 16).any(), "12 bits, left-justified"
        assert scan.mask.max() < len(SEGMENTATION_CLASSES)
        assert set(scan.labels.tolist()) <= set(range(len(CLASS_NAMES)))
        assert 0.08 < (scan.mask > 0).mean() < 0.7, "the organ is there and does not fill the image"
        assert (scan.image >= 65520).mean() < 0.02, "hardly saturated"
        assert np.percentile(scan.image, 99) > 0.35 * 65535, "uses its range"


def test_boxes_are_tight_around_the_lesions_of_the_mask(scans: dict[tuple[int, int], PhantomScan]) -> None:
    seen = 0
    for scan in scans.values():
        height, width = scan.mask.shape
        for kind in range(len(CLASS_NAMES)):
            region, boxes = scan.mask == kind + 2, scan.boxes[scan.labels == kind]
            covered = np.zeros_like(region)
            for x1, y1, x2, y2 in boxes.astype(int):
                assert 0 <= x1 < x2 <= width
                assert 0 <= y1 < y2 <= height
                inside = region[y1:y2, x1:x2]
                edges = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
                assert all(edge.any() for edge in edges), "each side touches the lesion"
                covered[y1:y2, x1:x2] = True
                seen += 1
            assert not (region & ~covered).any(), "no lesion pixel outside a box"
            # Seen from the mask alone: one connected piece a lesion, each with its box.
            pieces = ndimage.find_objects(ndimage.label(region, np.ones((3, 3)))[0])
            found = {(x.start, y.start, x.stop, y.stop) for y, x in pieces}
            if len(found) == len(boxes):
                assert found == {tuple(box) for box in boxes.astype(int).tolist()}
    assert seen > 50


def test_lesions_are_separate_pieces_nearly_always(scans: dict[tuple[int, int], PhantomScan]) -> None:
    agree = [ndimage.label(scan.mask >= 2, np.ones((3, 3)))[1] == len(scan.labels) for scan in scans.values()]
    assert np.mean(agree) > 0.95


def test_a_scan_without_lesions_keeps_empty_boxes(scans: dict[tuple[int, int], PhantomScan]) -> None:
    empty = [scan for scan in scans.values() if len(scan.labels) == 0]
    assert len(empty) > 5
    assert all(scan.boxes.shape == (0, 4) and scan.mask.max() == 1 and scan.label == 0 for scan in empty)


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_labels_agree_with_the_table(difficulty: float) -> None:
    table = cohort(25, SEED, difficulty)
    for _, row in table.iterrows():
        scan = draw(row["patient"], row["scan"], seed=SEED, difficulty=difficulty)
        assert scan.label == row["label"] == int((scan.mask == 3).any())
        assert len(scan.boxes) == row["lesions"]
        assert row["lesions"] == 0 or row["lesion_mm"] > 2 * scan.spacing[0]


def test_no_lesion_is_lost_at_any_size_or_difficulty() -> None:
    table = cohort(40, SEED, 1.0)
    for patient, number, lesions in zip(table["patient"], table["scan"], table["lesions"], strict=True):
        scan = draw(patient, number, seed=SEED, size=32, difficulty=1.0)
        assert len(scan.boxes) == lesions
        assert (scan.mask >= 2).any() == (lesions > 0)
        assert (scan.boxes[:, 2:] - scan.boxes[:, :2]).min(initial=2) >= 2


def test_another_size_shows_the_same_patient() -> None:
    for patient in range(6):
        small, large = draw(patient, 0, seed=SEED, size=64), draw(patient, 0, seed=SEED, size=192)
        assert small.labels.tolist() == large.labels.tolist()
        np.testing.assert_allclose(small.boxes * 3, large.boxes, atol=7)
        assert small.spacing[0] == pytest.approx(3 * large.spacing[0])
        organ_small, organ_large = small.mask > 0, large.mask[1::3, 1::3] > 0
        overlap = 2 * (organ_small & organ_large).sum() / (organ_small.sum() + organ_large.sum())
        assert overlap > 0.95


def test_scans_of_a_patient_share_the_anatomy() -> None:
    def organ_overlap(a: PhantomScan, b: PhantomScan) -> float:
        x, y = (np.roll(s.mask > 0, _to_middle(s.mask > 0), (0, 1)) for s in (a, b))
        return float(2 * (x & y).sum() / (x.sum() + y.sum()))

    own = [organ_overlap(draw(p, 0, seed=SEED), draw(p, 1, seed=SEED)) for p in range(20)]
    others = [organ_overlap(draw(p, 0, seed=SEED), draw(p + 1, 1, seed=SEED)) for p in range(20)]
    assert np.mean(own) > np.mean(others) + 0.02


def _to_middle(region: np.ndarray) -> tuple[int, int]:
    row, column = ndimage.center_of_mass(region)
    return round(region.shape[0] / 2 - row), round(region.shape[1] / 2 - column)


def test_table_has_its_columns_and_subgroups() -> None:
    table = cohort(300, SEED, 0.5)
    expected = ["path", "patient_id", "label", "site", "age", "sex", "lesions", "lesion_mm", "patient", "scan"]
    assert list(table.columns) == expected
    assert table["path"].is_unique
    assert table["path"].map(case_id_of).tolist() == table["path"].tolist(), "no part of the name is taken for a suffix"
    assert table.groupby("patient_id")["site"].nunique().max() == 1
    assert set(table["site"]) == set(SITES) == set(SCANNERS)
    assert set(table["sex"]) == {"F", "M"}
    assert table["age"].between(20, 90).all()
    assert set(table.groupby("patient").size()) == {1, 2, 3, 4}
    assert table["patient_id"].nunique() == 300
    assert set(table["label"]) == {0, 1}
    assert table["lesion_mm"].isna().eq(table["lesions"].eq(0)).all()
    assert len(table_of_images(table)) == len(table)


def test_prevalence_and_associations_hold_in_the_large() -> None:
    table = cohort(4000, SEED, 0.5)
    assert table["label"].mean() == pytest.approx(0.4, abs=0.02)
    assert len(table) == pytest.approx(2.5 * 4000, rel=0.02)
    ages = table.groupby("label")["age"].mean()
    assert 2 < ages[1] - ages[0] < 8, "weakly correlated with malignancy"
    for column in ("site", "sex"):
        prevalence = table.groupby(column)["label"].mean()
        assert prevalence.max() - prevalence.min() < 0.05, "no shortcut"
    assert 0.15 < (table["lesions"] == 0).mean() < 0.35


def test_a_larger_cohort_begins_with_the_smaller() -> None:
    small, large = cohort(10, SEED, 0.5), cohort(30, SEED, 0.5)
    assert large.iloc[: len(small)].equals(small)


def test_difficulty_changes_no_label() -> None:
    tables = [cohort(50, SEED, difficulty) for difficulty in (0.0, 0.5, 1.0)]
    assert tables[0]["label"].equals(tables[1]["label"])
    assert tables[0]["label"].equals(tables[2]["label"])
    sizes = [table["lesion_mm"].mean() for table in tables]
    assert sizes[0] > sizes[1] > sizes[2]


def test_difficulty_blurs_the_line_between_the_kinds() -> None:
    def suspicion(difficulty: float) -> tuple[list[float], list[float]]:
        lesions = [lesion for patient in range(300) for lesion in plan_patient(patient, SEED, difficulty).lesions]
        return ([le.suspicion for le in lesions if not le.malignant], [le.suspicion for le in lesions if le.malignant])

    benign, malignant = suspicion(0.0)
    assert max(benign) < min(malignant)
    benign, malignant = suspicion(1.0)
    assert max(benign) > min(malignant)
    assert np.mean(benign) < 0.35 < 0.65 < np.mean(malignant)


def test_a_lesion_missed_by_the_slice_is_not_drawn() -> None:
    missed = 0
    for patient in range(40):
        plan = plan_patient(patient, SEED, 0.5)
        for scan in range(plan.scans):
            seen = seen_lesions(plan, patient, scan, SEED)
            assert {lesion.shape for lesion in seen} <= {lesion.shape for lesion in plan.lesions}
            missed += len(plan.lesions) - len(seen)
    assert missed > 0


def test_site_b_is_noisier() -> None:
    def noise(patient: int) -> float:
        scan = draw(patient, 0, seed=SEED)
        bends = np.diff(scan.image.astype(float), n=2, axis=1)  # tissue is smooth at this scale, noise is not
        return float(np.median(np.abs(bends)[scan.mask[:, 1:-1] == 1]))

    sites = [plan_patient(patient, SEED, 0.5).site for patient in range(60)]
    levels = {site: np.mean([noise(p) for p in range(60) if sites[p] == site]) for site in SITES}
    assert levels["B"] > 1.2 * levels["A"]


def test_brightness_alone_does_not_tell_the_class(scans: dict[tuple[int, int], PhantomScan]) -> None:
    from sklearn.metrics import roc_auc_score

    labels = [scan.label for scan in scans.values()]
    for statistic in (np.mean, np.std, np.median):
        auroc = roc_auc_score(labels, [float(statistic(scan.image)) for scan in scans.values()])
        assert 0.3 < auroc < 0.7


def test_lumpy_texture_is_standardised_and_the_same_at_every_size() -> None:
    fields = [lumpy(np.random.default_rng(0), size, 12) for size in (60, 240)]
    for field in fields:
        assert field.mean() == pytest.approx(0.0, abs=1e-4)
        assert field.std() == pytest.approx(1.0, abs=1e-3)
    coarse = fields[1].reshape(60, 4, 60, 4).mean(axis=(1, 3))
    assert np.corrcoef(fields[0].ravel(), coarse.ravel())[0, 1] > 0.99


def test_tight_box_of_one_pixel() -> None:
    pixels = np.zeros((5, 7), np.bool_)
    pixels[2, 6] = True
    assert tight_box(pixels) == (6, 2, 7, 3)


@pytest.mark.parametrize("difficulty", [-0.1, 1.5, float("nan")])
def test_a_wrong_difficulty_is_refused(difficulty: float) -> None:
    with pytest.raises(SuiteError, match=r"--data\.difficulty"):
        draw(0, 0, seed=SEED, difficulty=difficulty)
    with pytest.raises(SuiteError, match=r"--data\.difficulty"):
        cohort(3, SEED, difficulty)


def test_an_empty_cohort_and_a_tiny_scan_are_refused() -> None:
    with pytest.raises(SuiteError, match=r"--data\.num_patients 0"):
        cohort(0, SEED, 0.5)
    with pytest.raises(SuiteError, match="16 pixels"):
        draw(0, 0, seed=SEED, size=16)
