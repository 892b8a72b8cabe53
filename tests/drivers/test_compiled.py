"""The drivers' promises: the same bits for any split, one trace a configuration, lanes that do not touch."""

import gc
import tempfile
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax import (
    Chunked,
    Metric,
    Model,
    Samples,
    accumulate,
    build_chain,
    mixture,
    original,
    replace,
    replace_with_real,
    run_compiled,
    run_host,
    segment_stops,
    two_gaussians,
)
from collapse_jax.drivers import lanes as module
from collapse_jax.drivers.compiled import run_lanes
from collapse_jax.drivers.lanes import Lanes, compile_lanes
from collapse_jax.drivers.sharding import lane_mesh
from collapse_jax.runs.checkpoints import load_tree, save_tree
from collapse_jax.testing.cases import line as gaussian
from collapse_jax.testing.cases import standard_normal
from collapse_jax.testing.strategies import seeds, stops

ROOT = jax.random.key(7)
NUM_ROWS, LANES, NUM_SEEDS, STOPS = 24, 4, 13, (4, 8, 12)
MAX_STEPS = 20


def _real(key):
    return two_gaussians().sample(key, NUM_ROWS)


def _mixture_chain(real=_real, metrics=()):
    """While-loops of a different length in every lane, and real data carried from frame to frame."""
    model = mixture(2, tol=1e-2, max_steps=MAX_STEPS)
    return build_chain(model, replace_with_real(original(), fraction=0.2), real, NUM_ROWS, metrics)


def _run(chain, num_seeds=NUM_SEEDS, stops=STOPS, devices=1, resume=None, first_seed=0, **options):
    lanes = Lanes(chain, num_seeds, LANES, first_seed, jax.devices()[:devices], **options)
    return list(run_lanes(lanes, ROOT, stops, resume))


def _joined(segments):
    return {
        name: np.concatenate([segment.records[name] for segment in segments], axis=1)
        for name in segments[0].records
    }


def _assert_same_bits(tree, reference):
    for (path, leaf), expected in zip(
        jax.tree.leaves_with_path(tree), jax.tree.leaves(reference), strict=True
    ):
        np.testing.assert_array_equal(leaf, expected, err_msg=jax.tree_util.keystr(path))


def _lanes(tree, num):
    return jax.tree.map(lambda leaf: leaf[:num], tree)


@pytest.fixture(scope="module")
def chain():
    return _mixture_chain()


@pytest.fixture(scope="module")
def reference(chain):
    return _run(chain)


def test_segments_say_what_they_hold(reference):
    assert [(segment.start, segment.stop) for segment in reference] == [(0, 0), (1, 4), (5, 8), (9, 12)]
    for segment in reference:
        for values in segment.records.values():
            assert isinstance(values, np.ndarray)
            assert values.shape[:2] == (NUM_SEEDS, segment.stop - segment.start + 1)
        assert (segment.state().generation == segment.stop).all() and len(
            segment.state().generation
        ) == NUM_SEEDS
    assert (
        np.unique(_joined(reference)["log_likelihood"], axis=0).shape[0] == NUM_SEEDS
    )  # every seed is another run


@given(stops(STOPS[-1], longest=4))
def test_any_split_into_segments_gives_the_same_bits(chain, reference, split):
    segments = _run(chain, num_seeds=5, stops=split)
    assert tuple(segment.stop for segment in segments[1:]) == split
    _assert_same_bits(_joined(segments), _lanes(_joined(reference), 5))
    _assert_same_bits(segments[-1].state(), _lanes(reference[-1].state(), 5))


@given(st.integers(1, NUM_SEEDS))
def test_any_number_of_seeds_gives_the_same_bits(chain, reference, num_seeds):
    segments = _run(chain, num_seeds)
    _assert_same_bits(_joined(segments), _lanes(_joined(reference), num_seeds))


@pytest.mark.parametrize(("devices", "split"), [(2, (12,)), (4, STOPS)])
def test_any_number_of_devices_gives_the_same_bits(chain, reference, devices, split):
    """13 seeds are four blocks of four lanes; on two devices also with a buffer of another length."""
    segments = _run(chain, stops=split, devices=devices)
    _assert_same_bits(_joined(segments), _joined(reference))
    _assert_same_bits(segments[-1].state(), reference[-1].state())


@pytest.mark.parametrize("devices", [1, 2])
def test_states_that_give_their_place_keep_their_bits(chain, reference, devices):
    """Read in time they are those of a run that keeps them; too late they are refused, but for the last."""
    lanes, segments = Lanes(chain, NUM_SEEDS, LANES, devices=jax.devices()[:devices], donate=True), []
    for segment, kept in zip(run_lanes(lanes, ROOT, STOPS), reference, strict=True):
        _assert_same_bits((segment.records, segment.state()), (kept.records, kept.state()))
        segments.append(segment)
    _assert_same_bits(segments[-1].state(), reference[-1].state())
    with pytest.raises(ValueError, match=r"gave their place.*`donate`"):
        segments[1].state()


def test_a_donated_state_is_not_held_twice():
    """A pool of 1,010 rows a lane is what takes the memory; without donation it is there before and after."""
    pooled = build_chain(mixture(2), accumulate(100), lambda key: two_gaussians().sample(key, 10), 10)
    held, given = (
        compile_lanes(Lanes(pooled, 64, 64, donate=donate), ROOT.dtype, 5).num_bytes for donate in (False, True)
    )
    assert held - given > 0.9 * 64 * 1010 * 3 * 4  # two columns and weights, four bytes each


def test_a_shorter_run_is_a_prefix(chain, reference):
    segments = _run(chain, stops=(4, 6))
    _assert_same_bits(_joined(segments), {name: values[:, :7] for name, values in _joined(reference).items()})
    _assert_same_bits(segments[1].state(), reference[1].state())


def test_a_sharded_program_has_no_collective(chain):
    """Seeds have nothing to say to each other, so neither have devices. The programs are the ones run above."""
    programs = compile_lanes(Lanes(chain, 4 * LANES, LANES, devices=jax.devices()[:4]), ROOT.dtype, 4)
    for program in (programs.begin, programs.advance):
        text = program.as_text()
        assert "num_partitions=4" in text
        for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
            assert collective not in text


def test_adding_a_metric_changes_no_bit_of_the_rest(reference):
    def noisy_spread(key, snapshot):
        return jnp.std(snapshot.synthetic.minibatch(key, 50)) + snapshot.params.frame.shift[0]

    metric = Metric("noisy_spread", (), "1", noisy_spread)
    segments = _run(_mixture_chain(metrics=[metric]), num_seeds=5)
    records = _joined(segments)
    assert records.pop("noisy_spread").shape == (5, 13)
    _assert_same_bits(records, _lanes(_joined(reference), 5))


def test_a_nan_lane_stops_early_and_touches_no_other(chain, reference):
    """One lane's data turn NaN: its EM ends at once instead of at the cap, the rest keep their bits.

    The chain goes on from a state, by the very program of `reference`: another program could round otherwise.
    """
    bad, state = 2, _lanes(reference[0].state(), LANES)
    drawn = np.array(state.synthetic.x)
    drawn[bad] = np.nan
    poisoned = state._replace(synthetic=state.synthetic._replace(x=drawn))
    (segment,) = _run(chain, num_seeds=LANES, stops=(4,), resume=(0, poisoned))
    records = segment.records
    assert not records["is_finite"][bad].any() and not records["converged"][bad].any()
    assert (records["em_steps"][bad] <= 2).all()
    good = np.delete(np.arange(LANES), bad)
    _assert_same_bits(
        *(
            {name: np.asarray(values)[good] for name, values in tree.items()}
            for tree in (records, reference[1].records)
        )
    )


@given(st.sampled_from((0, *STOPS[:-1])), st.integers(1, NUM_SEEDS), st.sampled_from((1, 2)))
def test_going_on_from_a_state_gives_the_same_bits(chain, reference, generation, num_seeds, devices):
    """Through a file, on as many devices, with as many seeds as there were or fewer."""
    state = _lanes(reference[(0, *STOPS).index(generation)].state(), num_seeds)
    with tempfile.TemporaryDirectory() as folder:
        save_tree(Path(folder) / "state.npz", state, {})
        state, _ = load_tree(Path(folder) / "state.npz", jax.eval_shape(chain.init, ROOT)[0])
    segments = _run(chain, num_seeds, devices=devices, resume=(generation, state))
    assert [segment.stop for segment in segments] == [stop for stop in STOPS if stop > generation]
    for segment, whole in zip(segments[::-1], reference[::-1]):
        _assert_same_bits(segment.records, _lanes(whole.records, num_seeds))
    _assert_same_bits(segments[-1].state(), _lanes(reference[-1].state(), num_seeds))


@pytest.mark.parametrize("first_seed", [4, 8])
def test_a_part_of_the_seeds_gives_their_bits(chain, reference, first_seed):
    segments = _run(chain, NUM_SEEDS - first_seed, first_seed=first_seed)
    _assert_same_bits(
        _joined(segments), {name: rows[first_seed:] for name, rows in _joined(reference).items()}
    )
    with pytest.raises(ValueError, match="`first_seed` must be a multiple of `lanes` 4, got 3"):
        _run(chain, first_seed=3)


@pytest.mark.parametrize("devices", [1, 2])
def test_recording_every_other_generation_leaves_out_the_rest(chain, reference, devices):
    """Another program, so to rounding, over two generations; the states after four are the same law's, not bits."""
    segments = _run(chain, stops=(2, 4), record_every=2, devices=devices)
    assert [(segment.start, segment.stop) for segment in segments] == [(0, 0), (2, 2), (4, 4)]
    for name, values in _joined(segments).items():
        assert values.shape[:2] == (NUM_SEEDS, 3)
        expected = _joined(reference)[name][:, (0, 2)]
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values[:, :2], expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="`stops` must be multiples of `record_every` 2, got 3"):
        _run(chain, stops=(2, 3), record_every=2)


@pytest.mark.parametrize("devices", [1, 2])
def test_records_are_reduced_where_they_are_made(chain, reference, devices):
    """Sums over the lanes that count, one for each part, add up to the sums of all records."""

    def total(record, counts):
        value = record["log_likelihood"]
        return {"total": jnp.sum(jnp.where(counts, value, 0.0)), "num": jnp.sum(counts)}

    segments = _run(chain, devices=devices, reduce=total)
    whole = _joined(reference)["log_likelihood"]
    np.testing.assert_allclose(_joined(segments)["total"].sum(axis=0), whole.sum(axis=0), rtol=1e-4)
    assert (_joined(segments)["num"].sum(axis=0) == NUM_SEEDS).all()
    np.testing.assert_allclose(segments[-1].last["log_likelihood"], whole[:, -1], rtol=1e-4)


@pytest.fixture(scope="module")
def counted():
    """A small chain, and the number of times that Python ran its fit."""
    calls, model = Counter(), gaussian()

    def fit(*args):
        calls["fit"] += 1
        return model.fit(*args)

    return build_chain(model._replace(fit=fit), replace(), lambda key: standard_normal(key, 10), 10), calls


def test_traced_once_whatever_the_run(counted):
    chain, calls = counted
    before = calls["fit"]
    _run(chain, num_seeds=1)
    # init; the shape of a record; the loop's body
    assert calls["fit"] - before <= 3
    before = calls["fit"]
    for num_seeds, split in ((1, (4,)), (9, (4, 5)), (40, (1, 5, 9, 10)), (5, tuple(range(4, 41, 4)))):
        _run(chain, num_seeds, split)
    assert calls["fit"] == before


def test_compiled_equals_host_for_one_step(counted):
    """To float32 rounding: the compiled sums may run in another order."""
    chain, _ = counted
    compiled = _run(chain, num_seeds=2)
    hosted = list(run_host(chain, ROOT, 2, (1, 2)))
    for name, values in _joined(hosted).items():
        np.testing.assert_allclose(values[:, :2], _joined(compiled)[name][:, :2], rtol=1e-5, atol=1e-6)
    assert [(segment.start, segment.stop) for segment in hosted] == [(0, 0), (1, 1), (2, 2)]
    assert jax.tree.structure(hosted[-1].state()) == jax.tree.structure(compiled[-1].state())
    assert (hosted[1].state().generation == 1).all()  # a segment's state is its own, read late or early


def test_a_seed_uses_its_own_key(counted):
    """Seed s starts from fold_in(fold_in(root, s), 0), whichever driver runs it."""
    chain, _ = counted
    records = _joined(_run(chain, num_seeds=3))
    for seed in range(3):
        _, record = chain.init(jax.random.fold_in(jax.random.fold_in(ROOT, seed), 0))
        np.testing.assert_allclose(records["mean"][seed, 0], record["mean"], rtol=1e-5, atol=1e-6)


NUM_PIECES = 4


def _piecewise(whole: bool) -> Model:
    """A Gaussian whose mean is taken over one quarter of the rows a piece, with noise keyed by the piece."""
    model = gaussian()

    def start(key, params, data):
        return key, data, jnp.zeros(())

    def advance(index, carry):
        key, data, total = carry
        quarter = jax.lax.dynamic_slice_in_dim(data.x[:, 0], 3 * index, 3)
        noise = 1e-2 * jax.random.normal(jax.random.fold_in(key, index))
        return key, data, total + jnp.sum(quarter) + noise

    def finish(carry):
        _, data, total = carry
        mean = total / 12
        params = model.init(None, None)._replace(mean=mean, variance=jnp.mean((data.x[:, 0] - mean) ** 2))
        return params, {"mean": mean}

    pieces = Chunked(start, advance, finish, NUM_PIECES)
    return model._replace(fit=(lambda *args: pieces(*args)) if whole else pieces)


def test_pieces_give_what_the_whole_gives():
    chains = [
        build_chain(_piecewise(whole), replace(), lambda key: standard_normal(key, 12), 12)
        for whole in (True, False)
    ]
    done = []
    phases = []
    whole = list(run_host(chains[0], ROOT, 2, (1, 3), on_chunk=lambda _, piece: phases.append(piece.phase)))
    assert phases == ["fit", "sample"] * 8  # a function without pieces is one
    pieces = list(
        run_host(chains[1], ROOT, 2, (1, 3), on_chunk=lambda seed, piece: done.append((seed, piece)))
    )
    # a compiled loop may fuse what single pieces round apart
    np.testing.assert_allclose(_joined(pieces)["mean"], _joined(whole)["mean"], rtol=1e-4, atol=1e-5)
    once = [(position, NUM_PIECES, "fit") for position in range(1, NUM_PIECES + 1)]
    for seed in range(2):
        seen = [
            (piece.position, piece.num_chunks, piece.phase)
            for by, piece in done
            if by == seed and piece.phase == "fit"
        ]
        assert seen == once * 4  # generation 0 and three more
    # segment by segment: generations 0 and 1 of both seeds, then generations 2 and 3
    assert [seed for seed, _ in done] == ([0] * 5 + [1] * 5) * 2 + [0] * 10 + [1] * 10


def _through_a_file(tree):
    with tempfile.TemporaryDirectory() as folder:
        save_tree(Path(folder) / "state.npz", tree, {})
        return load_tree(Path(folder) / "state.npz")[0]


@pytest.mark.parametrize("generation", [0, 2])
def test_going_on_from_any_piece_gives_the_same_bits(generation):
    chain = build_chain(_piecewise(False), replace(), lambda key: standard_normal(key, 12), 12)
    seen = []
    whole = list(run_host(chain, ROOT, 1, (1, 2), on_chunk=lambda _, piece: seen.append(piece)))
    num = NUM_PIECES + 1  # of a generation; the last is what was drawn
    before = None if generation == 0 else (generation - 1, _through_a_file(whole[generation - 1].state()))
    for piece in seen[generation * num : (generation + 1) * num]:
        left = list(run_host(chain, ROOT, 1, (1, 2), resume=before, piece=_through_a_file(piece)))
        assert [segment.stop for segment in left] == list(range(generation, 3))
        for segment, expected in zip(left, whole[generation:]):
            _assert_same_bits(segment.records, expected.records)
            _assert_same_bits(segment.state(), expected.state())
    with pytest.raises(ValueError, match="`piece` belongs to one seed, got 2"):
        next(run_host(chain, ROOT, 2, (1,), piece=seen[0]))


def test_pieces_are_at_least_one():
    with pytest.raises(ValueError, match="`num_chunks` must be at least 1"):
        Chunked(lambda: 0, lambda index, carry: carry, lambda carry: carry, 0)


@pytest.mark.parametrize("driver", [run_compiled, run_host])
@pytest.mark.parametrize(
    ("num_seeds", "split", "key", "error", "sentence"),
    [
        (0, (1,), ROOT, ValueError, "`num_seeds` must be at least 1"),
        (2.0, (1,), ROOT, TypeError, "`num_seeds` must be an integer"),
        (1, (3, 2), ROOT, ValueError, "`stops` must be increasing"),
        (1, (2, 2), ROOT, ValueError, "`stops` must be increasing"),
        (1, (0, 2), ROOT, ValueError, "`stops` must be increasing"),
        (1, (2, 4), ROOT, ValueError, "4 generations exceed the 3 .* max_generations=4"),
        (1, (1,), jax.random.PRNGKey(0), TypeError, "`key` must be one typed key.*jax.random.key"),
        (1, (1,), jax.random.split(ROOT), TypeError, "`key` must be one typed key"),
        (1, (1,), 0, TypeError, "`key` must be one typed key"),
    ],
)
def test_bad_arguments_meet_a_sentence(unchecked, driver, num_seeds, split, key, error, sentence):
    real = Samples(jnp.arange(4.0)[:, None], jnp.ones(4))
    chain = build_chain(gaussian(), accumulate(3), real, 4)
    with pytest.raises(error, match=sentence):
        next(iter(driver(chain, key, num_seeds, split)))


def test_lanes_are_at_least_one(counted):
    with pytest.raises(ValueError, match="`lanes` must be at least 1"):
        next(run_compiled(counted[0], ROOT, 1, (1,), lanes=0))


@given(seeds)
def test_segment_stops_reach_every_wanted_generation(seed):
    rng = np.random.default_rng(seed)
    num_generations, length = int(rng.integers(1, 60)), int(rng.integers(1, 20))
    keep = tuple(int(g) for g in rng.integers(0, num_generations + 1, size=3))
    made = segment_stops(num_generations, length, keep)
    assert made[-1] == num_generations and {g for g in keep if g > 0} <= set(made)
    assert max(np.diff((0, *made))) <= length and min(np.diff((0, *made))) >= 1


def test_a_mesh_has_no_more_devices_than_blocks():
    assert lane_mesh(1).size == 1 and lane_mesh(3).size == 3 and lane_mesh(99).size == len(jax.devices()) == 4
    assert lane_mesh(9, jax.devices()[2:]).devices.tolist() == jax.devices()[2:]


def test_programs_go_with_the_chain_that_they_are_of():
    """A process that tries hundreds of chains keeps none that nobody holds, nor the data that it closes over."""

    class Rows:  # of a user's own
        pass

    def run():
        rows = Rows()
        chain = _mixture_chain(lambda key: (rows, _real(key))[1])
        _run(chain, num_seeds=1, stops=(1,))
        _run(chain, num_seeds=1, stops=(1,))
        assert len(module._kept) == before + 1  # the second run compiled nothing
        return weakref.ref(rows)

    gc.collect()
    before = len(module._kept)
    gone = run()
    gc.collect()
    assert gone() is None and len(module._kept) == before


def test_threads_get_the_bits_they_would_alone(chain, reference):
    """Two at once, of one chain and of another."""
    mean = Metric("mean", ("axis",), "data units", lambda key, snapshot: snapshot.params.components.means[0])
    other = _mixture_chain(metrics=[mean])
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(_run, one) for one in (chain, other, chain, other)]
        found = [task.result() for task in running]
    for segments in (found[0], found[2]):
        _assert_same_bits(_joined(segments), _joined(reference))
    _assert_same_bits(_joined(found[1]), _joined(found[3]))
    for segments in found:
        _assert_same_bits(segments[-1].state(), reference[-1].state())
