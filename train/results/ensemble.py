"""What the mean of several models' probabilities is worth: `ensemble.py fer2013 a.pt b.pt`.

Prints accuracy, macro-F1 and loss on PublicTest, of each model and of their mean. Teachers that
agree in everything gain nothing as a mean.
"""

import sys
from pathlib import Path

import numpy as np

from fer_runtime import metrics
from fer_train import checkpoint, evaluate

root, *paths = map(Path, sys.argv[1:])
outputs = {}
for path in paths:
    loaded = checkpoint.load(path)
    split, _ = evaluate.load_split(loaded, root)
    outputs[path.stem] = evaluate.predict(loaded.deployable(), split.images)[1]
outputs["mean"] = np.mean(list(outputs.values()), axis=0)
for name, probabilities in outputs.items():
    found = metrics.summary(probabilities, split.targets.numpy(), split.labels)
    print(f"{name:24} {found['accuracy']:.4f} {found['macro_f1']:.4f} {found['loss']:.4f}")
