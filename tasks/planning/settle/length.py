"""How long a training is: steps, epochs, how often it is validated, and when it stops early."""

from __future__ import annotations

import math

from tasks.planning.draft import Draft

# Steps of the optimiser that a training takes at least, whatever the number of images: RetinaNet on 60 images is at
# mAP50 0.444 after 160 steps and at 0.945 after 1200 (docs/plan_results.md).
LEAST_STEPS = {"classify": 600, "segment": 1000, "detect": 1200}


def samples_an_epoch(draft: Draft) -> int:
    """Samples that an epoch shows, with the patches that are settled."""
    return draft.fingerprint.samples


def steps(draft: Draft) -> None:
    """Epochs from a number of steps, so that small sets are trained long enough."""
    if draft.is_given("trainer.max_epochs", "trainer.max_steps", "trainer.max_time"):
        return
    batch = draft.value("data.total_batch_size") or draft.value("data.batch_size")
    an_epoch = max(1, math.ceil(samples_an_epoch(draft) / batch))
    least = LEAST_STEPS[draft.fingerprint.task]
    epochs = max(1, math.ceil(least / an_epoch))
    draft.plan("trainer.max_epochs", epochs, f"{least} steps at least, of {an_epoch} an epoch", "docs/plan_results.md")
