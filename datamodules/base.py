"""Base of all data classes: table -> split -> data sets -> loaders."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.augmenting import AugmentOn, TrainingAugmentation, preset_and_changes
from datamodules.caching.scratch import Scratch
from datamodules.cases.contents import ImageUnits, Unit, Unreadable, image_contents
from datamodules.cases.scan_rows import ScanRows
from datamodules.cases.table import CaseTable
from datamodules.loading.batch_size import BatchSize
from datamodules.loading.caches import Cache, KeptOnDisk
from datamodules.loading.part_loaders import PartLoaders
from datamodules.preparation import prepare
from datamodules.prepared import Prepared, PreparedData
from datamodules.preprocess import Preprocess
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.own_formats import load_readers
from datamodules.readers.patterns import FilePatterns
from datamodules.remote import local
from datamodules.samples.annotation import Annotation
from datamodules.samples.dataset import SampleDataset, ScanDataset
from datamodules.samples.patches import PatchPlace
from datamodules.samples.probe import ImageFacts, channel_statistics, probe_images
from datamodules.samples.sources import Samples, ScanSource
from datamodules.settings import at_least_one, check_loading, default_cache_dir, name_list, numbers, pair
from datamodules.stored import Stored
from datamodules.tables.form import table_form
from datamodules.transforms.names import AugmentArgs, TransformList
from datamodules.types import Scan
from datamodules.useless import TABLES, Useless, given, left_out
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

Normalize = Literal["auto", "none", "imagenet", "train", "image"]


class ScanDataModule(BatchSize, PartLoaders, TrainingAugmentation, LightningDataModule, PreparedData, KeptOnDisk):
    """Everything that all data classes share; a data class says where its cases come from.

    Args:
        root: folder (or file) of the data set; or, as tables too, a URL (``s3://bucket/set``), whose files are copied
            to ``cache_dir`` (docs/scale.md).
        split_file: a ``split.csv`` (``case_id,split``) that says which case is in which part; where it names no
            validation cases, these are drawn from its train part; left out: the split that the data bring, else one is
            drawn.
        new_cases: what becomes of cases that ``split_file`` does not name: ``refuse`` stops, ``leave_out`` takes them
            into no part, as where the data of a run are taken up again.
        stratify: columns of the table, ``cases`` or ``split_file`` whose values each part gets its share of, beside the
            classes: ``scanner``, ``sex``, ``age``; left out: none.
        test_fraction: share (0 to 1) of cases drawn for test where the data bring no split; 0 evaluates the cases of
            ``fold`` instead.
        folds: number of folds outside test.
        fold: number of the fold that validates, 0 to folds - 1.
        split_seed: number that the split is drawn from; training seeds leave it alone.
        split: ``auto`` takes the parts as the other flags say; ``all_test`` evaluates the whole data set (external
            validation).
        patient_pattern: regular expression that finds the patient in a path relative to ``root``; left out: as the
            table or the headers say, else each case is one.
        include: shell patterns of the images to take (``*_T1w.nii.gz``, ``site_a``), by the names of files and folders
            or by the path below ``root``; left out: all.
        exclude: shell patterns of the images and masks to leave out, as ``include`` has them; left out: none.
        cases: CSV, TSV or Parquet joined on ``case_id`` for ``patient_id`` and columns for subgroups; left out: none.
        separator: character between the cells of tables, or ``tab``; left out: found in the file (docs/tables.md).
        encoding: text encoding of tables (``utf-8``, ``utf-16``, ``cp949``, ``cp1252``); left out: found in the file,
            and said.
        batch_size: cases a batch on each device.
        total_batch_size: cases a batch of all devices together, instead of ``batch_size``; they must divide it; left
            out: as ``batch_size`` has it.
        num_workers: loader processes; left out: by the cores this process may use.
        image_size: side, or ``H,W``, in pixels of what the model sees; left out: the images' own size, 224 where they
            differ or are larger than 256.
        channels: channels that the model sees: 1 for grey, 3 for colour; left out: by looking at the images.
        window: for scans with physical values: a name, or ``centre:width``; several become channels; left out: none.
        percentiles: lower and upper percentile (0 to 100) of each image that become 0 and 1; left out: none.
        value_range: lower and upper stored value that become 0 and 1; left out: as the file states it, else those of
            its type.
        gamma: exponent of the values once they lie in 0..1: 0.5 lifts dim structures beside bright ones, as in
            fluorescence microscopy; 1 leaves them.
        round_resized: round resized images to the type they were stored in, which makes them four times as small in
            memory and on the way to a GPU where they have 8 bits.
        normalize: subtract mean and divide by deviation, inside the model: of the pretrained weights (``imagenet``), of
            the training images (``train``), of each image (``image``), or not (``none``, the plain rescale to 0..1);
            ``auto`` is ``imagenet`` with pretrained weights and ``train`` without.
        augment: preset of the training augmentation; or, in YAML, a list of Albumentations of your own in its place:
            ``[{class_path: HorizontalFlip, init_args: {p: 0.5}}, ...]`` (docs/augmentation.md).
        augment_args: ranges and transforms that change the preset, each a flag; left out: the preset as it is.
        augment_on: ``cpu`` augments by Albumentations in the loader's processes, ``gpu`` by batch on the GPU, with the
            same ranges; ``auto`` is ``gpu`` in training on a CUDA GPU without ``augment_args.transforms``.
        sided: whether classes have sides, so that no image is mirrored; left out: whether their names tell left from
            right.
        cache: ``none`` reads files in each epoch; ``memory`` reads every scan once and keeps it; ``disk`` keeps it in
            ``cache_dir``, at the size that the model sees, for all runs; ``auto`` chooses, and says so
            (docs/caching.md); ``features`` keeps what a frozen backbone makes of each image, and trains on that
            (docs/frozen_features.md).
        feature_copies: copies of each training image of which ``cache`` keeps features: the first as it is, the others
            augmented.
        cache_dir: where hashes and unpacked data are kept; left out: ``$SCANSUITE_CACHE`` or the user's cache folder.
        scratch: folder on a disk of this machine (``$SLURM_TMPDIR``) that caches are copied to, and read from; left
            out: none.
        keep_scratch: leave the copies in ``scratch`` there at the end.
        allow_leakage: go on although a patient or an identical image stands in two parts.
        readers: modules of yours that register file formats (docs/extending.md); left out: none.
        check_files: read every file once before training, to find damaged files and identical images; ``false`` for
            millions of files: what is damaged then ends the training where it is met, and identical images in two parts
            are not found.
        skip_unreadable: go on without the cases that cannot be read, instead of stopping before anything is done.
        max_pixels: largest height times width, in pixels, of an image, slice or page that is read.
        max_bytes: largest size in bytes of one file's values, unpacked.
        allow_outside: let tables and annotations name files that are not below ``root``.
        keep_ids: write PatientID of DICOM files as it stands, instead of a keyed hash.
        min_image_size: smaller images are enlarged to this side where ``image_size`` is left out.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        split_file: str | None = None,
        new_cases: Literal["refuse", "leave_out"] = "refuse",
        stratify: list[str] | str | None = None,
        test_fraction: float = 0.2,
        folds: int = 5,
        fold: int = 0,
        split_seed: int = 0,
        split: Literal["auto", "all_test"] = "auto",
        patient_pattern: str | None = None,
        include: list[str] | str | None = None,
        exclude: list[str] | str | None = None,
        cases: str | None = None,
        separator: str | None = None,
        encoding: str | None = None,
        batch_size: int = 32,
        total_batch_size: int | None = None,
        num_workers: int | None = None,
        image_size: int | list[int] | str | None = None,
        channels: int | None = None,
        window: list[str] | str | None = None,
        percentiles: list[float] | str | None = None,
        value_range: list[float] | str | None = None,
        gamma: float = 1.0,
        round_resized: bool = False,
        normalize: Normalize = "auto",
        augment: TransformList | str = "light",
        augment_args: AugmentArgs | None = None,
        augment_on: AugmentOn = "auto",
        sided: bool | None = None,
        cache: Cache = "none",
        feature_copies: int = 1,
        cache_dir: str | None = None,
        scratch: str | None = None,
        keep_scratch: bool = False,
        allow_leakage: bool = False,
        readers: list[str] | str | None = None,
        check_files: bool = True,
        skip_unreadable: bool = False,
        max_pixels: int = DEFAULT.max_pixels,
        max_bytes: int = DEFAULT.max_bytes,
        allow_outside: bool = False,
        keep_ids: bool = False,
        min_image_size: int = 0,
    ) -> None:
        super().__init__()
        check_loading(batch_size, num_workers, total_batch_size)
        self.cache_dir = Path(cache_dir) if cache_dir else default_cache_dir()
        self.root = self.local(root, "root")
        self.split_file = None if split_file is None else str(self.local(split_file, "split_file"))
        self.new_cases = new_cases
        self.stratify = name_list(stratify)
        self.test_fraction, self.folds, self.fold, self.split_seed = test_fraction, folds, fold, split_seed
        self.split, self.patient_pattern = split, patient_pattern
        self.patterns = FilePatterns(name_list(include), name_list(exclude))
        self.cases_file = None if cases is None else str(self.local(cases, "cases"))
        self.table_form = table_form(separator, encoding)
        self._batch_size, self.total_batch_size = batch_size, total_batch_size
        self.num_workers = num_workers
        self.image_size = numbers(image_size, "--data.image_size")
        self.channels, self.window = channels, window
        self.percentiles = numbers(percentiles, "--data.percentiles")
        self.value_range = numbers(value_range, "--data.value_range")
        self.gamma, self.round_resized = gamma, round_resized
        self.normalize: Normalize = normalize
        self.augment, self.augment_args = preset_and_changes(augment, augment_args)
        self.sided = sided
        self.augment_on: AugmentOn = augment_on
        self.cache: Cache = cache
        self.feature_copies = at_least_one(feature_copies, "feature_copies")
        if scratch is not None and not scratch.strip():
            raise SuiteError("--data.scratch: is blank: name a folder on a disk of this machine, or leave it out")
        self.scratch = Scratch(scratch, self.cache_dir, keep=keep_scratch) if scratch else None
        self._datasets: dict[str, SampleDataset] = {}
        self.allow_leakage, self.keep_ids, self.min_image_size = allow_leakage, keep_ids, min_image_size
        self.limits, self.allow_outside = Limits(max_pixels, max_bytes, load_readers(readers)), allow_outside
        self.seed = 0
        self.cross_validates = False  # True: all folds are trained, a validation part of the data's own dealt into them
        # Set by data classes that may train on patches.
        self.patch: PatchPlace | None = None
        self.zoom, self.mosaic = 1.0, 0.0
        # False: for a training that began before the ranges that files state were looked at.
        self.stored_range = True
        if skip_unreadable and not check_files:
            raise SuiteError(
                "--data.skip_unreadable true: which cases cannot be read is not known with --data.check_files false: "
                "leave one of the two out"
            )
        self.check_files, self.skip_unreadable = check_files, skip_unreadable
        self.unreadable: list[str] = []  # ids of the cases that are left out
        self._adopted: Preprocess | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a spawned loader process needs to read: neither the trainer nor the data sets that refer back here."""
        left = ("trainer", "_datasets", "extractor")
        return {name: value for name, value in vars(self).items() if name not in left} | {"trainer": None}

    def local(self, name: str, flag: str) -> Path:
        """The path that a flag of the data names, or the local copy where it is a URL."""
        return local(name, self.cache_dir, f"--data.{flag}")

    # What a data class says.

    walks_folder: ClassVar[bool] = False  # it looks for its images in folders, and asks ``patterns`` which to take

    useless: ClassVar[tuple[Useless, ...]] = (  # flags that do nothing here
        Useless("new_cases", "it is of cases that a --data.split_file does not name", "split_file", left_out),
        Useless("batch_size", "--data.total_batch_size says it for all devices", "total_batch_size", given),
        Useless("keep_scratch", "there is no --data.scratch", "scratch", left_out),
        Useless("feature_copies", "it is of --data.cache features", "cache", lambda cache: cache != "features"),
        *(Useless(flag, "it is of tables, and none is named", TABLES, left_out) for flag in ("separator", "encoding")),
    )

    @property
    def origin(self) -> str:
        """Origin of the scans, in words."""
        return f"root {self.root}"

    def build_table(self) -> CaseTable:
        """The cases of the data set, with the split it brings, if any."""
        raise NotImplementedError(f"{type(self).__name__} builds no table")

    def read(self, image: int) -> Scan:
        """Read image number ``image`` of ``self.table.images``, as stored; one path and frame are one image."""
        from datamodules.readers import formats

        images = self.table.images
        frame = int(images["frame"].to_numpy()[image])
        return formats.read(self.root / str(images["path"].iat[image]), self.limits, None if frame < 0 else frame)

    def read_whole(self, image: int) -> Scan:
        """:meth:`read`, and whatever else training reads of an image (its mask), so that it is known to be readable."""
        return self.read(image)

    def units(self, table: CaseTable) -> Sequence[Unit]:
        """Units that :meth:`read_whole` depends on, for each row of ``table.images``."""
        return ImageUnits(table.images, self.root, str(self.limits))

    def stored_size(self, image: int) -> tuple[int, int]:
        """(H, W) of image number ``image`` as stored."""
        array = self.read(image).array
        return array.shape[0], array.shape[1]

    def path_of(self, image: int) -> str:
        """The file of image number ``image``, as its reader names it."""
        return str(self.root / str(self.table.images["path"].iat[image]))

    def hashes(self, table: CaseTable) -> Sequence[str | Unreadable]:
        """A content hash for each row of ``table.images``, or why it cannot be read; equal pixels, equal hash."""
        return image_contents(self, table)

    def leave_out(self, keep: NDArray[np.bool_]) -> None:
        """Forget what is known of the cases (rows of the table) where ``keep`` is false; they cannot be read."""

    def stored(self, table: CaseTable) -> Stored:
        """Stored annotations that a check looks at beside images: labels, boxes, masks, whole volumes."""
        return Stored()

    def strata(self, table: CaseTable) -> NDArray[np.float64]:
        """(N, S) what a split should spread evenly; nothing but the sizes where a data class does not say."""
        return np.ones((len(table), 1))

    def case_labels(self, cases: NDArray[np.int64]) -> Tensor | None:
        """Targets of the given cases (rows of the table), or None where there are none."""
        return None

    def annotations(self, *, augmented: bool) -> tuple[Annotation[Any], ...]:
        """Annotations of images beside a case's target: masks, boxes; in training (``augmented``) and in evaluation."""
        return ()

    # What follows from it.

    def prepare_table(self) -> Prepared:
        """Go all the way from files to a case table, as training does."""
        return prepare(self)

    @cached_property
    def image_facts(self) -> ImageFacts:
        """Facts of some training images: sizes and channels."""
        rows = self.rows("train") if self.split != "all_test" else np.arange(len(self.table))
        return probe_images(self.read, self.first_images(rows))

    @cached_property
    def preprocess(self) -> Preprocess:
        """The one spec that turns stored values into what the model sees."""
        from datamodules.windows import parse_windows

        if self._adopted is not None:
            return self._adopted
        windows = parse_windows(self.window) if self.window is not None else ()
        channels = self.channels
        if channels is None:
            channels = len(windows) if len(windows) > 1 else self.image_facts.channels
        size = self._size() if self.patch is None or self.image_size else None
        return Preprocess(
            size=size,
            channels=channels,
            windows=windows,
            percentiles=pair(self.percentiles, "--data.percentiles"),
            value_range=pair(self.value_range, "--data.value_range"),
            zoom=self.zoom,
            gamma=self.gamma,
            stored_range=self.stored_range,
            round_resized=self.round_resized,
        )

    def _size(self) -> tuple[int, int]:
        if self.image_size:
            sides = [int(side) for side in self.image_size]
            if len(sides) > 2 or min(sides) < 1:
                raise SuiteError(f"--data.image_size {self.image_size}: one side or H,W in pixels")
            return sides[0], sides[-1]
        height, width = self.image_facts.size or (224, 224)
        if max(height, width) > 256:
            height = width = 224
        if max(height, width) < self.min_image_size:
            log.info(
                "images of %d x %d are enlarged to %d for the pretrained weights", height, width, self.min_image_size
            )
            height = width = self.min_image_size
        return height, width

    def adopt(self, preprocess: Preprocess) -> None:
        """Take the spec of a trained model instead of one found in the data."""
        self._adopted = preprocess

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the images, or patches of them, that the model is trained on."""
        if self.patch is not None:
            return self.patch.size
        size = self.preprocess.size
        assert size is not None  # fixed where there are no patches: batches need one size
        return size

    @cached_property
    def statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation of each channel over (at most 512) training images, where asked for."""
        if self.normalize not in ("auto", "train"):
            return None
        return channel_statistics(self.single_images(self.rows("train")), self.in_channels)

    def samples(self, rows: NDArray[np.int64]) -> Samples:
        """Images of the given cases that are samples, and their targets."""
        return Samples(self.first_images(rows), ScanRows(self.table.cases.iloc[rows]), self.case_labels(rows))

    def dataset(self, rows: NDArray[np.int64], *, augmented: bool = False) -> SampleDataset:
        """The given cases as a data set."""
        return self.dataset_of(self.samples(rows), augmented=augmented)

    def dataset_of(self, samples: Samples, *, augmented: bool = False) -> ScanDataset:
        """The data set of some images, whole."""
        source = ScanSource(self.read, samples, self.preprocess, self.annotations(augmented=augmented))
        return ScanDataset(source, self.training_augmentation() if augmented else None, self.patch, self.mosaic)

    def single_images(self, rows: NDArray[np.int64]) -> ScanDataset:
        """The images of the given cases one by one, for a look at them."""
        return self.dataset_of(self.samples(rows))

    def cases_in_batch(self, split: str) -> int:
        """Number of cases in a batch of a part on each device."""
        return self.batch_size

    def sampler_weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Relative chance of each training case, or None for a plain shuffle."""
        return None
