"""Laws of diffusion and flow samplers with an exact score: what a solver alone does to a Gaussian, and its two ends."""

import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain, Metric, Model, Snapshot
from collapse_jax.core.real_data import fresh, weight_real
from collapse_jax.core.regimes import replace
from collapse_jax.models.gaussian import GaussianTruth, gaussian_metrics, gaussian_statistics, gaussian_truth
from collapse_jax.models.score import kernel_score, linear_score
from collapse_jax.numerics import frame as frames
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import samplers as exact
from collapse_jax.types import Array, Key

_SIZE, _VARIANCE, _MEAN, _POINTS = 1000, 0.1, 3.0, 40
_STOP, _SHARE, _BIAS = 0.1, 0.25, 0.9  # of the flow; of real data; of Neon's draws
_SETTINGS = {
    "DDIM, 100 steps": ("ddim", "linear", 100, 0.0),
    "DDIM, 30 steps, cosine": ("ddim", "cosine", 30, 0.0),
    "DDPM beta, 100 steps": ("ddpm", "linear", 100, 0.0),
    "DDPM beta-tilde, 100 steps": ("ddpm-tilde", "linear", 100, 0.0),
    "Euler on the flow, 50 steps": ("euler", "flow", 50, 0.0),
    "Heun on the flow, 10 steps": ("heun", "flow", 10, 0.0),
    "EDM's Heun, 18 steps": ("heun", "edm", 18, 0.0),
    "DDIM, 50 steps, stopped at 0.02": ("ddim", "linear", 50, 0.02),
}


def laws(records: Records) -> list[Check]:
    """The null of eight solvers, of points and in two dimensions; stopped paths; memorisers; negative guidance."""
    return [
        *_solvers(records), *_in_the_plane(records["plane"]["covariance"]), *_ends(records), *_guidance(records),
        *_identities(),
    ]  # fmt: skip


def chains() -> dict[str, Chain]:
    """Return a chain for each solver, one in the plane, stopped ones, and those of kernels."""
    mean, _, variance = gaussian_metrics()
    truth = GaussianTruth(jnp.array([_MEAN]), jnp.array([[_VARIANCE**0.5]]))
    plane = GaussianTruth(jnp.zeros(2), jnp.array([[0.3, 0.0], [0.9, 0.2]]))
    unit = gaussian_truth(1)
    stopped = linear_score(1, solver="exact", schedule="flow", stop=_STOP)
    fresh_share = weight_real(fresh(truth.moments), weight=_SHARE, count=_SIZE)

    def of(solver: str, schedule: str, num_steps: int, stop: float, **options: str) -> Chain:
        is_points = "draws" in options
        model = linear_score(1, solver=solver, schedule=schedule, num_steps=num_steps, stop=stop, **options)
        real = truth.sampler(_POINTS) if is_points else truth.moments_sampler(_SIZE)
        return build_chain(model, replace(), real, _POINTS if is_points else _SIZE, (mean, variance))

    found = {name: of(*setting) for name, setting in _SETTINGS.items()}
    return found | {
        "points": of("ddim", "linear", 20, 0.0, draws="points"),
        "plane": build_chain(linear_score(2), replace(), plane.moments_sampler(_SIZE), _SIZE, (_covariance(),)),
        "stopped": build_chain(stopped, replace(), unit.moments_sampler(_POINTS), _POINTS, (variance,)),
        "with real data": build_chain(stopped, fresh_share, truth.moments_sampler(_SIZE), _SIZE, (mean,)),
        "kernel": _of_points(kernel_score(schedule="flow", stop=_STOP)),
        "copies": _of_points(kernel_score()),
        "kernel, by steps": _of_points(kernel_score(solver="euler", schedule="flow", num_steps=40, stop=_STOP)),
        "own": build_chain(
            gaussian_statistics(1, estimator="mle", bias=_BIAS), replace(), unit.moments_sampler(50), 100, (variance,)
        ),
    }


def _of_points(model: Model) -> Chain:
    return build_chain(model, replace(), gaussian_truth(1).sampler(_POINTS), _POINTS, (_point_variance(),))


def _covariance() -> Metric:
    def covariance(key: Key, snapshot: Snapshot) -> Array:
        axes = frames.axes(snapshot.params.frame)
        return axes @ axes.T

    return Metric("covariance", ("row", "column"), "squared data units", covariance)


def _point_variance() -> Metric:
    return Metric("variance", (), "squared data units", lambda key, s: jnp.var(s.training.x[:, 0]))


def _ratio(record: dict[str, np.ndarray], setting: tuple[str, str, int, float]) -> np.ndarray:
    """Return the variance of each fit over what the sampler made of the one before, mean over the generations."""
    variance = np.exp(np.asarray(record["log_total_variance"], float))
    return (variance[:, 1:] / np.asarray(exact.variance_drawn(variance[:, :-1], *setting))).mean(axis=1)


def _solvers(records: Records) -> list[Check]:
    """One generation has F(v) (1 - 1/M) on average, whatever v is; and the mean moves as theory says."""
    found, lost = [], 1 - 1 / _SIZE
    for name, setting in _SETTINGS.items():
        found.append(check("sampler, exact score", f"E v' / F(v): {name}", _ratio(records[name], setting), lost))
    of_points = _ratio(records["points"], ("ddim", "linear", 20, 0.0))
    found.append(check("sampler, exact score", "E v' / F(v): DDIM, 20 steps, points", of_points, 1 - 1 / _POINTS))
    for name in ("DDIM, 30 steps, cosine", "EDM's Heun, 18 steps"):
        mean = records[name]["mean"][:, :, 0].astype(float)
        variance = np.exp(records[name]["log_total_variance"].astype(float))
        moved = mean[:, 1] / exact.mean_kept(variance[:, 0], *_SETTINGS[name]) - mean[:, 0] + _MEAN
        found.append(check("sampler, exact score", f"E mu' = mu (1 - sqrt F a_T): {name}", moved, _MEAN))
    return found


def _in_the_plane(covariance: np.ndarray) -> list[Check]:
    """Principal axes are kept, and each has a variance of its own to lose."""
    before, after = (covariance[:, index].astype(float) for index in (0, 1))
    values, axes = np.linalg.eigh(before)
    drawn = np.einsum("rik,rk,rjk->rij", axes, exact.variance_drawn(values), axes) * (1 - 1 / _SIZE)
    truth = np.array([[0.09, 0.27], [0.27, 0.85]])
    found = []
    for row, column in ((0, 0), (1, 0), (1, 1)):
        gap = after[:, row, column] - drawn[:, row, column] + truth[row, column]
        law = f"E covariance [{row}, {column}] = V F(L) V'"
        found.append(check("sampler, two dimensions", law, gap, truth[row, column]))
    return found


def _ends(records: Records) -> list[Check]:
    """A path that stops; real data in each generation; the exact score of the points."""
    signal, noise = 1 - _STOP, _STOP
    kept = 1 - 1 / _POINTS
    stopped = np.exp(records["stopped"]["log_total_variance"].astype(float))
    mean = records["with real data"]["mean"][:, -1, 0].astype(float)
    rounds = records["stopped"]["log_total_variance"].shape[1] - 1
    passed = (1 - _SHARE) * signal  # of the mean's distance from where it stays
    stays = exact.hermite_fixed_point(1, -np.log(signal), _SHARE) * _MEAN / signal  # of what is trained on
    kernel = lambda stop_signal, stop_noise, name: check(  # noqa: E731
        "sampler, kernel score", f"E variance of the points: {name}", records[name]["variance"][:, -1],
        exact.kernel_score_variance(rounds, _POINTS, kept, stop_signal, stop_noise),
    )  # fmt: skip
    return [
        check("sampler, stopped", "E v_n = (1 - 1/M)(a^2 E v + s^2)", stopped[:, -1],
              exact.kernel_score_variance(rounds, _POINTS, kept, signal, noise)),
        check("sampler, stopped", "mean with fresh data: its Hermite mode's fixed point", mean,
              stays + passed**rounds * (_MEAN - stays)),
        kernel(signal, noise, "kernel"),
        kernel(1.0, 0.0, "copies"),
        check("sampler, kernel score", "by 40 Euler steps ~ solved exactly",
              records["kernel, by steps"]["variance"][:, 1],
              exact.kernel_score_variance(1, _POINTS, kept, signal, noise), allowance=0.05),
    ]  # fmt: skip


def _guidance(records: Records) -> list[Check]:
    """A Gaussian corrected by what it makes of itself."""
    variance = np.exp(records["own"]["log_total_variance"].astype(float))
    weight = exact.neon_weight(50, 100, _BIAS)
    of = lambda w: (1 + w) * variance[:, 0] - w * variance[:, 1]  # noqa: E731
    return [
        check("negative guidance", "Neon: E v at w = 1", of(1.0), exact.neon_variance(1.0, 50, 100, _BIAS)),
        check("negative guidance", "Neon: E v = 1 at its best w", of(weight), 1.0),
    ]


def _identities() -> list[Check]:
    """Numbers that need no simulation."""
    half, whole = (1 - exact.variance_kept(0.3, "ddim", "linear", steps) for steps in (1000, 500))
    heun = [abs(1 - exact.variance_kept(0.3, "heun", "flow", steps)) for steps in (80, 40)]
    iterated = 1.0
    for _ in range(400):  # the fourth mode: what is left of it after a generation, and what is added
        iterated = np.exp(-4 * 0.1) * ((1 - _SHARE) * iterated + _SHARE)
    return [
        check_exact("sampler", "DDPM beta, 20 noisy steps, keeps variance 1",
                    exact.variance_drawn(1.0, "ddpm-noisy", "linear", 20), 1.0),
        check_exact("sampler", "DDIM: twice the steps lose half as much", whole / half, 2.0, allowance=0.08),
        check_exact("sampler", "Heun: twice the steps err a quarter as much", heun[1] / heun[0], 4.0, allowance=0.2),
        check_exact("sampler", "Hermite mode 4, iterated", iterated, exact.hermite_fixed_point(4, 0.1, _SHARE)),
    ]  # fmt: skip
