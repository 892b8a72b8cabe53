"""`transformers` and `lightning` are modules, which import the library that they are named after."""

from collapse_jax.callbacks import lightning as lightning
from collapse_jax.callbacks import transformers as transformers
from collapse_jax.callbacks.synthesizers import Watched as Watched
from collapse_jax.callbacks.synthesizers import watch_synthesizer as watch_synthesizer
