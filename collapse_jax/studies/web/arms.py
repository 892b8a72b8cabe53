"""The webs that the study sets side by side: the same labs, biased or not, releasing or not, with a detector or not."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain, Metric
from collapse_jax.core.real_data import fresh
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_truth
from collapse_jax.studies.web.config import WebConfig
from collapse_jax.theory.pool import PoolMoments, pool_moments
from collapse_jax.types import ArrayLike
from collapse_jax.web.filters import Filter, blind
from collapse_jax.web.labs import labs, per_lab
from collapse_jax.web.pool import pool, web_metrics


class ArmOfWeb(NamedTuple):
    """One of the webs.

    Attributes:
        biased: whether labs draw with less variance than they fitted.
        releases: whether labs release at all.
        filtered: whether a detector is asked.
        crawl: whether a lab's rows are counted before the detector; as of `labs`.
    """

    biased: bool
    releases: bool = True
    filtered: bool = False
    crawl: bool = False


ARMS = {
    "unbiased": ArmOfWeb(False),
    "biased": ArmOfWeb(True),
    "no releases": ArmOfWeb(False, releases=False),
    "unbiased, filtered crawl": ArmOfWeb(False, filtered=True, crawl=True),
    "biased, filtered crawl": ArmOfWeb(True, filtered=True, crawl=True),
    "biased, filtered": ArmOfWeb(True, filtered=True),
}


def members(config: WebConfig) -> tuple[str, ...]:
    """Return the names of the labs; the last is at every step another one, which trains once and releases nothing."""
    return (*(f"lab {number + 1}" for number in range(config.labs)), "newcomer")


def detector_of(config: WebConfig, asked: ArrayLike) -> Filter:
    """Return the detector of a web; where it is not asked, one that passes everything."""
    return blind(config.true_positive_rate * asked, config.false_positive_rate * asked)


def chain_of(config: WebConfig, number: ArrayLike) -> Chain:
    """Return the chain of one web of Gaussians, by its number in `ARMS`, which may be traced: all are one program.

    Raises:
        ValueError: a field out of range.
    """
    truth, num = gaussian_truth(1), len(members(config))
    bias, releases, filtered, crawl = (jnp.asarray(column)[number] for column in zip(*ARMS.values()))
    model = labs(
        gaussian(1, estimator="mle", bias=jnp.where(bias, config.bias, 1.0)), num, draws=config.num_samples,
        releases=jnp.where(jnp.arange(num) < config.labs, config.num_released * releases, 0),
        crawl=crawl,
    )  # fmt: skip
    slots = config.num_real + (config.inflow + config.labs * config.num_released) * config.generations
    regime = pool(
        fresh(truth.sample), inflow=config.inflow, deletion=config.deletion,
        filter=detector_of(config, filtered),
        capacity=None if config.deletion > 0 else slots,
    )  # fmt: skip
    return build_chain(model, regime, truth.sampler(config.num_real), max(config.num_released, 2), _metrics(num))


def _metrics(num: int) -> tuple[Metric, ...]:
    mean, _, total = per_lab(gaussian_metrics())
    size, contamination, _ = web_metrics(num)
    first = mean._replace(dims=("lab",), function=lambda key, snapshot: mean.function(key, snapshot)[:, 0])
    return first, total._replace(name="log_variance"), size, contamination


def predicted(config: WebConfig, arm: ArmOfWeb) -> PoolMoments:
    """Return the law of a web without a detector: of each step and each lab; as of `theory.pool_moments`."""
    num = len(members(config))
    released = np.where(np.arange(num) < config.labs, config.num_released if arm.releases else 0, 0)
    return pool_moments(
        config.generations, config.num_real, jnp.full(num, config.num_samples), jnp.asarray(released), config.inflow,
        config.deletion, bias=config.bias if arm.biased else 1.0,
    )  # fmt: skip
