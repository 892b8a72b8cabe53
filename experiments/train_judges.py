"""Train the five classifiers that judge generated digits, and write them into the package.

    .venv/bin/python experiments/train_judges.py

Question: do five small nets know real digits well enough to say when generated ones are unreadable? Answer: it
prints each one's accuracy and the share of held-out digits on which all five are sure of the same class. Takes
about four minutes; the package ships the result as `collapse_jax/datasets/files/judges.npz` (float16).
"""

from pathlib import Path

import jax
import numpy as np

import collapse_jax.datasets
from collapse_jax import load_mnist
from collapse_jax.metrics import load_classifiers, save_judges, train_judges


def main(path: Path) -> None:
    digits = load_mnist()
    judges = train_judges(jax.random.key(0), digits.images, digits.labels, num_steps=6000)
    save_judges(judges, path)
    stored = load_classifiers(path)
    print("accuracy on held-out digits:", np.round(np.asarray(stored.accuracy), 4))
    print(f"unanimous and sure: {float(stored.real_unanimous):.1%}; {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(collapse_jax.datasets.__file__).parent / "files" / "judges.npz")
