from collapse_jax.sources.finding import Source as Source
from collapse_jax.sources.finding import find_generations as find_generations
from collapse_jax.sources.reading import Sample as Sample
from collapse_jax.sources.reading import read_samples as read_samples
