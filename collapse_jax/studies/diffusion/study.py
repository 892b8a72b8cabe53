"""The diffusion study: build the chains; claims and figures stand beside.

Each arm is a net trained on what it drew, by a sampler of its own. Beside it runs its null: the exact, affine score of
the same data's Gaussian, drawn by the same sampler under the same regime, whose variances are the sampler's doing, the
regime's and chance's alone.
"""

from collections.abc import Sequence
from functools import partial

import jax
import xarray as xr

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import stack_chains
from collapse_jax.core.data import as_samples
from collapse_jax.core.protocol import Chain, Metric, Model, Regime
from collapse_jax.datasets import planes
from collapse_jax.datasets.mnist import held_out_digits
from collapse_jax.drivers.results import Records, to_dataset
from collapse_jax.metrics.digit_classifiers import JUDGEMENTS, classifier_metrics, load_classifiers
from collapse_jax.metrics.sample_records import sample_metrics
from collapse_jax.models.diffusion import diffusion, flow_matching
from collapse_jax.models.score import linear_score
from collapse_jax.networks.denoisers import Denoiser, mlp_denoiser, unet_denoiser
from collapse_jax.studies.diffusion.answer import PUBLISHED, answer
from collapse_jax.studies.diffusion.arms import ArmOfSampler, parse_arms
from collapse_jax.studies.diffusion.claims import evidence
from collapse_jax.studies.diffusion.config import DiffusionCell, DiffusionConfig
from collapse_jax.studies.diffusion.digits import (
    NUM_HELD_OUT,
    NUM_NEIGHBOURS,
    RealDigits,
    data_read,
    in_intensities,
    log_kept,
    read_digits,
    shown,
)
from collapse_jax.studies.diffusion.figures import figures
from collapse_jax.studies.diffusion.toys import TRUTHS, toy_metrics
from collapse_jax.studies.plan import Arm, Plan
from collapse_jax.studies.regime_options import named_regime
from collapse_jax.validation import check_choice, check_count

__all__ = ["PUBLISHED", "answer", "build", "cell", "evidence", "figures"]

_NULLS = "affine scores"  # the arm of all nulls
_NUM_SHOWN = 10
_TAKES_REAL = ("replace-part", "weight-real")  # regimes with a share of original data


def build(config: DiffusionConfig) -> Plan:
    """Return the chains of the study: the nulls of all arms in one, each arm's net, and the toys; checked.

    Raises:
        ValueError: a field out of range, or digits that cannot be read.
    """
    arms = parse_arms(config.arms)
    if config.real_fraction and not any(arm.regime in _TAKES_REAL for arm in arms.values()):
        raise ValueError(
            f"`real_fraction` {config.real_fraction} has no meaning for these arms; add one such as "
            "'ddim:50:replace-part'."
        )
    check_count("num_judged", config.num_judged, minimum=0)
    data = read_digits(config.data, config.data_folder, config.num_samples)
    metrics = _metrics(config, data)
    nulls = {name: _null(config, data, arm) for name, arm in arms.items()}
    nets = {name: _chain(config, data, arm, _net(config, data), metrics) for name, arm in arms.items()}
    found = [Arm(_NULLS, stack_chains(nulls, "arm")), *(Arm(name, chain) for name, chain in nets.items())]
    found += [Arm(name, chain) for name, chain in _toys(config, next(iter(arms.values()))).items()]
    return Plan(
        None,
        tuple(found),
        segment_length=1,
        lanes=config.lanes,
        gather=partial(_gathered, config, tuple(found)),
        data=partial(data_read, data, config.data_folder, config.num_measured, config.seed),
    )


def cell(config: DiffusionCell) -> Chain:
    """Return one chain of a sweep.

    Raises:
        ValueError: a field out of range.
    """
    arm = ArmOfSampler(config.sampler, config.num_steps, config.regime, config.stop)
    whole = DiffusionConfig(
        num_samples=config.num_samples, width=config.width, num_fit_steps=config.num_fit_steps,
        real_fraction=config.real_fraction, window_size=config.window_size, generations=config.generations,
    )  # fmt: skip
    with jax.ensure_compile_time_eval():  # a sweep builds its chains where it compiles them
        data = read_digits("small-digits", None, config.num_samples)
        metrics = (log_kept(data), *_compared(whole, data))
    if config.score == "affine":
        regime = _regime(whole, arm.regime, config.num_samples)
        return build_chain(_affine(data, arm), regime, as_samples(data.rows), config.num_samples, metrics)
    return _chain(whole, data, arm, _net(whole, data), metrics)


def _metrics(config: DiffusionConfig, data: RealDigits) -> tuple[Metric, ...]:
    """Return what is recorded of every net."""
    metrics = (log_kept(data), *_compared(config, data), shown(data, _NUM_SHOWN))
    if data.side != 28 or not config.num_judged:
        return metrics
    known = held_out_digits(config.data_folder, NUM_HELD_OUT, NUM_HELD_OUT)
    judged = classifier_metrics(load_classifiers(held_out=known), config.num_judged)
    return (*metrics, *(in_intensities(data, metric) for metric in judged))


def _compared(config: DiffusionConfig, data: RealDigits) -> tuple[Metric, ...]:
    """Return what comparison with held-out digits gives, but for variances along their axes."""
    num = min(config.num_measured, config.num_samples, len(data.held_out))  # of both: as the floors are taken
    found = sample_metrics(data.held_out[:num], num_rows=num, num_neighbours=NUM_NEIGHBOURS)
    return tuple(metric for metric in found if metric.name != "component_variance")


def _net(config: DiffusionConfig, data: RealDigits) -> Denoiser:
    if config.net == "unet":
        return unet_denoiser(data.side)
    return mlp_denoiser(data.side**2, width=config.width)


def _model(config: DiffusionConfig, arm: ArmOfSampler, net: Denoiser, num_fit_steps: int) -> Model:
    """Return the model of an arm: flow matching where the sampler is a flow's."""
    training = {
        "num_steps": arm.num_steps, "stop": arm.stop, "num_fit_steps": num_fit_steps,
        **{name: getattr(config, name) for name in ("batch_size", "learning_rate", "average", "start")},
    }  # fmt: skip
    if arm.schedule == "flow":
        return flow_matching(net, solver=arm.solver, **training)
    return diffusion(net, solver=arm.solver, schedule=arm.schedule, predicts=config.predicts, **training)


def _regime(config: DiffusionConfig, name: str, num_samples: int) -> Regime:
    share = config.real_fraction if name in _TAKES_REAL else 0.0
    return named_regime(
        name, real_fraction=share, window_size=config.window_size, num_samples=num_samples,
        generations=config.generations,
    )  # fmt: skip


def _chain(
    config: DiffusionConfig, data: RealDigits, arm: ArmOfSampler, net: Denoiser, metrics: tuple[Metric, ...]
) -> Chain:
    model = _model(config, arm, net, config.num_fit_steps)
    regime = _regime(config, arm.regime, config.num_samples)
    return build_chain(model, regime, as_samples(data.rows), config.num_samples, metrics)


def _affine(data: RealDigits, arm: ArmOfSampler) -> Model:
    return linear_score(
        data.side**2, solver=arm.solver, schedule=arm.schedule, num_steps=arm.num_steps, stop=arm.stop,
        draws="points",
    )  # fmt: skip


def _null(config: DiffusionConfig, data: RealDigits, arm: ArmOfSampler) -> Chain:
    """Return the chain of an arm's null: points as a net draws them, so that every regime takes them."""
    kept = log_kept(data)._replace(name="null_log_kept")
    regime = _regime(config, arm.regime, config.num_samples)
    return build_chain(_affine(data, arm), regime, as_samples(data.rows), config.num_samples, (kept,))


def _toys(config: DiffusionConfig, arm: ArmOfSampler) -> dict[str, Chain]:
    chains = {}
    for name in config.toys:
        model = _model(config, arm, mlp_denoiser(2, width=config.toy_width), config.toy_fit_steps)
        truth = getattr(planes, TRUTHS[check_choice("toys", name, TRUTHS)])()
        real = truth.sampler(check_count("toy_samples", config.toy_samples))
        regime = _regime(config, "replace", config.toy_samples)
        chains[name] = build_chain(model, regime, real, config.toy_samples, toy_metrics(truth))
    return chains


def _gathered(config: DiffusionConfig, arms: Sequence[Arm], records: Sequence[Records | None]) -> xr.Dataset:
    """Return the records of nets side by side, with those of their nulls and of the toys."""
    labels = {"arm": list(config.arms), "judgement": list(JUDGEMENTS)}
    parts: list[xr.Dataset] = []
    beside: dict[str, list[xr.Dataset]] = {"arm": [], "toy": []}
    for arm, found in zip(arms, records):
        if found is None:
            continue
        part = to_dataset(found, arm.chain.metrics)
        if arm.value == _NULLS:
            parts.append(part.rename({"is_finite": "null_is_finite"}))
            continue
        dim = "toy" if arm.value in config.toys else "arm"
        if dim == "toy":  # what every fit reports has one name
            part = part.rename({name: f"toy_{name}" for name in ("is_finite", "loss") if name in part})
        beside[dim].append(part.expand_dims({dim: [arm.value]}))
    for dim, members in beside.items():
        if members:
            parts.append(xr.concat(members, dim, join="outer", combine_attrs="override"))
    named = [
        part.assign_coords(
            {dim: values for dim, values in labels.items() if dim in part.dims and dim not in part.coords}
        )
        for part in parts
    ]
    return xr.merge(named, join="outer", combine_attrs="override")
