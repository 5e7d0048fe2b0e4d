"""MedMNIST files: the official one, small ones made here, and a server of our own to fetch from."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from datamodules.caching.reading_version import behaviour
from datamodules.cases.table import SPLITS
from datamodules.classification import medmnist_files
from datamodules.classification.medmnist import MedMNIST, find_file, medmnist_table
from datamodules.classification.medmnist_files import MedMNISTFile
from datamodules.classification.medmnist_sets import MEDMNIST_SETS, SIZES, MedMNISTSet, file_name
from scansuite.errors import SuiteError

COUNTS = {"train": 30, "val": 6, "test": 9}


def contents(name: str = "pathmnist", size: int = 28) -> dict[str, Any]:
    published = MEDMNIST_SETS[name]
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in COUNTS.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        if published.kind == "multilabel":
            labels = rng.integers(0, 2, (count, len(published.classes)))
        else:
            labels = np.arange(count)[:, None] % len(published.classes)
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    return arrays


def written(folder: Path, name: str = "pathmnist", size: int = 28, **changes: Any) -> Path:
    file = folder / file_name(name, size)
    arrays = {key: value for key, value in {**contents(name, size), **changes}.items() if value is not None}
    np.savez_compressed(file, **arrays)
    return file


# The official file.


@pytest.fixture
def breast(shared_data: Path, tmp_path: Path) -> MedMNIST:
    return MedMNIST(str(shared_data / "medmnist"), name="breastmnist", cache_dir=str(tmp_path), num_workers=0)


def test_official_file_has_the_published_md5(shared_data: Path) -> None:
    data = (shared_data / "medmnist" / "breastmnist.npz").read_bytes()
    assert hashlib.md5(data).hexdigest() == MEDMNIST_SETS["breastmnist"].md5[0] == "750601b1f35ba3300ea97c75c52ff8f6"


def test_breastmnist_has_its_official_split_and_classes(breast: MedMNIST, shared_data: Path) -> None:
    cases = breast.table.cases
    assert cases["split"].value_counts().to_dict() == {"train": 546, "val": 78, "test": 156}
    assert breast.table.published_split
    assert (breast.target, breast.class_names, breast.positive_class) == (
        "binary", ["malignant", "normal, benign"], "normal, benign",
    )  # fmt: skip
    with np.load(shared_data / "medmnist" / "breastmnist.npz") as official:
        for split in SPLITS:
            rows = breast.rows(split)
            np.testing.assert_array_equal(breast.targets.values[rows], official[f"{split}_labels"][:, 0])
            images = np.stack([breast.read(int(row)).array for row in rows])
            np.testing.assert_array_equal(images, official[f"{split}_images"])
    assert cases["case_id"][115] == "train/00115"
    assert breast.read(115).info == {"path": "breastmnist.npz#train/115", "original_size": (28, 28)}
    assert breast.read(546 + 78 + 76).info["path"] == "breastmnist.npz#test/76"


def test_the_image_in_train_and_test_is_found(breast: MedMNIST, caplog: pytest.LogCaptureFixture) -> None:
    hashes = breast.hashes(breast.table)
    ids = breast.table.cases["case_id"]
    shared = [name for name, value in zip(ids, hashes, strict=True) if hashes.count(value) > 1]
    assert {"train/00115", "test/00076"} <= set(shared)
    assert breast.images_in_two_parts == 1
    assert "train/00115 (train) = test/00076 (test)" in caplog.text


def test_batches_hold_the_images(breast: MedMNIST) -> None:
    batch = next(iter(breast.test_dataloader()))
    assert batch["image"].shape == (32, 1, 28, 28)
    first = breast.read(546 + 78).array.astype(np.float32) / 255
    np.testing.assert_allclose(batch["image"][0, 0].numpy(), first, atol=1e-6)
    assert batch["scan"][0]["case_id"] == "test/00000"


# Every set and size, in small.


@pytest.mark.parametrize("name", MEDMNIST_SETS)
def test_every_set(name: str, tmp_path: Path) -> None:
    written(tmp_path, name)
    data = MedMNIST(str(tmp_path), name=name, cache_dir=str(tmp_path / "cache"))
    published = MEDMNIST_SETS[name]
    assert data.target == published.kind
    assert data.class_names == list(published.classes)
    official = np.concatenate([contents(name)[f"{split}_labels"] for split in SPLITS])
    want = official if published.kind == "multilabel" else official[:, 0]
    np.testing.assert_array_equal(data.targets.values, want)


def test_published_facts_are_whole() -> None:
    kinds = {name: published.kind for name, published in MEDMNIST_SETS.items()}
    assert len(kinds) == 12
    assert [name for name, kind in kinds.items() if kind == "multilabel"] == ["chestmnist"]
    assert [name for name, kind in kinds.items() if kind == "ordinal"] == ["retinamnist"]
    assert [name for name, kind in kinds.items() if kind == "binary"] == ["pneumoniamnist", "breastmnist"]
    sums = [md5 for published in MEDMNIST_SETS.values() for md5 in published.md5]
    assert len(set(sums)) == 48
    assert all(len(md5) == 32 and int(md5, 16) for md5 in sums)


@pytest.mark.parametrize("size", SIZES)
def test_every_size(size: int, tmp_path: Path) -> None:
    written(tmp_path, size=size)
    data = MedMNIST(str(tmp_path), name="pathmnist", size=size, cache_dir=str(tmp_path / "cache"))
    assert data.input_size == (size, size)
    assert data.in_channels == 3


def test_the_file_itself_may_be_the_root(tmp_path: Path) -> None:
    file = written(tmp_path)
    data = MedMNIST(str(file), name="pathmnist", cache_dir=str(tmp_path / "cache"))
    assert len(data.table) == 45


def test_the_kind_of_target_may_be_chosen(tmp_path: Path) -> None:
    written(tmp_path, "retinamnist")
    data = MedMNIST(str(tmp_path), name="retinamnist", target="multiclass", cache_dir=str(tmp_path / "cache"))
    assert data.target == "multiclass"


# Large files.


def test_large_files_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path)
    cache = tmp_path / "cache"
    small = MedMNISTFile(file, cache)
    assert not cache.exists()
    large = MedMNISTFile(file, cache, memory_limit=1000)
    assert isinstance(large._part("train"), np.memmap)
    for frame in range(45):
        np.testing.assert_array_equal(small.image(frame), large.image(frame))
    assert small.hashes() == large.hashes() == large.hashes()
    (folder,) = (path for path in (cache / "medmnist").iterdir() if path.is_dir())
    names = [f"hashes-{behaviour()}.txt", "test_images.npy", "train_images.npy", "val_images.npy"]
    assert sorted(path.name for path in folder.iterdir()) == names
    monkeypatch.setattr(medmnist_files, "copyfileobj", None)  # a second opening unpacks nothing
    assert MedMNISTFile(file, cache, memory_limit=1000).hashes() == small.hashes()


def test_mapped_images_are_not_pickled(tmp_path: Path) -> None:
    file = written(tmp_path)
    large = MedMNISTFile(file, tmp_path / "cache", memory_limit=1000)
    data = pickle.dumps(large)
    assert len(data) < 10_000 < file.stat().st_size
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.image(40), large.image(40))


def test_unpacking_leaves_nothing_half_done(tmp_path: Path) -> None:
    file = written(tmp_path)
    data = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo("test_images.npy")
        data[member.header_offset + member.compress_size // 2] ^= 255
    file.write_bytes(data)
    with pytest.raises(SuiteError, match=r"pathmnist\.npz: cannot be read as a MedMNIST file: .*; fetch it again"):
        MedMNISTFile(file, tmp_path / "cache", memory_limit=1000)
    left = [path.name for path in (tmp_path / "cache").rglob("*.*") if path.is_file()]
    assert sorted(left) == [".in_use", "pathmnist.npz.lock", "train_images.npy", "val_images.npy"]


# Files that are not what they should be.


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path)
    data = file.read_bytes()
    for damaged in (b"", b"no archive", data[: len(data) // 2], data[:-10]):
        file.write_bytes(damaged)
        with pytest.raises(SuiteError, match=r"pathmnist\.npz: cannot be read as a MedMNIST file: .*; fetch it again"):
            MedMNISTFile(file, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_images": None}, "no val_images in it"),
        ({"val_labels": np.zeros((5, 1), np.uint8)}, r"val has images of shape \(6, 28, 28, 3\) and labels"),
        ({"train_labels": np.array([["a"]] * 30, dtype=object)}, "Object arrays cannot be loaded"),
    ],
)
def test_strange_contents_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        MedMNISTFile(written(tmp_path, **changes), tmp_path)


def test_another_set_or_size_is_refused(tmp_path: Path) -> None:
    arrays = MedMNISTFile(written(tmp_path), tmp_path)
    with pytest.raises(SuiteError, match=r"images are 28 x 28, not 64 x 64: give --data\.size"):
        medmnist_table(arrays, MEDMNIST_SETS["pathmnist"], 64)
    for other in ("breastmnist", "chestmnist"):
        published: MedMNISTSet = MEDMNIST_SETS[other]
        with pytest.raises(SuiteError, match="are not those of the set"):
            medmnist_table(arrays, published, 28)


def test_an_unknown_name_or_size_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="did you mean breastmnist"):
        MedMNIST(str(tmp_path), name="BreastMNIST")
    with pytest.raises(SuiteError, match=r"--data\.size 32: MedMNIST has 28, 64, 128, 224 pixels"):
        MedMNIST(str(tmp_path), name="breastmnist", size=32)


# Fetching.


class Served(SimpleHTTPRequestHandler):
    requests: list[str] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served; its ``pathmnist.npz`` counts as the official one."""
    folder = tmp_path / "served"
    folder.mkdir()
    file = written(folder)
    md5 = hashlib.md5(file.read_bytes()).hexdigest()
    published = MEDMNIST_SETS["pathmnist"]
    official = MedMNISTSet(published.kind, published.classes, (md5, *published.md5[1:]))
    monkeypatch.setitem(MEDMNIST_SETS, "pathmnist", official)
    Served.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Served, directory=str(folder))) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("SCANSUITE_MEDMNIST_URL", f"http://127.0.0.1:{http.server_port}/")
        yield folder
        http.shutdown()
        thread.join()


def test_download(server: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "new" / "root"
    for _ in range(2):
        data = MedMNIST(str(root), name="pathmnist", download=True, cache_dir=str(tmp_path / "cache"))
        assert len(data.table) == 45
    assert Served.requests == ["/pathmnist.npz"]
    assert [path.name for path in root.iterdir()] == ["pathmnist.npz"]
    assert (root / "pathmnist.npz").read_bytes() == (server / "pathmnist.npz").read_bytes()
    # No bar where there is no terminal; log lines are shown where an earlier test has asked for them.
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if not line.startswith(("fetching ", "data: "))] == []


def test_a_wrong_sum_leaves_nothing(server: Path, tmp_path: Path) -> None:
    with (server / "pathmnist.npz").open("ab") as file:
        file.write(b"!")
    root = tmp_path / "root"
    data = MedMNIST(str(root), name="pathmnist", download=True, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(SuiteError, match=r"pathmnist\.npz: MD5 is \w{32}, should be \w{32}"):
        _ = data.table
    assert list(root.iterdir()) == []


def test_what_the_server_lacks_is_said(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SuiteError, match=r"breastmnist_64\.npz: cannot be fetched to .*404.*put the file there by hand"
    ):
        find_file(tmp_path, tmp_path / "cache", "breastmnist", 64, download=True)
    monkeypatch.setenv("SCANSUITE_MEDMNIST_URL", "http://127.0.0.1:9")
    with pytest.raises(SuiteError, match="Connection refused"):
        find_file(tmp_path, tmp_path / "cache", "breastmnist", 64, download=True)
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*"))


def test_a_connection_that_breaks_leaves_nothing(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(source: io.BufferedIOBase, target: io.BufferedIOBase, tell: object) -> str:
        target.write(source.read(100))
        raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr(medmnist_files, "_copy_with_md5", breaks)
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(SuiteError, match="Connection reset by peer"):
        find_file(root, tmp_path / "cache", "pathmnist", 28, download=True)
    assert list(root.iterdir()) == []


def test_a_read_only_root_sends_it_to_the_cache(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != root)  # root may write anywhere
    assert find_file(root, cache, "pathmnist", 28, download=True) == cache / "medmnist" / "pathmnist.npz"
    assert list(root.iterdir()) == []
    assert find_file(root, cache, "pathmnist", 28) == cache / "medmnist" / "pathmnist.npz"


def test_a_missing_file_names_both_ways(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        find_file(tmp_path, tmp_path / "cache", "breastmnist", 224)
    assert str(caught.value) == (
        f"{tmp_path / 'breastmnist_224.npz'}: no such file: fetch it with --data.download true, or put "
        "https://zenodo.org/records/10519652/files/breastmnist_224.npz there"
    )
