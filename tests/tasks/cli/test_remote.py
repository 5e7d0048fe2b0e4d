"""The command line on data in object storage: as on the same data on a disk, on an S3 server of this process."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from datamodules import remote
from tests.tasks.cli.conftest import TINY, Run, one_line

pytest.importorskip("s3fs", reason="the extra remote is not installed")
server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
URL = "s3://scans/site/set"
FLAGS = [
    "--data",
    "ImageTable",
    "--data.table",
    "labels.csv",
    "--data.label_columns",
    "finding",
    *TINY,
    "--model.schedule",
    "constant",
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Address of an S3 server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture(autouse=True)
def s3(endpoint: str, table_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A bucket with the data."""
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_MAX_ATTEMPTS": "1",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "SCANSUITE_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    remote._named.clear()
    bucket = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if not bucket.exists("scans"):
        bucket.mkdir("scans")
        bucket.put(str(table_root), "scans/site/set", recursive=True)
    yield
    remote._named.clear()


def done(result: tuple[int, str, str]) -> str:
    """What was said by a command that went well."""
    assert result[0] == 0, result[2]
    return result[2]


def refused(result: tuple[int, str, str]) -> str:
    assert result[0] == 2
    return one_line(result[2])


def fit(run: Run, root: str, folder: str, *more: str) -> str:
    return done(run("fit", *FLAGS, "--data.root", root, "--run_dir", folder, *more))


def test_a_run_is_that_of_the_same_data_on_a_disk(run: Run, table_root: Path) -> None:
    fit(run, str(table_root), "disk")
    said = fit(run, URL, "s3")
    assert f"root {URL}" in said
    assert "/remote/" not in said
    for name in ("split.csv", "predictions.csv", "metrics.json", "cases.csv"):
        assert Path("s3", name).read_bytes() == Path("disk", name).read_bytes(), name
    config = yaml.safe_load(Path("s3/config.yaml").read_text())
    assert config["data"]["init_args"]["root"] == URL
    texts = (file.read_text() for name in ("*.yaml", "*.json", "*.csv") for file in Path("s3").rglob(name))
    assert not any("/remote/" in text for text in texts)
    # The copy is found again without a flag, and the model knows its cases on the disk.
    best = ["--ckpt_path", "s3/checkpoints/best.ckpt"]
    done(run("test", *best, "--run_dir", "again"))
    before, again = (json.loads(Path(name, "metrics.json").read_text()) for name in ("s3", "again"))
    assert before["test/auroc"] == again["test/auroc"]
    flags = ["--data.root", str(table_root), "--data.split", "all_test", "--data.num_workers", "0"]
    assert "72 of 90 test cases are among those it was trained or chosen on" in refused(
        run("test", *FLAGS[:6], *flags, *best, "--run_dir", "no")
    )
    done(run("fit", "--ckpt_path", "last", "--run_dir", "s3", "--trainer.max_epochs", "2"))
    assert len(pd.read_csv("s3/metrics.csv")["epoch"].unique()) == 2


def test_tables_and_inputs_have_urls_too(run: Run, table_root: Path) -> None:
    flags = [flag if flag != "labels.csv" else f"{URL}/labels.csv" for flag in FLAGS]
    done(run("fit", *flags, "--data.root", str(table_root), "--run_dir", "run"))
    best = ["--ckpt_path", "run/checkpoints/best.ckpt", "--data.num_workers", "0"]
    for name, inputs in {"folder": f"{URL}/images", "table": f"{URL}/labels.csv"}.items():
        done(run("predict", *best, "--input", inputs, "--output", name))
    done(run("predict", *best, "--input", str(table_root / "images"), "--output", "disk"))
    folder, table, disk = (pd.read_csv(f"{name}/predictions.csv") for name in ("folder", "table", "disk"))
    assert set(folder["path"]) == {f"{URL}/images/{Path(path).name}" for path in disk["path"]}
    pd.testing.assert_frame_equal(folder.drop(columns="path"), disk.drop(columns="path"))
    assert set(table["path"]) == set(folder["path"])


def test_a_run_of_another_machine_fetches_nothing_unasked(run: Run, tmp_path: Path) -> None:
    fit(run, URL, "run")
    shutil.rmtree(tmp_path / "cache")
    best = ["--ckpt_path", "run/checkpoints/best.ckpt"]
    more = ["--ckpt_path", "last", "--run_dir", "run", "--trainer.max_epochs", "2"]
    for words in (["test", "--run_dir", "no", *best], ["fit", *more]):
        assert refused(run(*words)).endswith(f"if you trust it, type --data.root {URL}")
    assert not (tmp_path / "cache" / "remote").exists()
    done(run("test", *best, "--run_dir", "x", "--data.root", URL))
    done(run("test", *best, "--run_dir", "y"))


def test_mistakes_name_the_url_and_the_flag(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(root: str, *more: str) -> str:
        said = refused(run("fit", *FLAGS, "--data.root", root, "--run_dir", "no", *more))
        assert not Path("no").exists()
        return said

    assert "--data.root s3://nowhere/set: no such bucket" in line("s3://nowhere/set")
    assert f"--data.split_file {URL}/split.csv: no such bucket" in line(URL, "--data.split_file", f"{URL}/split.csv")
    assert f"{URL}/other.csv" in line(URL, "--data.table", "other.csv")
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.delenv("AWS_SECRET_ACCESS_KEY")
        assert f"--data.root {URL}2: no credentials" in line(f"{URL}2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert f"--data.root {URL}3: cannot be reached" in line(f"{URL}3")
