"""The parts that the time of a training is divided into: rows of the table of ``fit --profile true``."""

from __future__ import annotations

# In the order of a step.
WAIT = "data wait"
TRANSFER = "transfer"
FORWARD = "forward"
LOSS = "loss"
METRICS = "metrics and logging"
BACKWARD = "backward"
OPTIMISER = "optimiser"
CALLBACKS = "callbacks"
LOOP = "trainer's loop"
# And beside it.
GAP = "gap between epochs"
VALIDATION = "validation"
CHECKPOINTS = "checkpoints"
PROFILING = "profiling"

IN_STEPS = (WAIT, TRANSFER, FORWARD, LOSS, METRICS, BACKWARD, OPTIMISER, CALLBACKS, LOOP)
PARTS = (*IN_STEPS, GAP, VALIDATION, CHECKPOINTS, PROFILING)
