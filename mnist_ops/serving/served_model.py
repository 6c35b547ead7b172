"""What `mlflow models serve` runs of a registered model ("models from code": no pickle is loaded).

MLflow copies this file into the model and runs the copy; the package `mnist_ops.serving.inference`
that it imports lies beside it there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from mnist_ops.serving.inference import FOLDER, Classifier


class ServedClassifier(PythonModel):
    """Answers raw images: a row an image."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the numbers."""
        self.classifier = Classifier.load(Path(context.artifacts[FOLDER]))

    def predict(
        self,
        context: PythonModelContext,
        # MLflow knows this hint alone: the shape is the signature's matter.
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Classify `model_input`, uint8 of shape (n, height, width): grey levels, 0 is background.

        Returns:
            Columns ``class`` (from 0), ``class_name``, ``probability`` (of that class) and
            ``unlike`` (what is unusual about the image, with commas; empty for nothing).
        """
        answers = self.classifier.answer(np.asarray(model_input))
        rows = np.arange(len(answers.classes))
        names = np.array(self.classifier.description.class_names)
        return pd.DataFrame(
            {
                "class": answers.classes.astype(np.int64),
                "class_name": names[answers.classes],
                "probability": answers.probabilities[rows, answers.classes],
                "unlike": [",".join(beyond) for beyond in answers.alarms],
            }
        )


set_model(ServedClassifier())
