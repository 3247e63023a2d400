"""Records what scikit-learn says about seeded predictions; run with scikit-learn and numpy.

    python record.py > scores.json
"""
import json
import sys

import numpy as np
import sklearn
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

rng = np.random.default_rng(20)
binary, classes = [], []
for count, digits in [(7, 1), (40, 1), (200, 2), (1000, 6)]:
    truth = rng.integers(0, 2, count)
    truth[:2] = [0, 1]
    scores = np.round(rng.normal(size=count) + 0.7 * truth, digits)
    binary.append({"truth": truth.tolist(), "scores": scores.tolist(), "auc": float(roc_auc_score(truth, scores))})
for count, kinds in [(9, 3), (60, 8), (500, 5), (300, 2)]:
    truth = rng.integers(0, kinds, count)
    predicted = np.where(rng.random(count) < 0.5, truth, rng.integers(0, kinds, count))
    classes.append(
        {
            "truth": truth.tolist(),
            "predicted": predicted.tolist(),
            "accuracy": float(accuracy_score(truth, predicted)),
            "macro": float(f1_score(truth, predicted, average="macro")),
            "micro": float(f1_score(truth, predicted, average="micro")),
        }
    )
# Classes that are never predicted, and predictions that are never true.
classes.append(
    {
        "truth": [0, 0, 1, 2],
        "predicted": [0, 3, 3, 0],
        "accuracy": 0.25,
        "macro": float(f1_score([0, 0, 1, 2], [0, 3, 3, 0], average="macro", zero_division=0)),
        "micro": float(f1_score([0, 0, 1, 2], [0, 3, 3, 0], average="micro", zero_division=0)),
    }
)
versions = {"python": sys.version.split()[0], "numpy": np.__version__, "scikit-learn": sklearn.__version__}
json.dump({"versions": versions, "binary": binary, "classes": classes}, sys.stdout)
