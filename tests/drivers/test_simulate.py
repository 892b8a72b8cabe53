"""`simulate`: many seeds of a chain as one labelled result."""

import jax
import numpy as np
import pytest

from collapse_jax import Metric, accumulate, build_chain, run_compiled, simulate
from collapse_jax.testing.cases import line as gaussian
from collapse_jax.testing.cases import standard_normal

NUM_SEEDS, NUM_GENERATIONS = 5, 6
ROOT = jax.random.key(3)
SETTINGS = {"lanes": 4, "segment_length": 3}


@pytest.fixture(scope="module")
def chain():
    width = Metric("width", ("end",), "data units", lambda key, s: s.synthetic.x[:2, 0])
    real = lambda key: standard_normal(key, 10)  # noqa: E731
    return build_chain(gaussian(), accumulate(NUM_GENERATIONS), real, 10, [width])


@pytest.fixture(scope="module")
def result(chain):
    return simulate(chain, ROOT, NUM_SEEDS, NUM_GENERATIONS, keep=(0, 3, 6), **SETTINGS)


def test_a_result_has_every_seed_and_generation(result):
    assert result["mean"].dims == ("seed", "generation") and result["mean"].shape == (
        NUM_SEEDS,
        NUM_GENERATIONS + 1,
    )
    assert result.width.dims == ("seed", "generation", "end") and result.width.attrs["units"] == "data units"
    assert result.is_finite.all()
    assert len(np.unique(result["mean"])) == result["mean"].size


def test_kept_params_are_those_of_their_generations(result):
    """The fit's info repeats the params of this model: what is kept at g is what was recorded at g."""
    assert result.kept_generation.values.tolist() == [0, 3, 6]
    for name in ("mean", "variance"):
        kept = result[f"params.{name}"]
        assert kept.dims == ("seed", "kept_generation")
        np.testing.assert_array_equal(kept, result[name].sel(generation=[0, 3, 6]))


def test_nothing_is_kept_unasked(chain):
    result = simulate(chain, ROOT, NUM_SEEDS, NUM_GENERATIONS, **SETTINGS)
    assert not any(name.startswith("params") for name in result) and "kept_generation" not in result.dims


def test_the_last_generation_alone_may_be_kept(chain, result):
    last = simulate(chain, ROOT, NUM_SEEDS, NUM_GENERATIONS, keep=(6,), **SETTINGS)
    np.testing.assert_array_equal(
        last["params.mean"].squeeze("kept_generation"), result["mean"].sel(generation=6)
    )


def test_it_is_what_the_driver_yields(chain, result):
    segments = list(run_compiled(chain, ROOT, NUM_SEEDS, (2, 3, 5, 6), lanes=4))
    for name in segments[0].records:
        joined = np.concatenate([segment.records[name] for segment in segments], axis=1)
        np.testing.assert_array_equal(result[name], joined)


def test_progress_is_reported_after_each_segment(chain):
    stops = []
    simulate(
        chain,
        ROOT,
        NUM_SEEDS,
        NUM_GENERATIONS,
        on_segment=lambda s: stops.append((s.start, s.stop)),
        **SETTINGS,
    )
    assert stops == [(0, 0), (1, 3), (4, 6)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_seeds": 0}, "`num_seeds` must be at least 1"),
        ({"num_generations": 0}, "`num_generations` must be at least 1"),
        ({"num_generations": 7}, "7 generations exceed the 6 .* max_generations=7"),
        ({"segment_length": 0}, "`segment_length` must be at least 1"),
        ({"lanes": 0}, "`lanes` must be at least 1"),
        ({"keep": (7,)}, r"keep"),
        ({"keep": (-1,)}, r"keep"),
    ],
)
def test_bad_arguments_meet_a_sentence(chain, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        simulate(chain, ROOT, **{"num_seeds": 2, "num_generations": 6, **SETTINGS, **options})
