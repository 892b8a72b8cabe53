"""A model in Python: every regime by its law, both kinds of metrics, names and types kept, sentences for the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import (
    Metric,
    Samples,
    accumulate,
    add_real,
    as_samples,
    build_chain,
    compose,
    curate,
    external,
    fresh,
    gaussian_truth,
    original,
    repeat_rows,
    replace,
    replace_with_real,
    run_compiled,
    run_host,
    schedule,
    simulate,
    subsample,
    theory,
    weight_real,
    window,
)
from collapse_jax.metrics.model_free import log_total_variance, sample_mean
from collapse_jax.runs.checkpoints import load_tree, save_tree
from collapse_jax.testing.cases import line as gaussian
from collapse_jax.testing.laws import assert_mean

KEY = jax.random.key(0)
SIZE, GENERATIONS, COLUMNS, SEEDS = 20, 4, 1024, 24


def fit(seed, params, rows, weight):
    """Mean and maximum-likelihood variance of every column by itself: 1,024 columns are as many chains."""
    mean = np.average(rows.astype(float), axis=0, weights=weight)
    variance = np.average((rows - mean) ** 2, axis=0, weights=weight)
    return {"mean": mean, "variance": variance}, {"num_live": len(rows)}


def sample(seed, params, num_samples):
    noise = np.random.default_rng(seed).normal(size=(num_samples, len(params["mean"])))
    return params["mean"] + np.sqrt(params["variance"]) * noise


NORMAL = external(fit, sample)
VARIANCE = Metric("variance", ("axis",), "1", lambda key, s: s.params["variance"])
TRUTH = gaussian_truth(COLUMNS)
ONE = gaussian_truth(1)


def _chain(regime, metrics=(VARIANCE,), model=NORMAL, real=None, num_samples=SIZE):
    return build_chain(model, regime, real or ONE.sampler(SIZE), num_samples, metrics)


M, G = SIZE, GENERATIONS
LAWS = {
    "replace": (replace(), theory.ibd_replace(G, M, M)),
    "accumulate": (accumulate(G), theory.ibd_accumulate(G, M, M)),
    "window": (window(3), theory.ibd_window(G, M, 3)),
    "accumulate-subsample": (compose(accumulate(G), subsample(M)), theory.ibd_accumulate_subsample(G, M)),
    "replace-count-original": (replace_with_real(original(), count=5), theory.ibd_original_counts(G, M, M, 5)),
    "replace-fraction-original": (
        replace_with_real(original(), fraction=0.3), theory.ibd_original_fraction(G, M, M, 0.3),
    ),
    "replace-fraction-fresh": (
        replace_with_real(fresh(TRUTH.sample), fraction=0.3), theory.ibd_fresh_fraction(G, M, M, 0.3),
    ),
    "add-original": (add_real(original()), theory.ibd_add_original(G, M, M)),
    "add-fresh": (add_real(fresh(TRUTH.sample), count=7), theory.ibd_fresh_counts(G, M, 7, M)),
    "weight-original": (weight_real(original(), weight=0.3), theory.ibd_weight_original(G, M, 0.3, M)),
    "weight-fresh": (
        weight_real(fresh(TRUTH.sample), weight=0.3, count=M), theory.ibd_weight_fresh(G, M, 0.3, M, M),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAWS)
def test_every_regime_keeps_its_law(name):
    """E v of the last generation, 24 seeds of 1,024 columns; a deviation of 0.03 is seen nine times in ten.

    Columns are independent chains whose rows the regime picks together, so seeds count, not columns.
    """
    regime, identity = LAWS[name]
    result = simulate(_chain(regime, real=TRUTH.sampler(M)), KEY, SEEDS, G)
    by_seed = result.variance.isel(generation=-1).mean("axis")
    assert_mean(by_seed, 1 - float(identity[-1]), power=0.03)


def test_the_power_of_the_laws_tells_regimes_apart():
    """What that test can see, 0.03, is less than what lies between replace and the regimes that help."""
    ends = {name: 1 - float(identity[-1]) for name, (_, identity) in LAWS.items()}
    assert min(end for name, end in ends.items() if name != "replace") - ends["replace"] > 0.03


def test_curation_keeps_its_law():
    """Best of two: E v shrinks by (1 - 1/M)(1 - 1/pi) a generation; 256 seeds see a deviation of 0.1."""
    regime = curate(lambda rows: rows[:, 0], 2)
    result = simulate(_chain(regime, num_samples=2 * M), KEY, 256, 2)
    assert (result.num_live == M).all()
    expected = (1 - 1 / M) * ((1 - 1 / M) * (1 - 1 / np.pi)) ** 2
    assert_mean(result.variance.isel(generation=-1, axis=0), expected, power=0.1)


def test_the_same_data_give_the_fit_of_a_model_in_jax():
    """Model 0 under the same key sees the same rows: float32 sums differ from double ones by 1e-6."""
    ours, _ = _chain(replace()).init(KEY)
    theirs, _ = _chain(replace(), (), gaussian()).init(KEY)
    np.testing.assert_allclose(ours.params["mean"][0], theirs.params.mean, atol=1e-6)
    np.testing.assert_allclose(ours.params["variance"][0], theirs.params.variance, rtol=1e-5)
    assert ours.params["mean"].dtype == np.float64  # JAX would have made it single


def test_metrics_in_jax_and_in_python_see_the_same_generation():
    plain = Metric("plain", (), "1", lambda key, s: float(np.log(np.var(np.asarray(s.synthetic.x)))))
    exact = Metric("exact", (), "1", lambda key, s: jnp.log(jnp.var(s.synthetic.x)))
    result = simulate(_chain(replace(), (plain, exact, log_total_variance(5000), sample_mean())), KEY, 2, 3)
    np.testing.assert_allclose(result.plain, result.exact, rtol=1e-4)  # float32 sums
    np.testing.assert_allclose(result.plain, result.log_total_variance, atol=0.2)  # of 5,000 redrawn rows
    assert result.sample_mean.dims == ("seed", "generation", "axis") and result.is_finite.all()


def test_splits_seeds_and_metrics_change_nothing():
    whole = simulate(_chain(accumulate(4)), KEY, 3, 4)
    split = simulate(
        _chain(accumulate(4), (VARIANCE, log_total_variance())), KEY, 2, 4, segment_length=1, keep=(2,)
    )
    np.testing.assert_array_equal(whole.variance[:2], split.variance)
    kept = split["params['variance']"]
    assert kept.dtype == np.float64  # the record has JAX's precision
    np.testing.assert_array_equal(np.float32(kept[:, 0]), whole.variance[:2, 2])


def test_it_goes_on_from_a_file_to_the_same_bits(tmp_path):
    """Its state is arrays by name: no class is pickled, and double precision stays double."""
    chain = _chain(accumulate(4))
    whole = list(run_host(chain, KEY, 2, (2, 4)))
    save_tree(tmp_path / "state.npz", whole[1].state(), {})
    state, _ = load_tree(tmp_path / "state.npz")
    (rest,) = run_host(chain, KEY, 2, (4,), resume=(2, state))
    for a, b in zip(
        jax.tree.leaves((rest.records, rest.state())), jax.tree.leaves((whole[2].records, whole[2].state()))
    ):
        np.testing.assert_array_equal(a, b)


def test_it_goes_on_between_fit_and_sample_to_the_same_bits(tmp_path):
    """A fit may take hours: what it returned is kept before the draw begins."""
    chain, pieces = _chain(accumulate(4)), []
    whole = list(run_host(chain, KEY, 1, (2, 3), on_chunk=lambda seed, piece: pieces.append(piece)))
    fitted = next(piece for piece in pieces[-2:] if piece.phase == "fit")
    save_tree(tmp_path / "piece.npz", fitted, {})
    piece, _ = load_tree(tmp_path / "piece.npz")
    fits = []

    def never(*arguments):
        fits.append(arguments)
        return fit(*arguments)

    again = _chain(accumulate(4), model=external(never, sample))
    (rest,) = run_host(again, KEY, 1, (3,), resume=(2, whole[1].state()), piece=piece)
    assert not fits
    for a, b in zip(
        jax.tree.leaves((rest.records, rest.state())), jax.tree.leaves((whole[2].records, whole[2].state()))
    ):
        np.testing.assert_array_equal(a, b)


def test_kept_rows_may_grow_in_number():
    """A kernel density keeps its rows: under accumulate there are more of them in each generation."""

    def store(seed, params, rows, weight):
        return {"rows": rows, "bandwidth": 0.1}

    def draw(seed, params, num_samples):
        rng = np.random.default_rng(seed)
        return params["rows"][rng.integers(len(params["rows"]), size=num_samples)] + params["bandwidth"]

    count = Metric("count", (), "rows", lambda key, s: len(s.params["rows"]))
    chain = _chain(accumulate(3), [count], external(store, draw))
    assert simulate(chain, KEY, 1, 3)["count"].values.tolist() == [[20, 40, 60, 80]]
    with pytest.raises(ValueError, match=r"`keep` names .*rows.* have the shapes"):
        simulate(chain, KEY, 1, 3, keep=(1, 2))
    assert simulate(chain, KEY, 1, 3, keep=(2,))["params['rows']"].shape == (1, 1, 60, 1)


def test_a_fit_sees_the_rows_that_count_and_may_change_what_it_gets():
    seen = []

    def greedy(seed, params, rows, weight):
        seen.append((seed, None if params is None else params["rows"].copy(), rows.copy(), weight.copy()))
        rows[:], weight[:] = -1, -1
        if params is not None:
            params["rows"][:] = -1
        return {"rows": np.full(2, float(len(seen)))}

    def draw(seed, params, num_samples):
        params["rows"][:] = -1
        return np.arange(num_samples, dtype=float)[:, None]

    real = as_samples([[1.0], [2.0], [3.0]], np.array([1, 0, 2]))
    chain = build_chain(external(greedy, draw), add_real(original()), real, 2)
    state, _ = chain.init(jax.random.key(0))
    first = state
    for generation in (1, 2):
        state, _ = chain.step(jax.random.key(generation), state)
    assert seen[0][1] is None and seen[0][2].tolist() == [[1.0], [3.0]] and seen[0][3].tolist() == [1, 2]
    assert seen[1][2].tolist() == [[0.0], [1.0], [1.0], [3.0]]
    assert seen[1][1].tolist() == [1, 1] and seen[2][1].tolist() == [2, 2]
    assert first.params["rows"].tolist() == state.origin["rows"].tolist() == [1, 1]
    assert len({call[0] for call in seen}) == 3 and all(0 <= call[0] < 2**32 for call in seen)


def test_init_gives_the_start_of_a_warm_fit():
    starts = []

    def warm(seed, params, rows, weight):
        starts.append(float(params["steps"]))
        return {"steps": params["steps"] + 1}

    model = external(
        warm, lambda seed, params, num: np.zeros((num, 1)), init=lambda seed, rows: {"steps": 5.0}
    )
    simulate(_chain(replace(), (), model), KEY, 1, 2)
    assert starts == [5, 6, 7]


def test_a_diverged_seed_is_counted_and_its_neighbours_go_on():
    def broken(seed, params, rows, weight):
        bad = params is not None and (np.isnan(params["mean"]).any() or seed % 3 == 0)
        return {"mean": np.array([np.nan if bad else float(rows.mean())]), "variance": np.ones(1)}

    result = simulate(_chain(replace(), (VARIANCE,), external(broken, sample)), KEY, 12, 3)
    lost = ~result.is_finite.isel(generation=-1)
    assert 0 < int(lost.sum()) < 12 and result.is_finite.isel(generation=0).all()
    huge = external(lambda *_: {"mean": np.array([1e300])}, lambda seed, params, num: np.zeros((num, 1)))
    assert bool(_chain(replace(), (), huge).init(KEY)[1]["is_finite"])  # finite in double precision


@pytest.mark.parametrize("model", [NORMAL, gaussian()])
def test_a_metric_names_its_axes(model):
    """At once, not when a run of many hours is put together."""
    wrong = Metric("columns", (), "1", lambda key, s: jnp.asarray(s.synthetic.x)[0])
    with pytest.raises(ValueError, match=r"'columns' gives an array of shape \(1,\), its dims \(\) name 0 axes"):
        _chain(replace(), (wrong,), model).init(KEY)
    right = wrong._replace(dims=("column",))
    assert simulate(_chain(replace(), (right,), model), KEY, 1, 1)["columns"].dims == ("seed", "generation", "column")


def test_schedules_are_a_regime():
    result = simulate(_chain(schedule([5, 10, 20])), KEY, 1, 3)
    assert result.num_live.values.tolist() == [[20, 5, 10, 20]]
    with pytest.raises(ValueError, match=r"one `num_samples`.*schedule"):
        _chain(replace(), num_samples=[20, 10])


def test_the_compiled_driver_and_tracing_are_refused():
    chain = _chain(replace())
    with pytest.raises(TypeError, match=r"run_compiled.*simulate"):
        list(run_compiled(chain, KEY, 1, (2,)))
    with pytest.raises(TypeError, match=r"JAX cannot trace a model in Python.*simulate"):
        jax.jit(chain.init)(KEY)


def _after(found, rows=None, init=None):
    """Run two generations of a model whose fit returns `found`, or found(generation)."""
    calls = []

    def anything(seed, params, data, weight):
        calls.append(seed)
        return found(len(calls) - 1) if callable(found) else found

    draw = lambda seed, params, num: np.zeros((num, 1)) if rows is None else rows  # noqa: E731
    return simulate(_chain(replace(), (), external(anything, draw, init)), KEY, 1, 2)


GOOD = {"a": np.zeros(2)}


@pytest.mark.parametrize(
    ("found", "error", "sentence"),
    [
        (np.zeros(2), TypeError, "`fit` must return params as a flat dict of named NumPy arrays, got ndarray; return"),
        (None, TypeError, "got NoneType; return .*state_dict"),
        ({"a": {"b": np.zeros(2)}}, TypeError, "got dict at 'a'"),
        ({"a": [1.0, 2.0]}, TypeError, "got list at 'a'"),
        ({"a": "gpt"}, TypeError, r"got str at 'a'.*np\.frombuffer"),
        ({"a": np.array(["gpt"])}, TypeError, "got <U3 at 'a'"),
        ({"a": np.array([object()])}, TypeError, "got object at 'a'"),
        ({1: np.zeros(2)}, TypeError, "got float64 at 1"),
        ((GOOD, 3.0), TypeError, "a dict of numbers, got float as the second"),
        ((GOOD, {"loss": "low"}), TypeError, "numbers in its info, got <U3 at 'loss'"),
        ((GOOD, {"is_finite": 1}), ValueError, "must not hold 'is_finite'"),
        ((GOOD, {}, {}), TypeError, "got tuple; return"),
        (lambda g: {"a": np.zeros(2, "f4" if g else "f8")}, ValueError, r"\['a'\] changes from float64.* to float32"),
        (lambda g: {"a": np.zeros((2, 1 + g))}, ValueError, r"changes from float64\[2, 1\] to float64\[2, 2\]"),
        (lambda g: {"a": np.zeros(2), "b": 1} if g else GOOD, ValueError, "changes its structure"),
    ],
)  # fmt: skip
def test_what_a_fit_may_not_return(found, error, sentence):
    with pytest.raises(error, match=sentence):
        _after(found)


@pytest.mark.parametrize(
    ("rows", "error", "sentence"),
    [
        (np.zeros((19, 1)), ValueError, r"shape \(19, 1\) where 20 rows were asked for"),
        (3.0, ValueError, r"shape \(\) where 20 rows"),
        (np.zeros((20, 2)), ValueError, r"rows of float32\[2\], the real data are float32\[1\]"),
        (np.zeros((20, 1), int), ValueError, r"rows of int32\[1\], the real data are float32\[1\]"),
        (np.full((20, 1), "a"), TypeError, "rows of numbers, got <U1"),
    ],
)
def test_what_a_sample_may_not_return(rows, error, sentence):
    with pytest.raises(error, match=sentence):
        _after(GOOD, rows)


def test_what_an_init_and_the_data_may_not_be():
    with pytest.raises(TypeError, match="`init` must return params as a flat dict"):
        _after(GOOD, init=lambda seed, rows: [rows])
    pair = Samples((jnp.zeros((4, 1)), jnp.zeros((4, 1))), jnp.ones(4))
    with pytest.raises(TypeError, match="rows as one array, got tuple"):
        build_chain(NORMAL, replace(), lambda key: pair, 4).init(KEY)
    with pytest.raises(TypeError, match="single points"):
        build_chain(NORMAL, replace(), lambda key: TRUTH.moments(key, 10), 4).init(KEY)
    nothing = curate(lambda rows: rows[:, 0], 1)._replace(update=lambda key, s, state: (s.scale(0.0), state))
    with pytest.raises(ValueError, match="no row of positive weight"):
        simulate(_chain(nothing), KEY, 1, 1)


def test_what_a_fit_raises_reaches_the_caller():
    def refuse(seed, params, rows, weight):
        raise ArithmeticError("no convergence")

    with pytest.raises(ArithmeticError, match="no convergence") as refused:
        simulate(_chain(replace(), (), external(refuse, sample)), KEY, 1, 1)
    assert refused.value.__notes__ == ["in seed 0, generation 0"]


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        (lambda call: {"loss": 1.0} if call else {}, "generation 0 lacks 'loss', which is in that of seed 0"),
        (lambda call: {} if call else {"loss": 1.0}, "generation 1 lacks 'loss', which is in the record"),
        (lambda call: {"loss": np.zeros(call + 1)}, r"'loss' has the shape \(1,\) in .*, and \(2,\) in that of"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("segment_length", [1, 2])
def test_a_record_is_built_alike_in_every_generation(info, sentence, segment_length):
    calls = []

    def uneven(seed, params, rows, weight):
        calls.append(seed)
        return GOOD, info(len(calls) - 1)

    chain = _chain(replace(), (), external(uneven, lambda seed, params, num: np.zeros((num, 1))))
    with pytest.raises(ValueError, match=f"{sentence}.*report the same names and shapes") as refused:
        simulate(chain, KEY, 1, 2, segment_length=segment_length)
    assert refused.value.__notes__ == ["in seed 0, generation 1"]


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (lambda seed: {"rows": np.zeros(4 + seed)}, r"state.params\['rows'\]' has the shape \(4,\).*and \(5,\)"),
        (lambda seed: {"rows": 1} | ({"more": 1} if seed else {}), r"seed 0 lacks 'state.params\['more'\]'"),
    ],
)
def test_states_of_seeds_that_no_array_holds(params, sentence):
    """Each seed by itself is a state like any other; so are the records of all of them."""
    calls = []

    def by_seed(seed, *_):
        calls.append(seed)
        return params(len(calls) - 1)

    chain = _chain(replace(), (), external(by_seed, lambda seed, params, num: np.zeros((num, 1))))
    segment = next(run_host(chain, KEY, 2, (1,)))
    assert segment.records["is_finite"].shape == (2, 1)
    with pytest.raises(ValueError, match=f"{sentence}.*or run each seed by itself"):
        segment.state()
    assert next(run_host(chain, KEY, 1, (1,))).state().generation.shape == (1,)


def test_models_in_jax_are_still_traced():
    assert not _chain(replace(), (), gaussian()).on_host and _chain(replace()).on_host


def test_whole_weights_repeat_rows():
    rows = np.arange(8.0).reshape(4, 2)
    repeated = repeat_rows(rows, np.float32([0, 3, 1, 0.99999994]))
    np.testing.assert_array_equal(repeated, rows[[1, 1, 1, 2, 3]])


def test_fractional_weights_repeat_rows_on_average():
    """4,096 draws; every count is one of the two whole numbers around its weight, and its mean is seen to 0.05."""
    weight, rows = np.array([0.25, 1.5, 0.0, 0.4, 2.0, 0.85]), np.arange(6)
    counts = np.stack([np.bincount(repeat_rows(rows, weight, seed), minlength=6) for seed in range(4096)])
    assert (counts >= np.floor(weight)).all() and (counts <= np.ceil(weight)).all()
    assert set(counts.sum(axis=1)) == {5}  # the total, up to rounding in the last place
    for index in (0, 1, 3, 5):
        assert_mean(counts[:, index], weight[index], power=0.05)


def test_fractional_weights_without_a_seed_and_weights_of_nothing_are_refused():
    with pytest.raises(ValueError, match=r"`weight` holds fractions.*pass `seed`"):
        repeat_rows(np.arange(2), np.array([0.5, 1.0]))
    with pytest.raises(ValueError, match=r"add up to 0, less than one point"):
        repeat_rows(np.arange(2), np.zeros(2))


def test_rows_stay_double_in_double_precision(x64):
    chain = _chain(accumulate(2), (VARIANCE, log_total_variance()))
    result = simulate(chain, KEY, 1, 2)
    assert result.variance.dtype == result.log_total_variance.dtype == np.float64
    assert chain.init(KEY)[0].synthetic.x.dtype == np.float64
