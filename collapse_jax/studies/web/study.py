"""The web study: who trains late on a web that labs have filled, with biased generators, and with a detector.

Reference: Shumailov et al. (2024) ask whether a first mover keeps an advantage, and whether generated content can be
filtered at scale. The laws are in `collapse_jax.theory.pool`.
"""

from functools import partial

import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain, Metric
from collapse_jax.core.real_data import fresh
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_truth
from collapse_jax.studies.plan import Arm, Plan
from collapse_jax.studies.web.answer import answer
from collapse_jax.studies.web.arms import ARMS, chain_of, members
from collapse_jax.studies.web.claims import evidence
from collapse_jax.studies.web.config import WebCell, WebConfig
from collapse_jax.studies.web.figures import figures
from collapse_jax.studies.web.texts import chain_of_texts
from collapse_jax.validation import check_choice, check_count, check_fraction, check_list
from collapse_jax.web.filters import blind
from collapse_jax.web.labs import labs, per_lab
from collapse_jax.web.pool import pool, web_metrics

__all__ = ["answer", "build", "cell", "evidence", "figures"]


def build(config: WebConfig) -> Plan:
    """Return the chains of the study, all webs as one program.

    Raises:
        ValueError: a field out of range.
    """
    _check(config)
    names = check_list("webs", config.webs, "such as 'biased'")
    chosen = tuple(dict.fromkeys(check_choice("webs", name, tuple(ARMS)) for name in names))
    if not chosen:
        raise ValueError("`webs` must name at least one; for example --webs biased unbiased.")
    labs_of = {"lab": members(config)}
    if config.model == "opt":
        webs = tuple(Arm(name, chain_of_texts(config, ARMS[name])) for name in chosen)
        return Plan("web", webs, segment_length=1, lanes=config.lanes, coordinates=labs_of)
    numbers = np.array([list(ARMS).index(name) for name in chosen])
    whole = vmap_chain(partial(chain_of, config), numbers, "web")
    return Plan(
        None, (Arm("webs", whole),), segment_length=20, lanes=config.lanes, coordinates={"web": chosen, **labs_of}
    )


def _check(config: WebConfig) -> None:
    check_choice("model", config.model, ("gaussian", "opt"))
    check_count("labs", config.labs)
    for name in ("num_real", "num_samples"):
        check_count(name, getattr(config, name), minimum=2)
    for name in ("inflow", "num_released"):
        check_count(name, getattr(config, name), minimum=0)
    for name in ("deletion", "bias", "true_positive_rate", "false_positive_rate"):
        check_fraction(name, getattr(config, name))


def cell(config: WebCell) -> Chain:
    """Return one web of a sweep.

    Raises:
        ValueError: a field out of range.
    """
    truth, num = gaussian_truth(1), check_count("labs", config.labs)
    model = labs(
        gaussian(1, estimator="mle", bias=config.bias), num, draws=config.num_samples, crawl=config.crawl
    )  # fmt: skip
    regime = pool(
        fresh(truth.sample), inflow=config.inflow, deletion=config.deletion, capacity=config.capacity,
        order=config.order, filter=blind(config.true_positive_rate, config.false_positive_rate),
    )  # fmt: skip
    # cells may differ in their labs, which are alike: one of them is recorded
    alone = model._replace(fit=lambda key, params, data: (model.fit(key, params, data)[0], {}))
    mean, _, variance = (_of_first(metric) for metric in per_lab(gaussian_metrics()))
    size, contamination, _ = web_metrics(num)
    metrics = [mean, variance, size, contamination]
    return build_chain(alone, regime, truth.sampler(config.num_real), config.num_released, metrics)


def _of_first(metric: Metric) -> Metric:
    """Return a metric of labs, in one dimension, as that of the first lab."""
    dims = tuple(dim for dim in metric.dims if dim not in ("lab", "axis"))
    return metric._replace(dims=dims, function=lambda key, snapshot: metric.function(key, snapshot)[0].reshape(()))
