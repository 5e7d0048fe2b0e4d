"""What a training imports, for processes that are forked with all of it."""

from __future__ import annotations

import tasks.classify.evaluator
import tasks.classify.task
import tasks.cli.main
import tasks.cli.verbs.fit
import tasks.detect.task
import tasks.segment.task  # noqa: F401
