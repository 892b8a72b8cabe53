"""Real and artificial data."""

from collapse_jax.datasets.mnist import Digits as Digits
from collapse_jax.datasets.mnist import load_mnist as load_mnist
from collapse_jax.datasets.mnist import pooled_digits as pooled_digits
from collapse_jax.datasets.planes import Plane as Plane
from collapse_jax.datasets.planes import checkerboard as checkerboard
from collapse_jax.datasets.planes import eight_gaussians as eight_gaussians
from collapse_jax.datasets.planes import spiral as spiral
from collapse_jax.datasets.planes import two_moons as two_moons
from collapse_jax.datasets.synthetic import GaussianMixture as GaussianMixture
from collapse_jax.datasets.synthetic import single_cloud as single_cloud
from collapse_jax.datasets.synthetic import two_gaussians as two_gaussians
from collapse_jax.datasets.table import load_table as load_table
from collapse_jax.datasets.text import Corpus as Corpus
from collapse_jax.datasets.text import load_addresses as load_addresses
from collapse_jax.datasets.text import load_text as load_text
from collapse_jax.datasets.text import load_wikipedia as load_wikipedia
from collapse_jax.datasets.text import load_wikitext2 as load_wikitext2
from collapse_jax.datasets.text import split_documents as split_documents
from collapse_jax.datasets.text import to_blocks as to_blocks
