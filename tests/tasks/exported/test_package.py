"""A package comes back as it was packed, and whatever was changed, stripped, added or is none is refused by name."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules.preprocess import Preprocess
from scansuite.errors import SuiteError
from tasks.exported.example import try_example
from tasks.exported.model_file import open_model
from tasks.exported.package import CHECKSUMS, EXAMPLE, EXPECTED, MODEL, SIGNATURE, checksums_of, read_package
from tasks.exported.package_layout import pieces, read_members
from tasks.exported.packing import write_package
from tasks.exported.signature import make_keys, read_private_key, sign, trust_key
from tests.tasks.exported.tiny_model import DESCRIPTION, described, write_tiny

pytest.importorskip("onnxruntime")
pytest.importorskip("cryptography")


class Made:
    """A signed package, an unsigned one, and two pairs of keys."""

    def __init__(self, folder: Path) -> None:
        self.onnx = write_tiny(folder / "m.onnx")
        self.key, self.other_key = folder / "ours.pem", folder / "theirs.pem"
        self.public, self.other_public = make_keys(self.key), make_keys(self.other_key)
        self.signed = write_package(folder / "signed.scansuite", self.onnx, key=self.key)
        self.plain = write_package(folder / "plain.scansuite", self.onnx)
        other = write_tiny(folder / "other.onnx", scale=2.0)
        self.another = write_package(folder / "another.scansuite", other, key=self.key)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("packages"))


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCANSUITE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def packed(file: Path, members: dict[str, bytes]) -> Path:
    file.write_bytes(b"".join(pieces(members)))
    return file


def with_sums(members: dict[str, bytes]) -> dict[str, bytes]:
    """Members as somebody who knows the format would pack them again."""
    own = {name: content for name, content in members.items() if name not in (CHECKSUMS, SIGNATURE)}
    return {**own, CHECKSUMS: checksums_of(own)}


def test_a_package_runs_as_its_file_does(made: Made) -> None:
    image = np.random.default_rng(1).random((2, 1, 40, 24), np.float32)
    logits = [open_model(file).run({"image": image})["logits"] for file in (made.onnx, made.signed, made.plain)]
    np.testing.assert_array_equal(logits[0], logits[1])
    np.testing.assert_array_equal(logits[0], logits[2])
    assert open_model(made.signed).description == DESCRIPTION


def test_the_same_input_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    for file, key in ((made.signed, made.key), (made.plain, None)):
        again = write_package(tmp_path / file.name, made.onnx, key=key)
        assert again.read_bytes() == file.read_bytes()


def test_other_programs_open_it(made: Made) -> None:
    with zipfile.ZipFile(made.signed) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        card, licence = archive.read("MODEL_CARD.md").decode(), archive.read("LICENSES/weights.txt").decode()
        assert archive.read(MODEL) == made.onnx.read_bytes()
    assert {"MODEL_CARD.md", "LICENSES/scansuite.txt", "example/input.npy", "signature.json"} < set(names)
    assert "lesion &lt;b&gt;" in card  # text from data is escaped
    assert "to be filled in by the authors" in card
    assert "from scratch" in licence


def test_who_has_signed_is_said(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    open_model(made.plain)
    assert caplog.records[-1].levelno == logging.WARNING
    assert "is not signed" in caplog.text
    open_model(made.signed)
    assert "not among the keys that you trust" in caplog.text
    trust_key(made.public, "Radiology")
    open_model(made.signed)
    assert caplog.records[-1].levelno == logging.INFO
    assert "signed by Radiology" in caplog.messages[-1]
    assert open_model(made.signed, trust=made.public).description == DESCRIPTION


@pytest.mark.parametrize(
    ("name", "trust", "reason"),
    [
        ("plain", "public", "is not signed"),
        ("signed", "other_public", "is signed by another key"),
        ("onnx", "public", "bears no signature"),
        ("signed", "key", "is a private key"),
        ("signed", "onnx", "is no key in PEM"),
    ],
)
def test_trust_refuses(made: Made, name: str, trust: str, reason: str) -> None:
    with pytest.raises(SuiteError, match=reason) as error:
        open_model(getattr(made, name), trust=getattr(made, trust))
    assert "\n" not in str(error.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_anywhere_is_refused(made: Made, tmp_path: Path, data: st.DataObject) -> None:
    for whole in (made.signed.read_bytes(), made.plain.read_bytes()):
        place, by = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
        changed = bytearray(whole)
        changed[place] ^= by
        file = tmp_path / "changed.scansuite"
        file.write_bytes(changed)
        with pytest.raises(SuiteError, match=r"changed\.scansuite: ") as error:
            read_package(file)
        assert "\n" not in str(error.value)


def test_headers_and_ends_are_under_guard_too(made: Made, tmp_path: Path) -> None:
    """Each byte that is no content: names, dates and modes of the archive, which zip readers pass over."""
    whole = made.signed.read_bytes()
    contents = read_members(made.signed).values()
    starts = [(whole.index(one), len(one)) for one in contents]
    skipped = {place for start, length in starts for place in range(start, start + length)}
    file = tmp_path / "changed.scansuite"
    for place in (place for place in range(len(whole)) if place not in skipped):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SuiteError):
            read_members(file)


@pytest.mark.parametrize("change", [b"", b"x", b"PK\x03\x04" + b"\0" * 40])
def test_more_or_less_is_refused(made: Made, tmp_path: Path, change: bytes) -> None:
    whole = made.signed.read_bytes()
    file = tmp_path / "changed.scansuite"
    for content in (whole + change, change + whole, whole[: len(whole) // 2]):
        file.write_bytes(content)
        if content == whole:
            read_package(file)
            continue
        with pytest.raises(SuiteError):
            open_model(file)


def test_a_member_that_is_missing_unknown_or_of_another_package(made: Made, tmp_path: Path) -> None:
    members, others = read_members(made.signed), read_members(made.another)
    assert list(members) == list(others)
    for name in members:
        less = {key: content for key, content in members.items() if key != name}
        file = packed(tmp_path / "less.scansuite", less)
        if name == SIGNATURE:  # what remains is a whole package without a signature
            assert read_package(file).signer is None
            with pytest.raises(SuiteError, match="is not signed"):
                read_package(file, made.public)
            continue
        with pytest.raises(SuiteError, match=r"missing|was changed"):
            read_package(file)
        if others[name] != members[name]:
            swapped = packed(tmp_path / "swapped.scansuite", {**members, name: others[name]})
            with pytest.raises(SuiteError, match=r"signature is wrong" if name == SIGNATURE else "was changed"):
                read_package(swapped)
    for extra in ("LICENSES/../evil.txt", "run.py", "example/more.npy"):
        with pytest.raises(SuiteError, match=r"no model package has|leads out"):
            read_package(packed(tmp_path / "more.scansuite", with_sums({**members, extra: b"x"})))


def test_a_package_packed_again_loses_its_signature(made: Made, tmp_path: Path) -> None:
    """Whoever changes a member can make new checksums, but no signature over them."""
    members = read_members(made.signed)
    forged = with_sums({**members, "MODEL_CARD.md": b"# better\n"})
    assert read_package(packed(tmp_path / "a.scansuite", forged)).signer is None
    with pytest.raises(SuiteError, match="signature is wrong"):
        read_package(packed(tmp_path / "b.scansuite", {**forged, SIGNATURE: members[SIGNATURE]}))
    theirs = sign(forged[CHECKSUMS], read_private_key(made.other_key))
    file = packed(tmp_path / "c.scansuite", {**forged, SIGNATURE: theirs})
    assert not read_package(file).trusted
    with pytest.raises(SuiteError, match="signed by another key"):
        read_package(file, made.public)


@pytest.mark.parametrize("signature", [b"", b"{}", b"[" * 3000, b'{"public_key": 3}', b"\xff"])
def test_a_signature_that_is_none(made: Made, tmp_path: Path, signature: bytes) -> None:
    members = {**read_members(made.signed), SIGNATURE: signature}
    with pytest.raises(SuiteError, match="signature cannot be read"):
        read_package(packed(tmp_path / "x.scansuite", members))


def test_the_description_of_another_model_is_refused(made: Made, tmp_path: Path) -> None:
    members = read_members(made.signed)
    other = described(operating_points={"lesion <b>": 0.01}).to_json().encode()
    file = packed(tmp_path / "x.scansuite", with_sums({**members, "description.json": other}))
    with pytest.raises(SuiteError, match="description is that of another model"):
        open_model(file)


def test_foreign_archives_are_refused_by_what_they_are(made: Made, tmp_path: Path) -> None:
    members = read_members(made.plain)

    def archive(name: str, change: object = None, *, compress: int = zipfile.ZIP_STORED, **more: bytes) -> Path:
        file = tmp_path / name
        with zipfile.ZipFile(file, "w", compress) as out:
            for member, content in {**members, **more}.items():
                info = zipfile.ZipInfo(member)
                info.compress_type = compress
                if member == change:
                    info.external_attr = (stat.S_IFLNK | 0o777) << 16
                out.writestr(info, content)
        return file

    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(MODEL, bytes(50_000_000))
    (tmp_path / "bomb.scansuite").write_bytes(bomb.getvalue())
    with zipfile.ZipFile(tmp_path / "twice.scansuite", "w") as out:
        out.writestr(MODEL, b"a")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr(MODEL, b"b")
    with zipfile.ZipFile(tmp_path / "slip.scansuite", "w") as out:
        out.writestr("../../evil.txt", b"a")
    with zipfile.ZipFile(tmp_path / "other.scansuite", "w") as out:
        out.writestr("word/document.xml", b"a")
    with zipfile.ZipFile(tmp_path / "many.scansuite", "w") as out:
        for number in range(300):
            out.writestr(str(number), b"")
    archive("dates.scansuite")
    archive("link.scansuite", "MODEL_CARD.md")
    archive("small.scansuite", compress=zipfile.ZIP_DEFLATED)
    reasons = {
        "bomb": "is compressed",
        "small": "is compressed",
        "twice": "is there twice",
        "slip": "leads out",
        "other": "but no model package",
        "many": "300 members",
        "link": "is a link",
        "dates": "was changed",
    }
    for name, reason in reasons.items():
        with pytest.raises(SuiteError, match=reason) as error:
            open_model(tmp_path / f"{name}.scansuite")
        assert "\n" not in str(error.value)


class Evil:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pickle_was_run",)


@pytest.mark.parametrize("name", ["m.scansuite", "m.onnx", "m.ckpt", "m.pkl"])
def test_a_pickle_by_any_name_is_never_opened(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    with zipfile.ZipFile(file, "w") as out:  # as torch.save lays it out
        out.writestr("archive/data.pkl", pickle.dumps({"weights": Evil()}, protocol=2))
        out.writestr("archive/version", b"3\n")
    with pytest.raises(SuiteError, match="is a checkpoint of torch, with a pickle"):
        open_model(file)
    for protocol in range(6):
        file.write_bytes(pickle.dumps(Evil(), protocol=protocol))
        with pytest.raises(SuiteError, match="pickle" if protocol >= 2 else "is no (whole zip|ONNX)"):
            open_model(file)
    assert not (tmp_path / "pickle_was_run").exists()


def test_weights_in_other_files_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    open_model(tmp_path / "m.onnx")  # beside the file is where large ones have them
    with pytest.raises(SuiteError, match=r"External data"):
        write_package(tmp_path / "p.scansuite", tmp_path / "m.onnx")
    (tmp_path / "w.bin").rename(tmp_path.parent / "w.bin")
    for location in ("../w.bin", str(tmp_path.parent / "w.bin")):
        model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        (tmp_path / "out.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(SuiteError, match="External data"):
            open_model(tmp_path / "out.onnx")


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocess": Preprocess(channels=1, windows=((40.0, 400.0),)), "multiple": 32},
        {
            "preprocess": Preprocess(channels=3, windows=((40.0, 400.0), (60.0, 80.0), (600.0, 2800.0))),
            "in_channels": 3,
        },
        {"preprocess": Preprocess(channels=3, size=(48, 40)), "in_channels": 3, "standardised": True, "multiple": 32},
        {"preprocess": Preprocess(channels=1, value_range=(-1.0, 3.0)), "in_channels": 3, "sizes": ((32, 64),)},
        {"preprocess": Preprocess(channels=1, percentiles=(1.0, 99.0), fit="pad", size=(64, 32)), "precision": "int8"},
    ],
)
def test_the_example_is_one_that_the_model_takes(tmp_path: Path, changes: dict[str, object]) -> None:
    onnx_file = write_tiny(tmp_path / "m.onnx", described(**changes))
    package = read_package(write_package(tmp_path / "m.scansuite", onnx_file))
    checks = try_example(open_model(package.file), package.members[EXAMPLE], package.members[EXPECTED])
    assert [check.name for check in checks] == ["logits"]
    assert all(check.value <= 1e-6 < check.tolerance for check in checks)
    assert len(package.members[EXAMPLE]) < 100_000


def test_an_example_that_comes_out_otherwise_is_seen(made: Made) -> None:
    package = read_package(made.signed)
    other = open_model(made.another)
    assert any(
        one.value > one.tolerance for one in try_example(other, package.members[EXAMPLE], package.members[EXPECTED])
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\x3a\x00{'descr': '<f4', 'fortran_order': False, 'shape': (9999, 9999)}" + b" " * 9,
        pickle.dumps(3),
    ],
)
def test_an_example_that_is_none(made: Made, content: bytes) -> None:
    expected = read_members(made.plain)[EXPECTED]
    with pytest.raises(SuiteError, match="example cannot be read"):
        try_example(open_model(made.plain), content, expected)
    stream = io.BytesIO()
    np.save(stream, np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(SuiteError, match="example cannot be read"):
        try_example(open_model(made.plain), stream.getvalue(), expected)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"tolerance": 1, "outputs": {"logits": 3}}', b"[" * 100_000])
def test_an_expectation_that_is_none(made: Made, text: bytes) -> None:
    with pytest.raises(SuiteError, match="cannot be compared"):
        try_example(open_model(made.plain), read_members(made.plain)[EXAMPLE], text)


def test_an_image_of_the_users_comes_as_values_alone(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("PatientName", "Doe^Jane")
    values = np.random.default_rng(2).integers(0, 255, (32, 32), np.uint8)
    Image.fromarray(values).save(tmp_path / "Doe_Jane.png", pnginfo=info)
    file = write_package(tmp_path / "p.scansuite", made.onnx, example=tmp_path / "Doe_Jane.png")
    assert b"Jane" not in file.read_bytes()
    np.testing.assert_array_equal(np.load(io.BytesIO(read_members(file)[EXAMPLE])), values)
    assert "make sure that nobody is known by them" in caplog.text


def test_the_card_of_the_report_is_taken(made: Made, tmp_path: Path) -> None:
    (tmp_path / "run" / "report").mkdir(parents=True)
    (tmp_path / "run" / "report" / "model_card.md").write_text("# Ours\n", encoding="utf-8")
    file = write_package(tmp_path / "p.scansuite", made.onnx, run_dir=tmp_path / "run")
    assert read_members(file)["MODEL_CARD.md"] == b"# Ours\n"


def test_nothing_half_written(made: Made, tmp_path: Path) -> None:
    for output, onnx_file, reason in (
        (tmp_path / "p.zip", made.onnx, "suffix .scansuite"),
        (tmp_path / "p.scansuite", tmp_path / "none.onnx", "no such file"),
        (tmp_path / "none" / "p.scansuite", made.onnx, "cannot be written"),
        (tmp_path / "p.scansuite", made.public, "no ONNX file"),
    ):
        with pytest.raises(SuiteError, match=reason):
            write_package(output, onnx_file)
    assert list(tmp_path.iterdir()) == []


def test_opening_needs_nothing_heavy(made: Made) -> None:
    script = (
        "import sys; from tasks.exported.package import read_package; from pathlib import Path\n"
        "read_package(Path(sys.argv[1])); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import json; {script}", str(made.signed)], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & {"torch", "pandas", "onnxruntime", "onnx", "matplotlib", "sklearn"}
