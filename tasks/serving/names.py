"""Names that parent and workers share: files in a request's folder, tensors, and what stands in every answer."""

from __future__ import annotations

INPUT = "input"  # folder of a request's files, in its own
BODY = "body.json"  # a request of the Open Inference Protocol, in INPUT
JSON_FILE, VIEW_FILE = "answer.json", "answer.bin"
OBJECTS = "objects"  # folder of results as DICOM, beside INPUT
FILE, PREDICTIONS = "file", "predictions"  # tensors beside the graph's own
NOTICE = "Not for clinical use: for research only."
