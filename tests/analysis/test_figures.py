"""The studies' figures show the numbers of the run and of the law: every line is read back and computed again."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from collapse_jax.metrics.digit_classifiers import JUDGEMENTS
from collapse_jax.metrics.text import DIRECTIONS, PROTOCOLS
from collapse_jax.studies.gaussian import figures as gaussian_figures
from collapse_jax.studies.gaussian.comparison import predicted_variance
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gmm import figures as gmm_figures
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.loading import load
from collapse_jax.studies.opt import figures as opt_figures
from collapse_jax.studies.opt.config import OPTStudyConfig
from collapse_jax.studies.registry import find_study
from collapse_jax.theory import gaussian as exact

RNG = np.random.default_rng(7)
SEEDS, LAST = 20, 30


def _lines(panel):
    """Label -> heights of each line; lines without a name by their place."""
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in panel.get_lines()}


def _walk(*sizes, scale=1.0):
    """Numbers that wander, so that no two lines are alike: [seed, generation, ...]."""
    return np.cumsum(scale * RNG.normal(size=(SEEDS, LAST + 1, *sizes)), axis=1)


GAUSSIAN = GaussianConfig(
    num_samples=(10, 50), generations=LAST, seeds=SEEDS, regime_samples=20, regime_generations=10
)


@pytest.fixture(scope="module")
def walks():
    """Log variances that fall and means that walk, of two M and of every regime; and the figures."""
    names = list(predicted_variance(GAUSSIAN))
    fall = -np.arange(LAST + 1)[None, :, None] / np.array([10.0, 50.0])
    dims = ("seed", "generation")
    dataset = xr.Dataset(
        {
            "mean": ((*dims, "num_samples"), _walk(2)),
            "log_variance": ((*dims, "num_samples"), fall + _walk(2, scale=0.3)),
            "regime_mean": ((*dims, "regime"), _walk(len(names))),
            "regime_log_variance": ((*dims, "regime"), _walk(len(names), scale=0.1)),
        },
        {"seed": np.arange(SEEDS), "generation": np.arange(LAST + 1), "num_samples": [10, 50], "regime": names},
    )
    return dataset, {picture.name: picture for picture in gaussian_figures.figures(GAUSSIAN, dataset)}


def test_walks_are_means_and_standard_deviations_beside_their_laws(walks):
    dataset, pictures = walks
    panels = np.array(pictures["walks"].figure.axes).reshape(2, 2)
    fits = np.arange(1, LAST + 2)
    for column, size in enumerate((10, 50)):
        arm = dataset.sel(num_samples=size)
        upper, lower = ([line.get_ydata() for line in panel.get_lines()] for panel in panels[:, column])
        np.testing.assert_allclose(upper[:12], arm["mean"].values[:12])
        np.testing.assert_allclose(lower[:12], np.exp(arm["log_variance"].values[:12] / 2))
        spread = np.sqrt([float(exact.mean_variance(int(n), size, 1)) for n in fits])
        np.testing.assert_allclose(upper[12:], [-spread, spread], rtol=1e-5)
        # log v_n is a sum of n log chi-squares: nearly normal, with their mean and variance
        drift, variance = float(exact.log_variance_drift(size, 1)), float(exact.log_variance_variance(size))
        for line, share in zip(lower[12:], (0.05, 0.5, 0.95), strict=True):
            law = stats.norm(fits * drift, np.sqrt(fits * variance)).ppf(share)
            np.testing.assert_allclose(line, np.exp(law / 2), rtol=1e-5)


def test_survival_counts_the_seeds_above_each_share_beside_its_law(walks):
    dataset, pictures = walks
    panels = pictures["survival"].figure.axes
    fits = np.arange(1, LAST + 2)
    for panel, share in zip(panels, (0.5, 0.1, 0.01), strict=True):
        shown = [line.get_ydata() for line in panel.get_lines()]
        for index, size in enumerate((10, 50)):
            above = np.exp(dataset["log_variance"].sel(num_samples=size)) > share
            np.testing.assert_allclose(shown[2 * index], above.mean("seed"))
            law = [float(exact.above_probability(np.log(share), int(n), size, 1)) for n in fits]
            np.testing.assert_allclose(shown[2 * index + 1], law, atol=1e-6)
    assert "50%" in panels[0].get_title() and "1%" in panels[2].get_title()


def test_times_are_medians_of_first_passages_in_fits(walks):
    """Generation 0 is the first fit; quartiles by rank; a median beyond the run is not drawn."""
    dataset, pictures = walks
    (panel,) = pictures["time"].figure.axes
    for container, share in zip(panel.containers, (0.5, 0.1, 0.01), strict=True):
        points, caps, _ = container.lines
        expected = {}
        for size in (10, 50):
            below = np.exp(dataset["log_variance"].sel(num_samples=size).values) < share
            first = np.sort([row.argmax() + 1 if row.any() else np.inf for row in below])
            expected[size] = first[[int(q * (SEEDS - 1)) for q in (0.25, 0.5, 0.75)]]
        seen = [size for size, (_, median, _) in expected.items() if np.isfinite(median)]
        assert points.get_xdata().tolist() == seen and (seen or share == 0.01)
        for place, size in enumerate(seen):
            low, median, high = expected[size]
            assert points.get_ydata()[place] == median and caps[0].get_ydata()[place] == low
            assert caps[1].get_ydata()[place] == (high if np.isfinite(high) else LAST + 1)
    for line, share in zip([line for line in panel.get_lines() if len(line.get_xdata()) == 50], (0.5, 0.1, 0.01)):
        size, fits = line.get_xdata()[25], line.get_ydata()[25]
        passed = [float(exact.passed_probability(np.log(share), f, size, 1)) for f in (0.93 * fits, 1.07 * fits)]
        assert passed[0] < 0.5 < passed[1]


def test_regimes_are_means_over_seeds_beside_the_recursion(walks):
    dataset, pictures = walks
    predicted = predicted_variance(GAUSSIAN)
    for panel, (name, law) in zip(pictures["regimes"].figure.axes, predicted.items()):
        variance = np.exp(dataset["regime_log_variance"].sel(regime=name).values[:, :11])
        mean, drawn = panel.get_lines()
        np.testing.assert_allclose(mean.get_ydata(), variance.mean(axis=0))
        np.testing.assert_allclose(drawn.get_ydata(), law)
        corners = panel.collections[0].get_paths()[0].vertices
        error = variance.std(axis=0) / np.sqrt(SEEDS)
        last = corners[corners[:, 0] == 10, 1]
        ends = variance[:, 10].mean() + 2 * error[10] * np.array([-1, 1])
        np.testing.assert_allclose((last.min(), last.max()), ends)
        assert panel.get_title() == name


MIXTURE = GMMConfig(num_samples=(8,), generations=LAST, seeds=SEEDS, tol=1e-3, tight_tol=1e-6)


@pytest.fixture(scope="module")
def mixtures():
    numbers = ("log_total_variance", "log_l2_truth", "log_l2_origin", "w2_truth", "em_steps")
    values = {name: np.abs(_walk()) + 1.0 for name in (*numbers, "tight_em_steps", "tight_log_l2_origin")}
    values |= {name: RNG.random((SEEDS, LAST + 1)) < 0.7 for name in ("converged", "tight_converged")}
    lives = RNG.integers(2, LAST, SEEDS)[:, None]
    values["num_alive"] = np.where(np.arange(LAST + 1) < lives, 2, 1)
    dims = ("num_samples", "seed", "generation")
    dataset = xr.Dataset({name: (dims, value[None]) for name, value in values.items()})
    weights = RNG.dirichlet(np.ones(2), (SEEDS, LAST + 1))
    dataset["weights"] = ((*dims, "component"), weights[None])
    dataset["means"] = ((*dims, "component", "axis"), RNG.normal(size=(1, SEEDS, LAST + 1, 2, 2)))
    units = np.broadcast_to(np.eye(2), (1, SEEDS, LAST + 1, 2, 2, 2))
    dataset["covariances"] = ((*dims, "component", "axis", "axis_2"), units)
    dataset = dataset.assign_coords(num_samples=[8], seed=np.arange(SEEDS), generation=np.arange(LAST + 1))
    return dataset, {picture.name: picture for picture in gmm_figures.figures(MIXTURE, dataset)}


def test_a_mixture_s_variance_is_the_truths_share_beside_its_exact_mean(mixtures):
    """The truth's total variance is 6: two unit clusters, four apart."""
    dataset, pictures = mixtures
    (panel,) = pictures["variance"].figure.axes
    ratio = np.exp(dataset["log_total_variance"].values[0]) / 6
    median, mean, law = [line.get_ydata() for line in panel.get_lines()[:3]]
    np.testing.assert_allclose(median, np.median(ratio, axis=0))
    np.testing.assert_allclose(mean, ratio.mean(axis=0))
    np.testing.assert_allclose(law, (1 - 1 / 8) ** np.arange(1, LAST + 2), rtol=1e-5)


def test_distances_are_decimal_logarithms_but_for_the_transport(mixtures):
    dataset, pictures = mixtures
    panels = pictures["distance"].figure.axes
    truth, origin, transport = (panel.get_lines()[0] for panel in panels)
    np.testing.assert_allclose(truth.get_ydata(), np.median(dataset["log_l2_truth"][0], axis=0) / np.log(10))
    np.testing.assert_allclose(origin.get_ydata(), np.median(dataset["log_l2_origin"][0], axis=0)[1:] / np.log(10))
    np.testing.assert_allclose(transport.get_ydata(), np.median(dataset["w2_truth"][0], axis=0))
    assert origin.get_xdata()[0] == 1  # generation 0 is at rounding from itself


def test_survival_of_components_is_drawn_against_fits_over_m(mixtures):
    dataset, pictures = mixtures
    left, right = pictures["survival"].figure.axes
    alive = left.get_lines()[0]
    np.testing.assert_allclose(alive.get_xdata(), np.arange(1, LAST + 2) / 8)
    np.testing.assert_allclose(alive.get_ydata(), (dataset["num_alive"][0] == 2).mean(axis=0))
    smaller = dataset["weights"].values[0].min(axis=-1)
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), np.median(smaller, axis=0))
    # two classes of equal share, which the last of 8 points loses: 6 w (1 - w)(1 - 1/M)^n from n = M on
    law = next(line for line in left.get_lines() if line.get_color() == "black" and len(line.get_xdata()))
    fits = law.get_xdata() * 8
    assert fits[0] == 8
    np.testing.assert_allclose(law.get_ydata(), 1.5 * (1 - 1 / 8) ** fits, rtol=1e-5)


def test_what_em_did_is_shown_for_both_tolerances(mixtures):
    dataset, pictures = mixtures
    steps, share, distance = pictures["em"].figure.axes
    for index, prefix in enumerate(("", "tight_")):
        np.testing.assert_allclose(
            steps.get_lines()[index].get_ydata(), np.median(dataset[f"{prefix}em_steps"][0], axis=0)
        )
        np.testing.assert_allclose(
            share.get_lines()[index].get_ydata(), dataset[f"{prefix}converged"][0].mean(axis=0)
        )
        later = np.median(dataset[f"{prefix}log_l2_origin"][0], axis=0)[1:]
        np.testing.assert_allclose(distance.get_lines()[index].get_ydata(), later / np.log(10))
    assert [line.get_label()[-9:] for line in distance.get_lines()] == ["tol 0.001", "tol 1e-06"]


ARMS, TEXTS, BANDS = ("A5 beams", "B5 beams", "A5 sample"), 40, 3


@pytest.fixture(scope="module")
def language():
    dims, shape = ("arm", "seed", "generation"), (len(ARMS), 3, 6)
    spread = lambda *sizes: RNG.gamma(4.0, size=(*shape, *sizes))  # noqa: E731
    variables = {
        "validation": ((*dims, "protocol"), spread(3)), "zero_shot": (dims, np.full(shape, 4.6)),
        "bytes_per_token": (dims, np.full(shape, 2.5)), "divergence": ((*dims, "direction"), spread(2)),
        "generated_nats": ((*dims, "text"), spread(TEXTS)), "distinct": ((*dims, "order"), spread(3)),
        "band_log_probs": ((*dims, "band"), -spread(BANDS)),
        "prompts": ((*dims, "sample", "place"), np.full((*shape, 2, 5), 9)),
        "texts": ((*dims, "sample", "place"), RNG.integers(9, 200, (*shape, 2, 5))),
        **{name: (dims, spread()) for name in ("forgotten", "entropy", "repetition")},
    }  # fmt: skip
    axes = {"arm": list(ARMS), "seed": range(3), "generation": range(6), "protocol": list(PROTOCOLS)}
    dataset = xr.Dataset(variables, {**axes, "direction": list(DIRECTIONS)})
    return dataset, {picture.name: picture for picture in opt_figures.figures(OPTStudyConfig(), dataset)}


def _medians(panel, values):
    """Each arm's line is the median over seeds of `values`."""
    lines = _lines(panel)
    for name in ARMS:
        np.testing.assert_allclose(lines[name], values.sel(arm=name).median("seed"))


def test_perplexities_are_exponentials_and_bytes_compare_vocabularies(language):
    dataset, pictures = language
    panels = pictures["perplexity"].figure.axes
    for panel, protocol in zip(panels, PROTOCOLS):
        _medians(panel, np.exp(dataset["validation"].sel(protocol=protocol)))
        assert panel.get_title() == f"perplexity, {protocol}"
    np.testing.assert_allclose(_lines(panels[0])["before fine-tuning"], np.exp(4.6))
    _medians(panels[3], dataset["validation"].sel(protocol=PROTOCOLS[0]) / 2.5)
    for panel, direction in zip(pictures["divergence"].figure.axes, DIRECTIONS):
        _medians(panel, dataset["divergence"].sel(direction=direction))


def test_bands_of_the_language_model_hold_every_seed(language):
    dataset, pictures = language
    corners = pictures["words"].figure.axes[1].collections[0].get_paths()[0].vertices
    own = dataset["entropy"].sel(arm=ARMS[0], generation=2)
    at = corners[corners[:, 0] == 2, 1]
    np.testing.assert_allclose((at.min(), at.max()), (own.min(), own.max()))


def test_words_are_shown_under_their_names(language):
    dataset, pictures = language
    panels = {panel.get_title(): panel for panel in pictures["words"].figure.axes}
    _medians(panels["vocabulary forgotten"], dataset["forgotten"])
    _medians(panels["entropy of tokens, nats"], dataset["entropy"])
    _medians(panels["share of different triples"], dataset["distinct"].isel(order=1))
    _medians(panels["repeated within a text"], dataset["repetition"])


def test_shares_lie_outside_of_model_0s_own_quantiles(language):
    """Seed by seed: at or below the 5th percentile, above the 99th, above the largest; and the median text."""
    dataset, pictures = language
    panels = pictures["shares"].figure.axes
    nats = dataset["generated_nats"]
    first = nats.sel(generation=0)
    outside = (
        (nats <= first.quantile(0.05, "text")), (nats > first.quantile(0.99, "text")), (nats > first.max("text")),
    )  # fmt: skip
    for panel, flags, base in zip(panels, outside, (0.05, 0.01, 0.0)):
        _medians(panel, flags.mean("text"))
        (level,) = [line.get_ydata()[0] for line in panel.get_lines() if line.get_color() == "#999999"]
        assert level == pytest.approx(base)
    _medians(panels[3], nats.median("text"))


def test_tails_are_shares_of_texts_by_perplexity_and_bands_changes_since_generation_0(language):
    dataset, pictures = language
    for panel, name in zip(pictures["tails"].figure.axes, ARMS):
        for patch, generation in zip(panel.patches, (0, 1, 2, 3, 5), strict=True):
            values = dataset["generated_nats"].sel(arm=name, generation=generation).values.ravel()
            heights, edges, _ = patch.get_data()
            assert heights.sum() == pytest.approx(1) and patch.get_label() == f"generation {generation}"
            np.testing.assert_allclose(heights, np.histogram(np.exp(values), edges)[0] / values.size, atol=0.02)
            ends = dataset["generated_nats"].min(), dataset["generated_nats"].max()
            np.testing.assert_allclose(np.log(edges[[0, -1]]), ends)
    for panel, name in zip(pictures["bands"].figure.axes, ARMS):
        own = dataset["band_log_probs"].sel(arm=name).mean("seed")
        for index, where in enumerate((", rarest", "", ", commonest")):
            line = _lines(panel)[f"fifth {index + 1}{where}"]
            np.testing.assert_allclose(line, own.isel(band=index) - own.isel(band=index, generation=0), atol=1e-12)


def test_digits_are_judged_under_their_own_names():
    config = replace(find_study("vae").preset("smoke"), generations=3, seeds=4)
    dims, shape = ("num_samples", "seed", "generation"), (1, 4, 4)
    names = (
        "latent_spread", "latent_mean", "pixel_variance", "sharpness", "loss", "held_out_loss",
        "held_out_reconstruction",
    )  # fmt: skip
    dataset = xr.Dataset({name: (dims, RNG.random(shape)) for name in names})
    dataset["judged"] = ((*dims, "judgement"), RNG.random((*shape, len(JUDGEMENTS))))
    dataset["judge_accuracy"] = ((*dims, "judge"), np.full((*shape, 5), 0.98))
    dataset["real_unanimous_share"] = (dims, np.full(shape, 0.96))
    dataset["images"] = ((*dims, "image", "pixel"), RNG.integers(0, 256, (*shape, 20, 784), np.uint8))
    dataset = dataset.assign_coords(num_samples=[500], seed=range(4), generation=range(4), judgement=list(JUDGEMENTS))
    pictures = {picture.name: picture for picture in load(find_study("vae")).figures(config, dataset)}
    arm = dataset.isel(num_samples=0)
    judged = lambda name: arm["judged"].sel(judgement=name)  # noqa: E731
    drawn = [panel for name in ("judges", "latent", "pixels") for panel in pictures[name].figure.axes]
    panels = {panel.get_title(): panel for panel in drawn}
    shown = {
        "unanimous share of images": judged("unanimous_share"), "posterior entropy, nats": judged("posterior_entropy"),
        "Frechet distance to real digits": judged("frechet_distance"),
        "latent spread, encoder of generation 0": arm["latent_spread"],
        "latent mean, encoder of generation 0": arm["latent_mean"],
        "pixel variance over images": arm["pixel_variance"], "high-frequency energy": arm["sharpness"],
        "training loss, nats an image": arm["loss"],
    }  # fmt: skip
    for title, values in shown.items():
        np.testing.assert_allclose(panels[title].get_lines()[0].get_ydata(), values.median("seed"), err_msg=title)
    for title, lines in {
        "precision and recall": {"precision": judged("precision"), "recall": judged("recall")},
        "held-out digits, nats an image": {
            "negative ELBO": arm["held_out_loss"], "reconstruction": arm["held_out_reconstruction"],
        },
    }.items():  # fmt: skip
        for name, values in lines.items():
            np.testing.assert_allclose(_lines(panels[title])[name], values.median("seed"), err_msg=name)
    np.testing.assert_allclose(_lines(panels["unanimous share of images"])["real digits"], 0.96)
    shares = np.cumsum([judged(f"class_{digit}").mean("seed") for digit in range(10)], axis=0)
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in panels["classes seen, 0 (bottom) to 9"].collections]
    np.testing.assert_allclose(tops, shares.max(axis=1))
