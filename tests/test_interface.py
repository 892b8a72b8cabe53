"""What users see without asking: defaults, and names, dims and units of what is recorded; changed knowingly alone."""

import dataclasses
import importlib
import inspect

import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import mixture_metrics, two_gaussians, vae_metrics
from collapse_jax.datasets.planes import eight_gaussians
from collapse_jax.metrics import model_free as metrics
from collapse_jax.metrics.digit_classifiers import classifier_metrics, load_classifiers
from collapse_jax.metrics.sample_records import mode_shares, sample_metrics
from collapse_jax.metrics.text import (
    band_log_probs,
    divergences,
    diversity_metrics,
    forgotten_words,
    generated_nats,
    log_loss_metric,
)
from collapse_jax.models.bigram import row_heterozygosity, table_metric
from collapse_jax.models.categorical import categorical_metrics
from collapse_jax.models.gaussian import gaussian_metrics
from collapse_jax.models.kde import kde_metrics
from collapse_jax.models.one_parameter import log_scale_metric
from collapse_jax.models.regression import risk_metric
from collapse_jax.models.vae import held_out_metrics
from collapse_jax.networks.opt.config import opt_config
from collapse_jax.studies.gaussian.study import _metrics as walk_metrics

_FIT_OF_A_DENOISER = {
    "num_fit_steps": 2000, "batch_size": 256, "learning_rate": 1e-3, "average": 0.999, "start": "fresh",
}  # fmt: skip
_NET = {"start": "fresh", "draws": "mean"}
_SAMPLING = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
_CHAINS = {"regime": "replace", "real_fraction": 0.0, "window_size": 5, "seed": 0}
# published: scikit-learn's tolerance, cap and ridge; OPT's and the autoencoder's training; beams; PyTorch's decay
DEFAULTS = {
    "advice.advise.advise": {"regime": "keep", "bias": 1.0, "effective_share": 1.0, "target": 0.9},
    "datasets.mnist.load_mnist": {"split": "train"},
    "datasets.synthetic.two_gaussians": {"separation": 4.0},
    "drivers.compiled.run_compiled": {"lanes": 16, "first_seed": 0},
    "metrics.digit_classifiers.classifier_metrics": {"num_images": 300},
    "metrics.digit_classifiers.train_judges": {"num_held_out": 2000, "num_steps": 1200, "batch_size": 128},
    "metrics.model_free.log_total_variance": {"num_rows": 1000},
    "metrics.model_free.pixel_variance": {"num_images": 1000},
    "metrics.model_free.sample_mean": {"num_rows": 1000},
    "metrics.model_free.sharpness": {"num_images": 1000, "side": 28},
    "metrics.samples.copies": {"ratio": 1 / 3},
    "metrics.samples.density_and_coverage": {"num_neighbours": 5},
    "metrics.sample_records.mode_shares": {"num_rows": 1000},
    "metrics.samples.precision_and_recall": {"num_neighbours": 3},
    "metrics.sample_records.sample_metrics": {"num_rows": 1000, "num_neighbours": 5, "num_components": 10},
    "metrics.samples.sliced_w2": {"num_slices": 64},
    "models.bigram.bigram": {"draws": "path"},
    "models.bigram.known_table": {"draws": "visits"},
    "models.gaussian.gaussian": {"estimator": "unbiased", "bias": 1.0},
    "models.gaussian.gaussian_statistics": {"estimator": "unbiased", "bias": 1.0},
    "models.diffusion.diffusion": {
        "solver": "ddim", "schedule": "linear", "num_steps": 100, "stop": 0.0, "predicts": "noise",
        **_FIT_OF_A_DENOISER,
    },
    "models.diffusion.flow_matching": {"solver": "euler", "num_steps": 50, "stop": 0.0, **_FIT_OF_A_DENOISER},
    "models.score.kernel_score": {"solver": "exact", "schedule": "linear", "num_steps": 100, "stop": 0.0},
    "models.score.linear_score": {
        "solver": "ddim", "schedule": "linear", "num_steps": 100, "stop": 0.0, "draws": "statistics",
        "estimator": "mle",
    },
    "networks.denoisers.mlp_denoiser": {"width": 128, "depth": 3},
    "networks.denoisers.unet_denoiser": {"side": 28, "channels": (24, 48, 72)},
    "models.kde.kde": {"bandwidth": "scott", "width": 0.1},
    "models.language.FineTuning": {
        "num_epochs": 5, "batch_size": 128, "learning_rate": 2e-5, "end_rate": 1e-6, "weight_decay": 0.01,
        "start": "generation-0", "real_batches": 0.0, "keep_best": True, "steps_per_piece": 0,
    },
    "models.language.beam_decoding": {"num_beams": 5},
    "models.language.sampled_decoding": _SAMPLING,
    "models.language.language": {"prompts_from": "original", "prompt_batch": 64},
    "models.mixture.mixture": {
        "start": "warm", "tol": 1e-3, "max_steps": 100, "ridge": "relative", "ridge_size": 1e-6,
    },
    "models.regression.regression": {"noise": 1.0, "estimator": "ols", "penalty": 0.0, "design": "fresh"},
    "models.regression.regression_truth": {"noise": 1.0},
    "metrics.text.band_log_probs": {"num_bands": 5},
    "metrics.text.diversity_metrics": {"num_shown": 4},
    "metrics.text.log_loss_metric": {"block": 64},
    "models.vae.conv_vae": {
        "num_latents": 20, "num_steps": 7031, "batch_size": 256, "learning_rate": 1e-3, "weight_decay": 1e-5,
        "synthetic": "fresh", **_NET,
    },
    "models.vae.vae": {
        "num_pixels": 784, "num_hidden": 256, "num_latents": 16, "num_steps": 470, "batch_size": 128,
        "learning_rate": 1e-3, "weight_decay": 0.0, "synthetic": "fixed", **_NET,
    },
    "models.vae.vae_metrics": {"num_images": 1000, "num_shown": 20, "side": 28},
    "networks.opt.beams.beam_search": {"num_beams": 5, "length_penalty": 1.0, "early_stopping": False},
    "networks.opt.decoding.Rules": {
        "max_new_tokens": 64, "min_new_tokens": 0, "repetition_penalty": 1.0, "no_repeat_ngram": 0, "ends": True,
    },
    "networks.opt.decoding.sample": _SAMPLING,
    "networks.opt.watermarks.green_list": {"green_share": 0.25, "boost": 3.0, "window": 2},
    "networks.opt.watermarks.gumbel": {"window": 4},
    "networks.opt.watermarks.detect_watermark": {"prompt_length": 0},
    "networks.opt.config.OPTConfig": {
        "vocab_size": 50272, "hidden_size": 768, "num_layers": 12, "num_heads": 12, "ffn_size": 3072,
        "max_positions": 2048, "embed_size": None, "pre_norm": True, "final_norm": True, "bias": True, "affine": True,
        "dropout": 0.1, "attention_dropout": 0.0, "pad_token": 1, "bos_token": 2, "eos_token": 2, "init_std": 0.02,
        "dtype": "float32", "precision": "default", "remat": False,
    },
    "networks.opt.scoring.block_log_loss": {"length": 64, "batch_size": 32},
    "analysis.plots.band": {"share": 0.9, "line": "-"},
    "core.regimes.curate": {"choice": "best", "sharpness": 1.0},
    "drivers.simulate.simulate": {"keep": (), "lanes": 16, "segment_length": 100},
    "studies.gaussian.config.GaussianCell": {
        "num_samples": 100, "dim": 1, "estimator": "mle", "draws": "points", "bias": 1.0, "generations": 1000,
        "seeds": 64, **_CHAINS,
    },
    "studies.gaussian.config.GaussianConfig": {
        "num_samples": (100, 500, 1000, 10_000), "generations": 2000, "seeds": 512, "estimator": "unbiased",
        "regime_samples": 100, "regime_generations": 100, "lanes": 64, "seed": 0,
    },
    "studies.gmm.config.GMMConfig": {
        "num_samples": (100, 1000), "generations": 2000, "seeds": 64, "truth": "two-clusters", "separation": 4.0,
        "num_components": 2, "start": "warm", "tol": 1e-3, "max_steps": 100, "tight_tol": None, "ridge": "relative",
        "ridge_size": 1e-6, "held_out": 500, "lanes": 16, **_CHAINS,
    },
    "studies.opt.config.OPTStudyConfig": {
        "model": None, "text": None, "num_samples": 192, "generations": 5, "seeds": 2,
        "arms": ("A5 beams", "B5 beams"), "kept": 0.1, "mixing": "example", "truth": "text",
        "text_column": "text", "num_beams": 5,
        "prompts": "original", "start": "generation-0", "keep_best": True, "batch_size": 32, "learning_rate": 3e-4,
        "end_rate": 1e-6, "weight_decay": 0.01, "spread": "seeds", "num_evaluated": 128, "lanes": 2, "seed": 0,
    },
    "studies.diffusion.config.DiffusionConfig": {
        "arms": ("ddim:25", "ddim:50", "edm:18", "ddim:50:accumulate"), "data": "small-digits", "data_folder": None,
        "num_samples": 3000, "toys": ("eight-gaussians", "two-moons"), "toy_samples": 1000, "generations": 8,
        "seeds": 4, "net": "mlp", "width": 256, "toy_width": 128, "predicts": "velocity", "num_fit_steps": 800,
        "toy_fit_steps": 600, "batch_size": 128, "learning_rate": 4e-3, "average": 0.999, "start": "fresh",
        "real_fraction": 0.0, "window_size": 5, "num_measured": 1000, "num_judged": 300, "lanes": 1, "seed": 0,
    },
    "studies.web.config.WebConfig": {
        "model": "gaussian",
        "webs": ("unbiased", "biased", "no releases", "unbiased, filtered crawl", "biased, filtered crawl",
                 "biased, filtered"),
        "num_real": 400, "inflow": 40, "deletion": 0.1, "labs": 2, "num_samples": 100, "num_released": 60, "bias": 0.8,
        "true_positive_rate": 0.9, "false_positive_rate": 0.1, "generations": 80,
        "seeds": 512, "lanes": 64, "seed": 0,
    },
    "web.labs.labs": {"releases": None, "entry": 0, "until": None, "values": None, "archive": 0, "human": None,
                      "crawl": False},
    "web.pool.pool": {"capacity": None, "order": "uniform", "filter": None, "poison": None},
    "web.filters.posterior": {"exponent": 1.0, "frozen_at": None, "smoothing": 0.0},
    "web.filters.trained": {"ridge": 1.0, "frozen_at": None, "below": None},
    "studies.vae.config.VAEConfig": {
        "num_samples": 10_000, "generations": 20, "seeds": 5, "data_folder": None, "num_digits": None, "net": "mlp",
        "num_hidden": 256, "num_latents": 16, "num_steps": 600, "batch_size": 128, "learning_rate": 4e-3,
        "weight_decay": 0.0, "synthetic": "fixed", "num_measured": 1000, "num_judged": 300, "lanes": 5, **_NET,
        **_CHAINS,
    },
    "drivers.summary.Summary": {"quantile_generations": (), "quantiles": (0.05, 0.25, 0.5, 0.75, 0.95), "edges": {}},
    "drivers.sweep.sweep": {"record_every": 1, "memory": 2**30},
    "networks.training.adam": {"weight_decay": 0.0},
    "networks.training.adamw": {"weight_decay": 0.01, "decay_vectors": True, "clip": None},
}  # fmt: skip


def _defaults(found):
    if dataclasses.is_dataclass(found):
        return {f.name: f.default for f in dataclasses.fields(found) if f.default is not dataclasses.MISSING}
    if inspect.isclass(found):
        return found._field_defaults
    parameters = inspect.signature(found).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_these(name):
    module, _, attribute = f"collapse_jax.{name}".rpartition(".")
    found = _defaults(getattr(importlib.import_module(module), attribute))
    told = {key: value for key, value in found.items() if value is not None or key in DEFAULTS[name]}
    plain = {key: told[key] for key in told if not callable(told[key]) and not hasattr(told[key], "_fields")}
    plain = {key: value for key, value in plain.items() if not dataclasses.is_dataclass(value)}
    assert plain == DEFAULTS[name]


IMAGES = np.zeros((2, 784), np.float32)
TINY = opt_config("tiny")
BLOCKS = np.full((2, 300), 3, np.int32)


def _recorded():
    """Every metric that the package makes."""
    yield from (metrics.log_total_variance(2), metrics.sample_mean(), metrics.pixel_variance(2), metrics.sharpness())
    yield from (metrics.images(2), *gaussian_metrics(), *walk_metrics("regime_"), *kde_metrics())
    yield from (*categorical_metrics(), row_heterozygosity(), table_metric(), log_scale_metric())
    yield risk_metric(np.ones(1))
    yield from (*sample_metrics(np.eye(9)), mode_shares(eight_gaussians()))
    yield from mixture_metrics(two_gaussians(), jnp.zeros((2, 2)))
    yield from (*vae_metrics(2), *held_out_metrics(IMAGES), *classifier_metrics(load_classifiers(), 2))
    yield from (log_loss_metric("validation", TINY, BLOCKS.ravel()), generated_nats(TINY), forgotten_words(BLOCKS))
    yield from (band_log_probs(TINY, BLOCKS, BLOCKS), divergences(TINY, {}, BLOCKS), *diversity_metrics(9))


NATS, UNITS, SQUARED = "nats", "data units", "squared data units"
RECORDED = {
    ("log_total_variance", (), NATS), ("sample_mean", ("axis",), UNITS),
    ("pixel_variance", (), "squared intensity"), ("sharpness", (), "squared intensity"),
    ("images", ("image", "pixel"), "1/255 intensity"),
    ("frechet", (), SQUARED), ("precision", (), "1"), ("recall", (), "1"), ("density", (), "1"), ("coverage", (), "1"),
    ("copies", (), "1"), ("component_variance", ("component",), SQUARED), ("mode_shares", ("mode",), "1"),
    ("mean", ("axis",), UNITS), ("log_scale", ("axis",), NATS), ("log_scale", (), NATS),
    ("regime_mean", (), UNITS), ("regime_log_variance", (), NATS), ("variance", (), SQUARED),
    ("heterozygosity", (), "1"), ("entropy", (), NATS), ("probabilities", ("class",), "1"),
    ("row_heterozygosity", (), "1"), ("table", ("context", "word"), "1"), ("test_error", (), "squared label units"),
    ("log_within_variance", (), NATS), ("weights", ("component",), "1"), ("means", ("component", "axis"), UNITS),
    ("covariances", ("component", "axis", "axis_2"), SQUARED), ("log_l2_truth", (), NATS),
    ("log_l2_origin", (), NATS), ("w2_truth", (), SQUARED), ("mean_error", (), UNITS), ("held_out_nll", (), NATS),
    ("latent_mean", (), "latent units"), ("latent_spread", (), "latent units"),
    ("held_out_loss", (), "nats an image"), ("held_out_reconstruction", (), "nats an image"),
    ("judged", ("judgement",), "see collapse_jax.metrics.digit_classifiers.JUDGEMENTS"),
    ("judge_accuracy", ("judge",), "1"), ("real_unanimous_share", (), "1"),
    ("validation", ("protocol",), "nats a token"), ("generated_nats", ("text",), "nats a token"),
    ("band_log_probs", ("band",), NATS), ("divergence", ("direction",), "nats a token"), ("forgotten", (), "1"),
    ("vocabulary", (), "tokens"), ("distinct", ("order",), "1"), ("repetition", (), "1"),
    ("texts", ("sample", "place"), "token"),
}  # fmt: skip


def test_what_is_recorded_has_these_names_dims_and_units():
    assert {(metric.name, metric.dims, metric.unit) for metric in _recorded()} == RECORDED
