"""The script of a registered model for `mlflow models serve` ("models from code", without pickle).

MLflow copies this file into the model and runs the copy, with a copy of the package
`mnist_ops.serving.inference` beside it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from mnist_ops.serving.inference import FOLDER, Classifier


class ServedClassifier(PythonModel):
    """Classifies raw images; its result has a row per image."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model's files."""
        self.classifier = Classifier.load(Path(context.artifacts[FOLDER]))

    def predict(
        self,
        context: PythonModelContext,
        # MLflow supports this type hint only; the signature has the shape.
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Classify `model_input`, uint8 of shape (n, height, width): grey levels, 0 is background.

        Returns:
            Columns ``class`` (from 0), ``class_name``, ``probability`` (of that class) and
            ``unlike`` (statistics of the out-of-distribution check beyond their limits, separated
            by commas).
        """
        answers = self.classifier.answer(np.asarray(model_input))
        rows = np.arange(len(answers.classes))
        names = np.array(self.classifier.description.class_names)
        return pd.DataFrame(
            {
                "class": answers.classes.astype(np.int64),
                "class_name": names[answers.classes],
                "probability": answers.probabilities[rows, answers.classes],
                "unlike": [",".join(names) for names in answers.alarms],
            }
        )


set_model(ServedClassifier())
