"""Model card and checklists: every item is there, what the run knows is filled in, text from data is text."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.evaluation.documents.answers import answers_of
from tasks.evaluation.documents.facts import facts_of
from tasks.evaluation.documents.items import ADD, BLANK, Document, Filled, filled, items_of
from tasks.evaluation.documents.markdown import document_text, escaped, write_documents
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.report.content import ReportSettings, Subject, Table
from tasks.evaluation.report.sections.checklists import section as checklists
from tasks.evaluation.report.sections.model_card import section as model_card
from tasks.evaluation.run_file import write_run_file
from tests.tasks.evaluation.documents.folders import run_folder
from tests.tasks.evaluation.drift.scanners import two_parts

FAST = ReportSettings(resamples=0)
MADE = {
    "version": "0.1.0", "commit": "abc123", "packages": {"torch": "2.10"}, "finished": "2026-11-27T20:00",
    "model": {"network": "resnet10t", "weights": None, "parameters": 5_000_000, "members": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedRun:
    found = run_folder(tmp_path_factory.mktemp("documents") / "run", looks=1)
    assert found.folder is not None
    write_run_file(found.folder, MADE)
    return found


def of(run: EvaluatedRun, document: Document) -> dict[str, Filled]:
    subject = Subject(run, "test", FAST)
    return {one.item.number: one for one in filled(document, answers_of(subject, facts_of(subject)))}


def test_the_documents_have_all_their_items() -> None:
    numbers = [item.number for item in items_of("tripod_ai")]
    assert len(numbers) == 52
    assert [number.rstrip("abcdefg") for number in numbers][-1] == "27"
    assert len({number.rstrip("abcdefg") for number in numbers}) == 27
    assert [item.number for item in items_of("claim_2024")] == [str(number) for number in range(1, 45)]
    sections = list(dict.fromkeys(item.section for item in items_of("model_card")))
    assert sections == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip


def test_every_answer_that_an_item_names_can_be_given(run: EvaluatedRun) -> None:
    """A name that nothing answers would leave a blank for ever."""
    asked: set[str] = set()
    for document in ("tripod_ai", "claim_2024", "model_card"):
        asked |= {name for item in items_of(document) for name in item.answers}
    subject = Subject(run, "test", FAST)
    # Of a whole data set evaluated as test, and of volumes or tiles.
    assert asked - set(answers_of(subject, facts_of(subject))) == {"external", "inputs"}


def test_what_the_run_knows_is_filled_in(run: EvaluatedRun) -> None:
    tripod = of(run, "tripod_ai")
    assert tripod["21"].whole
    assert tripod["21"].answer.startswith("Training: 20 cases of 10 patients; validation: 24 cases of 12 patients")
    assert "scansuite 0.1.0 (commit abc123)" in tripod["18f"].answer
    assert tripod["18f"].text.endswith(ADD)
    assert tripod["17"].text == BLANK
    claim = of(run, "claim_2024")
    assert claim["20"].answer == "Parts are disjoint by patient."
    assert claim["27"].answer == "One model."
    assert "optimizer adamw" in claim["25"].answer
    card = of(run, "model_card")
    assert card["date"].text == "2026-11-27"
    assert card["uses"].text == BLANK


@pytest.mark.parametrize(
    ("head", "said"), [("knn", "holds features"), ("kernel", "is Gaussian, features"), ("pool", "")]
)
def test_a_checkpoint_with_features_of_training_images_says_so(run: EvaluatedRun, head: str, said: str) -> None:
    subject = Subject(run, "test", FAST)
    facts = facts_of(subject)
    facts = replace(facts, config={**facts.config, "model": {**facts.config["model"], "head": head}})
    answer = answers_of(subject, facts)["privacy"].text
    assert answer.startswith("Patient ids of DICOM files are replaced")
    assert said in answer
    assert ("training images: pass it on" in answer) == bool(said)


def test_tables_of_another_tool_fill_little_and_invent_nothing() -> None:
    claim = of(two_parts(0), "claim_2024")
    for number in ("19", "22", "23", "24", "25", "26", "27", "42"):
        assert not claim[number].answer
    assert claim["37"].answer.startswith("Test: AUROC")


def test_the_sections_are_folded_tables(run: EvaluatedRun) -> None:
    for found in (model_card(Subject(run, "test", FAST)), checklists(Subject(run, "test", FAST))):
        assert found.details
        assert not found.flags
        for part in found.parts:
            assert isinstance(part, Table)
            assert all(len(row) == len(part.columns) for row in part.rows)
            assert part.note


def test_text_from_data_is_text(run: EvaluatedRun) -> None:
    subject = Subject(run, "test", FAST)
    text = document_text("claim_2024", filled("claim_2024", answers_of(subject, facts_of(subject))), "<img src=x>|`a`")
    assert "<b>" not in text
    assert "&lt;b&gt;benign&lt;/b&gt;" in text
    assert "<img" not in text
    assert escaped("a|b\n# *c*") == r"a\|b \# \*c\*"


def test_an_edited_file_stays(run: EvaluatedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    subject = Subject(run, "test", FAST)
    written = write_documents(tmp_path, subject)
    assert [file.name for file in written] == ["model_card.md", "tripod_ai.md", "claim.md"]
    assert "CC BY 4.0" in (tmp_path / "tripod_ai.md").read_text()
    card = tmp_path / "model_card.md"
    card.write_text(card.read_text().replace(BLANK, "Our group", 1))
    with caplog.at_level(logging.WARNING):
        assert [file.name for file in write_documents(tmp_path, subject)] == ["tripod_ai.md", "claim.md"]
    assert "Our group" in card.read_text()
    assert "model_card.md was edited and stays as it is" in caplog.text


@pytest.mark.parametrize("broken", ["config.yaml", "metrics.json", "run.json", "split.csv"])
def test_a_damaged_file_is_no_error(tmp_path: Path, broken: str) -> None:
    found = run_folder(tmp_path / "run")
    (tmp_path / "run" / broken).write_bytes(b"\xff{: [")
    assert of(found, "tripod_ai")["23a"].answer
