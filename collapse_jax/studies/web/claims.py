"""What a run of the web study says of first movers, of biased generators and of detectors.

The risk of a lab is mu^2 + (1 - sigma)^2, its squared Wasserstein distance to the truth; of texts, its log-loss on real
text that nobody trained on. The advantage of a first mover
is the risk of the last newcomer less that of the one of step 0, of the same web, and so of the same seed.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import LAW, Claim, Evidence, labelled, measured
from collapse_jax.analysis.estimands import last_reached
from collapse_jax.studies.web.arms import ARMS, predicted
from collapse_jax.studies.web.config import WebConfig
from collapse_jax.studies.web.protocol import LAW_OF_FILTERS, LAW_OF_WEB, SHUMAILOV, departure_of

_MIN_SEEDS = 64
_MIN_TEXT_SEEDS = 3
_MINOR = 0.2  # of the advantage where generators are biased
_AT_REST = 2  # the last part of a run, 1 of so many, over which errors are averaged


def risk(arm: xr.Dataset) -> xr.DataArray:
    """Return mu^2 + (1 - sigma)^2 of each lab, or its log-loss."""
    if "log_loss" in arm:
        return arm["log_loss"]
    return arm["mean"] ** 2 + (1 - xr.ufuncs.exp(arm["log_variance"] / 2)) ** 2


def advantage(dataset: xr.Dataset, web: str, generation: int) -> np.ndarray:
    """Return the risk of a generation's newcomer less that of generation 0's, one number a seed."""
    newcomer = risk(dataset.sel(web=web).isel(lab=-1))
    return (newcomer.sel(generation=generation) - newcomer.sel(generation=0)).values


def lawful_advantage(config: WebConfig) -> float:
    """Return about what that is by the law where generators are biased: of the mean, and of a spread of its mean."""
    law = predicted(config, ARMS["biased"])
    risks = np.asarray(law.mean_square)[:, 0] + (1 - np.sqrt(np.asarray(law.variance)[:, 0])) ** 2
    return float(risks[-1] - risks[0])


def evidence(config: WebConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each claim."""
    if "log_loss" in dataset:
        items = _texts(config, dataset)
    elif "mean" in dataset:
        items = [
            *_laws(config, dataset), *_movers(config, dataset), _alike(config, dataset), *_filters(config, dataset)
        ]  # fmt: skip
    else:
        return []
    items = [
        item if item.unmet and not item.lacks else item._replace(lacks={**item.lacks, "model": config.model})
        for item in items
    ]
    return [labelled(item, departure_of(item.claim.source, config.model), otherwise=LAW) for item in items]


def _asked(
    config: WebConfig,
    claim: Claim,
    last: int,
    webs: tuple[str, ...],
    measure: Callable[[int], np.ndarray],
    unmet: str = "",
) -> Evidence:
    """Return what these webs say at the end of a run."""
    missing = [web for web in webs if web not in config.webs]
    if missing:
        told = f"needs the web '{missing[0]}'"
        return Evidence(claim, np.array([]), LAW, told, lacks={"webs": webs})
    return measured(claim, config.generations, last, measure, LAW, unmet)


def _laws(config: WebConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Both moments of a web against their law, beside labs that would fit human rows."""
    begins, last = _rest(config), last_reached(dataset["mean"])
    rest = slice(begins, config.generations)
    law = np.asarray(predicted(config, ARMS["unbiased"]).mean_square)[begins:, : config.labs].mean()
    spread = float(np.asarray(predicted(config, ARMS["biased"]).variance)[-1, 0])
    alone, whole = math.log(1 / config.num_samples / law), math.log((1 - 1 / config.num_samples) / spread)
    error = Claim(
        "error-law",
        f"Unbiased labs err by E mu^2 = {law:.3g} from step {begins} on, to {-alone / 2:.2g} (log): more than the 1/n "
        "of human rows.",
        LAW_OF_WEB, (alone / 2, -alone / 2), "log_mean", _MIN_SEEDS, null=alone,
    )  # fmt: skip
    variance = Claim(
        "variance-law",
        f"Biased labs keep {spread:.3g} of the variance at step {config.generations}, to {whole / 2:.2g} (log).",
        LAW_OF_WEB, (-whole / 2, whole / 2), "log_mean", _MIN_SEEDS, null=whole,
    )  # fmt: skip

    def squares(generation: int) -> np.ndarray:
        means = dataset["mean"].sel(web="unbiased", generation=rest).isel(lab=slice(config.labs))
        return (means**2).mean(["generation", "lab"]).values / law

    def kept(generation: int) -> np.ndarray:
        logs = dataset["log_variance"].sel(web="biased", generation=generation).isel(lab=slice(config.labs))
        return xr.ufuncs.exp(logs.astype(float)).mean("lab").values / spread

    unbiased = "" if config.bias < 1 else "labs of this run are not biased"
    return [
        _asked(config, error, last, ("unbiased",), squares),
        _asked(config, variance, last, ("biased",), kept, unbiased),
    ]


def _movers(config: WebConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Who comes late errs more where generators are biased, and hardly where they are not."""
    last, end = last_reached(dataset["mean"]), config.generations
    size = lawful_advantage(config)
    unmet = "" if config.bias < 1 and size > 0 else "labs of this run are not biased"
    lasting = Claim(
        "first-mover",
        f"With generators that keep {config.bias:g} of the variance, who trains first at step {end} errs more than who "
        "did at step 0, on as many rows.",
        SHUMAILOV, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    minor = Claim(
        "sampling-is-minor",
        f"Without bias that advantage is below {_MINOR:g} of what bias makes of it, {size:.2g}.",
        LAW_OF_WEB, (-math.inf, _MINOR), "mean", _MIN_SEEDS, null=1.0,
    )  # fmt: skip
    closed = Claim(
        "no-releases",
        f"Where nothing is released it is less than {_MINOR:g} of that, either way.",
        LAW_OF_WEB, (-_MINOR, _MINOR), "mean", _MIN_SEEDS, null=1.0,
    )  # fmt: skip
    share = lambda web: lambda g: advantage(dataset, web, g) / size  # noqa: E731
    return [
        _asked(config, lasting, last, ("biased",), lambda g: advantage(dataset, "biased", g), unmet),
        _asked(config, minor, last, ("unbiased",), share("unbiased"), unmet),
        _asked(config, closed, last, ("no releases",), share("no releases"), unmet),
    ]


def _alike(config: WebConfig, dataset: xr.Dataset) -> Evidence:
    """Whether most of two labs' error is one and the same."""
    begins, last = _rest(config), last_reached(dataset["mean"])
    law = np.asarray(predicted(config, ARMS["unbiased"]).mean_square)[begins:, 0].mean()
    claim = Claim(
        "labs-alike",
        "Most of two unbiased labs' squared error is shared: their errors correlate by more than a half.",
        "homogenisation of labs", (0.0, math.inf), "mean", _MIN_SEEDS, null=-0.5,
    )  # fmt: skip

    def shared(generation: int) -> np.ndarray:
        means = dataset["mean"].sel(web="unbiased", generation=slice(begins, generation))
        one, other = (means.isel(lab=place) for place in (0, 1))
        product, square = (one * other).mean("generation"), ((one**2 + other**2) / 2).mean("generation")
        return ((product - square / 2) / law).values

    return _asked(config, claim, last, ("unbiased",), shared, "" if config.labs > 1 else "the web has one lab")


def _filters(config: WebConfig, dataset: xr.Dataset) -> list[Evidence]:
    """What a detector does to the risk where it costs rows, and where it does not."""
    last = last_reached(dataset["mean"])
    rates = f"t = {config.true_positive_rate:g}, f = {config.false_positive_rate:g}"

    def gain(sign: int, filtered: str, without: str, generation: int) -> np.ndarray:
        def mean_risk(web: str) -> np.ndarray:
            return risk(dataset.sel(web=web, generation=generation).isel(lab=slice(config.labs))).mean("lab").values

        return sign * (mean_risk(without) - mean_risk(filtered))

    said = (
        ("filter-costs", "unbiased, filtered crawl", "Of a fixed crawl and without bias a detector harms labs", -1),
        ("filter-crawl", "biased, filtered crawl", "Of a fixed crawl and with biased labs it helps them", 1),
        ("filter-budget", "biased, filtered", "Of as many training rows and with biased labs it helps them", 1),
    )  # fmt: skip
    found = []
    for name, web, statement, sign in said:
        claim = Claim(name, f"{statement} ({rates}).", LAW_OF_FILTERS, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0)
        without = "biased" if ARMS[web].biased else "unbiased"
        found.append(_asked(config, claim, last, (web, without), partial(gain, sign, web, without)))
    return found


def _texts(config: WebConfig, dataset: xr.Dataset) -> list[Evidence]:
    """The same questions to labs that fine-tune a language model; there is no law of these."""
    last = last_reached(dataset["log_loss"])

    def claim(name: str, statement: str, source: str = SHUMAILOV) -> Claim:
        return Claim(name, statement, source, (0.0, math.inf), "mean", _MIN_TEXT_SEEDS, null=0.0)

    lasting = claim(
        "texts-first-mover",
        f"With labs that write at the temperature {config.bias:g}, who trains first at step {config.generations} "
        "predicts real text worse than who did at step 0.",
    )
    more = claim("texts-bias", "That costs more than where labs write at the temperature 1.")
    saved = claim(
        "texts-filter",
        f"A detector (t = {config.true_positive_rate:g}, f = {config.false_positive_rate:g}) makes it cost less, of as "
        "many training blocks.",
        LAW_OF_FILTERS,
    )
    late = partial(advantage, dataset)
    return [
        _asked(config, lasting, last, ("biased",), lambda g: late("biased", g)),
        _asked(config, more, last, ("biased", "unbiased"), lambda g: late("biased", g) - late("unbiased", g)),
        _asked(
            config, saved, last, ("biased", "biased, filtered"),
            lambda g: late("biased", g) - late("biased, filtered", g),
        ),
    ]  # fmt: skip


def _rest(config: WebConfig) -> int:
    return config.generations - config.generations // _AT_REST
