from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.evaluation import tables
from tasks.evaluation.tables import find_table, read_table, write_table


def names_that_look_like_something_else() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case_id": ["007", "NA", "1e3", "a,b", 'say "x"', "=1+1", "line\nbreak", "  padded "],
            "patient_id": ["01", None, "nan", "None", "null", "-", "+5", "é"],
            "target": ["007", "NA", None, "None", "True", "1.0", "1", "-inf"],
            "prediction": ["007"] * 8,
            "score_007": np.linspace(0, 1, 8, dtype=np.float32),
            "serial": [12345678901234.0, np.nan, 3, 4, 5, 6, 7, 8],
        }
    ).astype({"case_id": "str", "patient_id": "str", "target": "str", "prediction": "str"})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_comes_back_exactly_and_only_empty_is_na(tmp_path: Path, suffix: str) -> None:
    frame = names_that_look_like_something_else()
    back = read_table(write_table(frame, tmp_path / f"predictions{suffix}"))
    for column in ("case_id", "patient_id", "target", "prediction"):
        assert back[column].dtype == "str"
        assert back[column].isna().tolist() == frame[column].isna().tolist()
        assert back[column].dropna().tolist() == frame[column].dropna().tolist()
    assert back["score_007"].to_numpy(np.float32).tolist() == frame["score_007"].tolist()
    assert back["serial"].dropna().tolist() == frame["serial"].dropna().tolist()


def test_floats_have_the_digits_they_need_and_whole_numbers_no_point(tmp_path: Path) -> None:
    frame = pd.DataFrame({"case_id": ["a", "b"], "score_x": [0.1, np.nan], "target_x": [1.0, np.nan], "n": [3, 4]})
    file = write_table(frame, tmp_path / "t.csv")
    assert file.read_text() == "case_id,score_x,target_x,n\na,0.1,1,3\nb,,,4\n"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_any_score_survives_the_csv(scores: list[float]) -> None:
    """Nine digits made ties of scores near 1, where a confident model has most of them."""
    frame = pd.DataFrame({"case_id": [f"c{i}" for i in range(len(scores))], "score_x": scores})
    with tempfile.TemporaryDirectory() as folder:
        back = read_table(write_table(frame, Path(folder) / "t.csv"))
    assert back["score_x"].tolist() == scores


def test_any_float32_survives_the_csv(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).random(5000).astype(np.float32)
    frame = pd.DataFrame({"case_id": [str(i) for i in range(5000)], "score_x": scores})
    back = read_table(write_table(frame, tmp_path / "t.csv"))
    assert np.array_equal(back["score_x"].to_numpy(np.float32), scores)


def test_large_tables_become_parquet_and_replace_the_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = pd.DataFrame({"case_id": ["1"]}), pd.DataFrame({"case_id": ["1", "2", "3"]})
    monkeypatch.setattr(tables, "PARQUET_ROWS", 2)
    file = tmp_path / "predictions.csv"
    assert write_table(small, file) == find_table(tmp_path, "predictions") == file
    assert write_table(large, file) == find_table(tmp_path, "predictions") == file.with_suffix(".parquet")
    assert len(read_table(find_table(tmp_path, "predictions"))) == 3
    write_table(small, file)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_table(pd.DataFrame({"case_id": ["old"]}), tmp_path / "t.csv")

    def fails(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", fails)
    with pytest.raises(KeyboardInterrupt):
        write_table(pd.DataFrame({"case_id": ["new"]}), file)
    assert file.read_text() == "case_id\nold\n"
    assert list(tmp_path.iterdir()) == [file]


def test_the_table_has_the_permissions_of_a_plain_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert write_table(pd.DataFrame({"a": [1]}), tmp_path / "t.csv").stat().st_mode == plain.stat().st_mode


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"no predictions\.csv"):
        find_table(tmp_path, "predictions")
    with pytest.raises(SuiteError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(SuiteError, match="cannot be written"):
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "no folder" / "t.csv")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"not parquet")
    with pytest.raises(SuiteError, match="cannot be read as a table"):
        read_table(broken)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("case_id\n정상\n".encode("cp949"), "it is not UTF-8: save it as UTF-8"),
        (b"", "the file is empty"),
        (b"case_id,split\na,test\nb,test,1,2\n", "line 3 has 4 cells, but the first line names 2 columns"),
        (b'case_id\n"a\n', r'a quote \("\) is opened and never closed'),
    ],
)
def test_a_table_that_cannot_be_read_is_named_without_words_of_python(
    content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(SuiteError, match=rf"t\.csv: cannot be read as a table: {says}"):
        read_table(tmp_path / "t.csv")
