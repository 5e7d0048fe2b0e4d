"""``scansuite keys`` and ``scansuite verify``: from a pair of keys to a package that is opened, or refused, by them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.cli.verbs import keys, verify
from tasks.exported.package import EXPECTED, checksums_of
from tasks.exported.package_layout import pieces, read_members
from tasks.exported.packing import write_package
from tasks.exported.signature import PASSWORD, read_private_key
from tests.tasks.exported.tiny_model import write_tiny

pytest.importorskip("onnxruntime")
pytest.importorskip("cryptography")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCANSUITE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_from_keys_to_a_package_that_is_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private = tmp_path / "lab.pem"
    assert keys.run(["make", str(private)]) == 0
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    fingerprint = capsys.readouterr().out.split()[-1]
    assert fingerprint.startswith("SHA256:")
    package = write_package(tmp_path / "m.scansuite", write_tiny(tmp_path / "m.onnx"), key=private)
    assert verify.run([str(package)]) == 0
    out = capsys.readouterr().out
    assert "is whole: 9 members" in out
    assert f"is signed by {fingerprint}, which is not among the keys that you trust" in out
    assert "model: tiny: classify (healthy, lesion <b>), fp32" in out
    assert "example: logits is as expected: differs by 0 of" in out

    keys.run(["trust", str(tmp_path / "lab.public.pem"), "--name", "Our lab"])
    keys.run([])
    assert f"  {fingerprint}  Our lab" in capsys.readouterr().out
    verify.run([str(package)])
    assert "is signed by Our lab" in capsys.readouterr().out
    verify.run([str(package), "--trust", str(tmp_path / "lab.public.pem")])
    keys.run(["forget", "Our lab"])
    keys.run([])
    assert "none" in capsys.readouterr().out
    verify.run([str(package)])
    assert "which is not among" in capsys.readouterr().out


def test_an_example_that_comes_out_otherwise_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        write_package(tmp_path / f"{scale}.scansuite", write_tiny(tmp_path / f"{scale}.onnx", scale=scale))
        for scale in (1.0, 2.0)
    ]
    mixed = {**read_members(files[0]), EXPECTED: read_members(files[1])[EXPECTED]}
    mixed["checksums.json"] = checksums_of(mixed)
    (tmp_path / "m.scansuite").write_bytes(b"".join(pieces(mixed)))
    assert verify.run([str(tmp_path / "m.scansuite")]) == 1
    assert "this machine computes something else" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["make"], "name one file"),
        (["make", "made.pem"], "is there already"),
        (["make", "none/made.pem"], "cannot be written"),
        (["trust", "none.pem"], "the key cannot be read"),
        (["trust", "made.pem"], "is a private key"),
        (["trust", "text.pem"], "is no key in PEM"),
        (["trust", "broken.pem"], "is no public key"),
        (["forget", "none"], "no such key is trusted, nor any other"),
        (["forget", "none", "more"], "name one key"),
        (["make", "x.pem", "--name", "a"], "leave it out"),
        (["--nam", "a"], "unrecognized arguments"),
    ],
)
def test_mistakes_with_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    keys.run(["make", "made.pem"])
    before = Path("made.pem").read_bytes()
    Path("text.pem").write_text("a key", encoding="utf-8")
    Path("broken.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", encoding="utf-8")
    with pytest.raises(SuiteError, match=reason) as error:
        keys.run(words)
    assert "\n" not in str(error.value)
    assert Path("made.pem").read_bytes() == before


def test_a_name_stands_for_one_key(tmp_path: Path) -> None:
    for name in ("a.pem", "b.pem"):
        keys.run(["make", str(tmp_path / name)])
    keys.run(["trust", str(tmp_path / "a.public.pem"), "--name", "lab"])
    keys.run(["trust", str(tmp_path / "a.public.pem"), "--name", "lab"])
    with pytest.raises(SuiteError, match="is another key of that name"):
        keys.run(["trust", str(tmp_path / "b.public.pem"), "--name", "lab"])
    keys.run(["trust", str(tmp_path / "b.public.pem"), "--name", "../../lab"])  # stays in its folder
    assert len(list((tmp_path / "config" / "trusted").iterdir())) == 2


def test_private_keys_of_other_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked, other = tmp_path / "locked.pem", tmp_path / "ec.pem"
    key = ed25519.Ed25519PrivateKey.generate()
    locked.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"word")))
    other.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*form, serialization.NoEncryption()))
    with pytest.raises(SuiteError, match="is no Ed25519 key"):
        read_private_key(other)
    with pytest.raises(SuiteError, match="the key is encrypted: give its password"):
        read_private_key(locked)
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(SuiteError, match="is not its password"):
        read_private_key(locked)
    monkeypatch.setenv(PASSWORD, "word")
    assert read_private_key(locked).private_bytes_raw() == key.private_bytes_raw()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "required: FILE"),
        (["none.scansuite"], "there is no such file"),
        (["m.onnx"], "is no model package"),
        (["m.onnx", "--trusted"], "unrecognized arguments"),
    ],
)
def test_mistakes_with_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny(Path("m.onnx"))
    with pytest.raises(SuiteError, match=reason):
        verify.run(words)
