"""The regimes that a study's configuration can name; no JAX here."""

from typing import Literal

RegimeName = Literal[
    "replace", "accumulate", "accumulate-subsample", "window", "replace-part", "add", "weight-real"
]
