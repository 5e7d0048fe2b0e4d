"""Models on medical scans: training, evaluation, prediction, and what ships them."""

import os

# From 1.29 on onnxruntime tells its maker of the models that it runs, and leaves a file in the temporary folder, unless
# this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
