"""Flags of ``export`` that say nothing where they stand are refused before anything takes long."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scansuite.errors import SuiteError
from tasks.cli.verbs.export import OWN_FLAGS, _format, _new_file, _refuse_useless


def refuse(*argv: str, **config: Any) -> None:
    defaults: dict[str, Any] = {name: getattr(flag, "default", None) for name, flag in OWN_FLAGS.items()}
    typed = {name.removeprefix("--"): value for name, value in zip(argv[::2], argv[1::2], strict=True)}
    _refuse_useless(argv, cast("Any", SimpleNamespace(config={**defaults, "output": "m.onnx", **typed, **config})))


@pytest.mark.parametrize(
    ("argv", "config", "reason"),
    [
        (("--key", "k.pem"), {}, "--key: is about a package"),
        (("--example", "a.png"), {"output": "m.onnx"}, "--example: is about a package"),
        (("--quantize_method", "entropy"), {}, "--quantize_method: is about --quantize int8"),
        (("--reduce_range", "true"), {}, "--reduce_range: is about --quantize int8"),
        (("--input", "scans"), {"quantize": "int8"}, "--input: int8 is let pass by metrics"),
        (("--quantize", "int8"), {"output": "m.pt2"}, "--format torch is not written so"),
        (("--quantize", "int8"), {"output": "m.xml"}, "--format openvino is not written so"),
        (("--opset", "18"), {"output": "m.pt2"}, "--opset: is about ONNX"),
        (("--input", "scans"), {"metrics": True}, "--metrics: needs cases with their truth"),
        ((), {"metrics": True, "quantize": "int8"}, "--metrics: int8 is let pass by metrics"),
        (("--largest_loss", "2"), {"quantize": "int8", "largest_loss": 2.0}, "above 0 and below 1"),
        (("--key", "none.pem"), {"output": "m.scansuite"}, "none.pem: the key cannot be read"),
    ],
)
def test_useless_flags(argv: tuple[str, ...], config: dict[str, Any], reason: str) -> None:
    with pytest.raises(SuiteError, match=reason) as error:
        refuse(*argv, **config)
    assert "\n" not in str(error.value)


def test_flags_that_go_together() -> None:
    refuse()
    refuse("--quantize", "int8", "--quantize_method", "entropy")
    refuse("--example", "a.png", output="m.scansuite")


@pytest.mark.parametrize(
    ("output", "chosen", "found"),
    [
        ("m.onnx", None, "onnx"),
        ("m.pt2", None, "torch"),
        ("m.xml", "openvino", "openvino"),
        ("m.scansuite", None, "package"),
        ("models", "triton", "triton"),
    ],
)
def test_the_format_is_told_by_the_ending(output: str, chosen: str | None, found: str) -> None:
    assert _format({"output": output, "format": chosen}) == found


@pytest.mark.parametrize(
    ("output", "chosen", "reason"),
    [
        ("m.zip", None, r"ends in one of \.onnx \(onnx\), \.pt2 \(torch\), \.xml \(openvino\), \.scansuite"),
        ("models", None, "or a folder with --format triton"),
        ("m.onnx", "torch", r"--format torch ends in \.pt2"),
        ("m.onnx", "triton", "triton writes a folder"),
        (None, None, "name the file to write"),
    ],
)
def test_endings_that_are_none(output: str | None, chosen: str | None, reason: str) -> None:
    with pytest.raises(SuiteError, match=reason):
        _format({"output": output, "format": chosen})


def test_the_output_is_new(tmp_path: Path) -> None:
    assert _new_file(str(tmp_path / "new" / "m.onnx"), "onnx").parent.is_dir()
    (tmp_path / "m.bin").touch()
    with pytest.raises(SuiteError, match=r"m\.bin is there already"):
        _new_file(str(tmp_path / "m.xml"), "openvino")
    assert _new_file(str(tmp_path), "triton") == tmp_path  # a repository has many models
    (tmp_path / "file").touch()
    with pytest.raises(SuiteError, match="is there already"):
        _new_file(str(tmp_path / "file"), "triton")
    with pytest.raises(SuiteError, match="cannot be made"):
        _new_file(str(tmp_path / "file" / "m.onnx"), "onnx")
