"""What each claim measures, where no two numbers are alike: percentile, sign, generation, protocol, pairing.

Each estimand, region and null is written here once more, with plain indices; a claim without such a line fails.
"""

import dataclasses
import json
import math

import claim_records_gaussian
import claim_records_gmm
import claim_records_opt
import claim_records_vae
import numpy as np
import pytest
import xarray as xr
from claim_cases import stem
from scipy.special import digamma

from collapse_jax.metrics.digit_classifiers import JUDGEMENTS
from collapse_jax.studies.gaussian.claims import evidence as gaussian_evidence
from collapse_jax.studies.gaussian.comparison import predicted_variance
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gmm.claims import evidence as gmm_evidence
from collapse_jax.studies.gmm.config import PRESETS, GMMConfig

_INF = math.inf


def _random(seed=0, low=0.5):
    """Return a function shape -> numbers of which no two are alike."""
    rng = np.random.default_rng(seed)
    return lambda *shape: low + rng.random(shape)


def _check(items, expected):
    """Compare evidence with a table name -> (values, region, null, kind, seeds)."""
    found = {item.claim.name: item for item in items}
    assert set(found) == set(expected)
    for name, (values, region, null, kind, seeds) in expected.items():
        item = found[name]
        assert item.unmet == "", name
        np.testing.assert_allclose(item.values, np.asarray(values, float), rtol=2e-5, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(item.claim.region, region, rtol=2e-5, err_msg=name)
        np.testing.assert_allclose(item.claim.null, null, rtol=2e-5, atol=1e-9, err_msg=name)
        assert (item.claim.kind, item.claim.min_seeds) == (kind, seeds), name


def test_one_gaussian():
    m, n, seeds, last = 20, 210, 400, 20
    config = GaussianConfig(num_samples=(m,), generations=n, seeds=seeds, regime_samples=m, regime_generations=last)
    laws = predicted_variance(config)
    numbers = _random()
    v = np.log(0.1) * 2 + 2 * numbers(seeds, n + 1) - 2  # about the spread that is called gone
    mean, regimes = numbers(seeds, n + 1), numbers(len(laws), seeds, n + 1)
    variables = {
        "log_variance": (("seed", "generation", "num_samples"), v[..., None]),
        "mean": (("seed", "generation", "num_samples"), mean[..., None]),
        "regime_log_variance": (("regime", "seed", "generation"), regimes),
    }
    axes = {"num_samples": [m], "generation": np.arange(n + 1), "regime": list(laws)}
    w2 = mean**2 + (np.exp(v / 2) - 1) ** 2
    drift = m * (digamma((m - 1) / 2) - np.log((m - 1) / 2))
    bound, rest, alone = 10 * math.exp(-n / (4 * m - 1)), math.sin(math.pi / m**0.5) / (math.pi / m**0.5), 0.95**21
    expected = {
        "drift-M20": (v[:, 19] - drift, (drift / 2, -drift / 2), -drift, "mean", 256),
        "three-halves-M20": (w2[:, 1] / (1.5 * 2 / m), (0.75, 1.25), 0.5, "mean", 256),
        "gone-in-M-M20": (v[:, 20] < 2 * math.log(0.1), (0.5, _INF), 0, "share", 256),
        "bound-M20": (v[:, 209] > 2 * math.log(0.1), (-_INF, bound), 1, "share", 256),
        "paths-diverge-M20": (w2[:, 200] > 1.1 * w2[:, 100], (0.5, _INF), 0.5, "share", 256),
        "accumulate-rests": (np.exp(regimes[2, :, 20]), (rest - 0.1, _INF), alone, "mean", 256),
        "original-only-delays": (np.exp(regimes[6, :, 20]), (-_INF, 0.5), 1, "mean", 256),
    }
    assert list(laws)[2] == "accumulate" and list(laws)[6] == "original added"
    replaced = 11 * math.log(0.95)
    for index, (name, law) in enumerate(laws.items()):
        loss = math.log(law[10])
        width, null = (0.1, replaced - loss) if loss > -0.2 else (-loss / 2, -loss)
        values = np.exp(regimes[index, :, 10]) / law[10]
        expected[f"law-{name}"] = (values, (-width, width), null, "log_mean", 256)
    np.testing.assert_allclose(laws["replace"][10], math.exp(replaced), rtol=1e-5)
    _check(gaussian_evidence(config, xr.Dataset(variables, axes)), expected)


def _mixture(config, generations, seed=0):
    """Return records of mixtures and their numbers by name, [M, seed, generation]."""
    numbers, shape = _random(seed), (len(config.num_samples), config.seeds, len(generations))
    names = ("log_total_variance", "w2_truth", "log_l2_origin", "tight_log_l2_origin")
    parts = {name: numbers(*shape) for name in names}
    parts["log_total_variance"] += math.log(6 * 0.01) - 1  # about the variance that is called lost
    parts["num_alive"] = np.where(numbers(*shape) > 1, 2, 1)
    parts["covariances"] = numbers(*shape, 2, 2, 2)
    dims = ("num_samples", "seed", "generation")
    variables = {name: (dims + ("component", "axis", "axis_2")[: part.ndim - 3], part) for name, part in parts.items()}
    return xr.Dataset(variables, {"num_samples": list(config.num_samples), "generation": generations}), parts


def test_a_mixture():
    m, generations = 40, np.arange(2001)
    config = GMMConfig(num_samples=(m,), seeds=70)
    dataset, parts = _mixture(config, generations)
    v, w2, alive = (parts[name][0] for name in ("log_total_variance", "w2_truth", "num_alive"))
    law = 6 * 0.25 * (1 - 1 / m) ** m
    v[:] = np.log(6) - 0.001 * generations * (1 + v)  # ratios near 1, and what is left on both sides of 1 %
    dataset["log_total_variance"][0] = v
    kept = np.exp(np.diff(v, axis=1, prepend=np.log(6)))
    far = w2[:, 50] > np.sort(w2[:, 0])[-1]  # of 70 the largest: one in 71
    half = (0.5, _INF)
    _check(
        gmm_evidence(config, dataset),
        {
            "misperceived-50-M40": (far, half, 1 / 71, "share", 64),
            "variance-lost-2000-M40": (v[:, 2000] < np.log(6) + math.log(0.01), half, 0, "share", 64),
            "exact-law-M40": (m * (1 - kept.mean(axis=1)), (0.5, 1.5), 0, "mean", 64),
            "both-alive-M40": (alive[:, 39] == 2, (0.6 * law, 1.4 * law), 1, "share", 64),
        },
    )


def test_the_99th_percentile_of_many_fits_is_an_order_statistic():
    config = GMMConfig(num_samples=(40,), seeds=400)
    dataset, parts = _mixture(config, np.array([0, 39, 50]))
    w2 = parts["w2_truth"][0]
    found = {stem(item.claim.name): item for item in gmm_evidence(config, dataset)}["misperceived-50"]
    np.testing.assert_array_equal(found.values, w2[:, 2] > np.sort(w2[:, 0])[-5])  # 5 of 401 lie above: 1.2 %
    assert found.claim.null == pytest.approx(5 / 401) and 0 < found.values.sum() < 20


def test_an_absolute_ridge_is_no_variance_that_was_kept():
    """Fits that keep 1 - 1/M of what they saw, to which 1e-6 is added in each of two directions."""
    m = 40
    config = GMMConfig(num_samples=(m,), seeds=64, ridge="absolute", ridge_size=1e-6)
    variance = [6.0]
    for _ in range(60):
        variance.append((1 - 1 / m) * variance[-1] + 2e-6)
    dataset, _ = _mixture(config, np.arange(60))
    dataset["log_total_variance"][:] = np.log(variance[1:])
    found = {stem(item.claim.name): item for item in gmm_evidence(config, dataset)}["exact-law"]
    np.testing.assert_allclose(found.values, 1, atol=1e-9)


@pytest.mark.parametrize("size", [1000, 200_000])
def test_the_published_code_of_mixtures(size):
    config = dataclasses.replace(PRESETS["em-stopping"], num_samples=(size,), seeds=66)
    generations = np.array([0, 1, 50, 2000, 2050])
    dataset, parts = _mixture(config, generations)
    l2, tight, covariances = (parts[name][0] for name in ("log_l2_origin", "tight_log_l2_origin", "covariances"))
    low, high = {1000: (2e2, 2e2), 200_000: (1e-4, 2e-2)}[size]
    stds = np.sort(np.sqrt(np.trace(covariances[:, 4], axis1=-2, axis2=-1) / 2), axis=1)
    start, ends = np.median(l2[:, 1]) / math.log(10), (math.log10(low) - 0.3, math.log10(high) + 0.3)
    tables = {
        f"published-l2-M{size}": (l2[:, 4] / math.log(10), ends, start, "range", 64),
        f"stopping-error-M{size}": ((l2 - tight)[:, 1:].mean(axis=1), (0, _INF), 0, "mean", 8),
    }
    for rank, std in enumerate((0.0100, 0.0112) if size == 1000 else ()):
        region = np.log(std) + np.array([-0.05, 0.05])
        tables[f"published-std-{rank + 1}-M{size}"] = (np.log(stds[:, rank]), region, 0, "range", 64)
    found = [item for item in gmm_evidence(config, dataset) if item.claim.name in tables]
    _check(found, tables)


def test_autoencoders(monkeypatch):
    monkeypatch.setattr("collapse_jax.studies.vae.claims.departure_of", lambda *_, **__: "")
    config, seeds, num = claim_records_vae.CONFIG, 7, 22
    numbers, dims = _random(), ("seed", "generation")
    spread, mean, sharp = (numbers(seeds, num) for _ in range(3))
    loss = 100 + 100 * numbers(seeds, num)
    judged = numbers(seeds, num, len(JUDGEMENTS)) - 0.5
    unanimous, entropy = JUDGEMENTS.index("unanimous_share"), JUDGEMENTS.index("posterior_entropy")
    first = 3 + np.arange(seeds)
    judged[..., unanimous] = np.where(np.arange(num) < first[:, None], 0.51, 0.49)
    judged[0, 5, unanimous] = 0.9  # readable once more; the first counts
    variables = {
        "latent_spread": (dims, spread), "latent_mean": (dims, mean), "sharpness": (dims, sharp), "loss": (dims, loss),
        "judged": ((*dims, "judgement"), judged),
        "real_unanimous_share": (dims, np.full((seeds, num), 0.96)),
        "judge_accuracy": ((*dims, "judge"), np.full((seeds, num, 5), 0.98)),
    }  # fmt: skip
    read = {"sharpness": 0.5, "blurred_sharpness": 0.1, "targets_entropy": 50.0}
    axes = {"generation": np.arange(num), "judgement": list(JUDGEMENTS)}
    dataset = xr.Dataset(variables, axes, {"data": json.dumps(read)}).expand_dims(num_samples=[config.num_samples])
    expected = {
        "spread-falls": (spread[:, 5] - spread[:, 1], (-_INF, 0), 0, "mean", 5),
        "latent-mean": (mean[:, 1:6].mean(axis=1), (-0.075, 0.075), 0.075, "mean", 5),
        "digits-blur": (sharp[:, 10] / sharp[:, 0], (-_INF, 0.2), 1, "mean", 5),
        "unreadable": (first, (9.5, 20.5), _INF, "mean", 5),
        "digits-mix": (judged[:, 20, entropy] - judged[:, 0, entropy], (0, _INF), 0, "mean", 5),
    }
    published = (0.674, 0.700), (0.594, 0.609), (0.523, 0.554), (0.468, 0.489), (0.428, 0.467)
    for g, ends in enumerate(published, start=1):
        middle, null = sum(ends) / 2, 0.687 if g > 1 else spread[:, 0].mean()
        expected[f"published-spread-{g}"] = (spread[:, g], (middle - 0.05, middle + 0.05), null, "mean", 5)
    for g, batch in enumerate((25250, 31514, 34555, 36804, 38883, 40544)):
        floor, nothing = (50.0 * 256, 784 * 256 * math.log(2)) if g == 0 else (0.0, 25250)
        values = np.log((256 * loss[:, g] - floor) / (batch - floor))
        null = math.log((nothing - floor) / (batch - floor))
        expected[f"published-loss-{g}"] = (values, (-0.05, 0.05), null, "mean", 5)
    _check(claim_records_vae.claims.evidence(config, dataset), expected)


def test_language_models(monkeypatch):
    monkeypatch.setattr(claim_records_opt.claims, "departure_of", lambda *_, **__: "")
    arms, seeds, num, texts = claim_records_opt.ARMS, 7, 11, 128
    config = dataclasses.replace(claim_records_opt.CONFIG, seeds=seeds)
    numbers, dims = _random(), ("arm", "seed", "generation")
    shape = (len(arms), seeds, num)
    validation, zero_shot, written = numbers(*shape, 3), numbers(*shape), numbers(*shape, texts)
    validation[5, :, 2, 0] += 2  # a spike, from which there is a recovery
    variables = {
        "validation": ((*dims, "protocol"), validation), "zero_shot": (dims, zero_shot),
        "generated_nats": ((*dims, "text"), written),
    }  # fmt: skip
    dataset = xr.Dataset(variables, {"arm": list(arms), "generation": np.arange(num)})
    a5, b5, a10, b10, double, harsh = validation[..., 0]
    grown = {name: arm[:, 9] - arm[:, 0] for name, arm in zip(("a5", "b5", "a10", "b10"), (a5, b5, a10, b10))}
    own, last = written[0, :, 0], written[0, :, 9]
    below = (last < np.sort(own, axis=1)[:, 6:7]).mean(axis=1)  # the 7th smallest of 128
    above, beyond = ((last > np.sort(own, axis=1)[:, -k, None]).mean(axis=1) for k in (2, 1))
    late = harsh[:, 6:10].mean(axis=1)
    up = (0, _INF)
    expected = {
        "fine-tuning-learns": (a5[:, 0] - zero_shot[0, :, 0], (-_INF, 0), 0, "mean", 5),
        "published-zero-shot": (zero_shot[0, :, 0] - math.log(115), (-0.05, 0.05), math.log(50272 / 115), "mean", 5),
        "published-fine-tuned": (a5[:, 0] - math.log(34), (-0.05, 0.05), math.log(115 / 34), "mean", 5),
        "a-degrades": (grown["a5"], up, 0, "mean", 5),
        "a-degrades-by-20-to-28": (grown["a5"], (0.46, 0.60), 0, "mean", 5),
        "a-degrades-from-20-to-28": (grown["a5"], (0.29, 0.39), 0, "mean", 5),
        "b-minor": (grown["b10"], (-_INF, 0.21), 0.21, "mean", 5),
        "b-less-than-a-5": (grown["a5"] - grown["b5"], up, 0, "mean", 5),
        "b-less-than-a-10": (grown["a10"] - grown["b10"], up, 0, "mean", 5),
        "low-perplexity-grows": (below, (7 / 129, _INF), 7 / 129, "mean", 5),
        "right-tail-grows": (above, (2 / 129, _INF), 2 / 129, "mean", 5),
        "never-produced": (beyond, (1 / 129, _INF), 1 / 129, "mean", 5),
        "penalty-doubles": ((double[:, 9] - a5[:, 9]) / math.log(2), (0.6, 1.4), 0, "mean", 5),
        "spike": (harsh[:, 2] - late, up, 0, "mean", 5),
        "partial-recovery": (late - harsh[:, 0], up, 0, "mean", 5),
    }
    _check(claim_records_opt.claims.evidence(config, dataset), expected)


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("unreadable", 1.0),
        ("low-perplexity-grows", 1 / 128), ("right-tail-grows", 1 / 128), ("never-produced", 1 / 128),
        ("published-zero-shot", 1 / 115), ("published-fine-tuned", 1 / 34), ("spread-falls", 0.0), ("drift", 0.0),
    ],
)  # fmt: skip
def test_values_that_move_in_steps_say_so(name, resolution):
    modules = (claim_records_gaussian, claim_records_gmm, claim_records_opt, claim_records_vae)
    (bench,) = (b for module in modules for b in module.BENCHES[::-1] if name in b.cases and b.config.seeds != 20)
    records = bench.cases[name].shows(np.random.default_rng(0), bench.config)
    (item,) = (item for item in bench.evidence(bench.config, records) if stem(item.claim.name) == name)
    assert item.claim.resolution == pytest.approx(resolution)
