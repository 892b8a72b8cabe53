"""Models: one file each."""

from collapse_jax.models import bigram as bigram
from collapse_jax.models import categorical as categorical
from collapse_jax.models import diffusion as diffusion
from collapse_jax.models import external as external
from collapse_jax.models import gaussian as gaussian
from collapse_jax.models import kde as kde
from collapse_jax.models import language as language
from collapse_jax.models import mixture as mixture
from collapse_jax.models import one_parameter as one_parameter
from collapse_jax.models import regression as regression
from collapse_jax.models import score as score
from collapse_jax.models import vae as vae
