"""Specification of the task ``classify``."""

from __future__ import annotations

from tasks.registry.spec import TaskSpec

SPEC = TaskSpec(
    name="classify",
    help="one target a case: a class, several labels, a grade or a number",
    task="tasks.classify.task.ClassificationTask",
    evaluator="tasks.classify.evaluator.ClassificationEvaluator",
    inference="tasks.classify.inference.ClassificationInference",
    ensemble="tasks.classify.ensemble.ClassificationEnsemble",
    explainer="tasks.classify.explainer.ClassificationExplainer",
    exporter="tasks.classify.exporter.ClassificationExporter",
    metrics="tasks.evaluation.run_tables.classification",
    data_base="datamodules.classification.base.ClassificationData",
    data=(
        "datamodules.phantoms.labels.Phantoms",
        "datamodules.classification.medmnist.MedMNIST",
        "datamodules.classification.image_folder.ImageFolder",
        "datamodules.classification.image_table.ImageTable",
        "datamodules.classification.bids.Bids",
    ),
    examples=(
        "fit                                        train on drawn phantoms, no data needed",
        "fit --data ImageFolder --data.root DIR     a folder for each class",
        "fit --data ImageTable --data.root DIR --data.table labels.csv \\\n"
        "      --data.label_columns label --data.patient_column patient",
        "check --data ImageFolder --data.root DIR --output CHECK",
        "fit --config experiment/medmnist --data.root DIR",
    ),
    program="python -m tasks.classify",
)
