"""Every family of models over two devices: no word between them, and the bits of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from one_parameter_points import real_points
from registry import MODELS
from small_language import REAL
from small_language import build as small_language

from collapse_jax import as_samples, build_chain, conv_vae, gaussian_truth, replace, run_compiled
from collapse_jax.drivers.lanes import Lanes, compile_lanes
from collapse_jax.models.bigram import bigram, known_table
from collapse_jax.models.categorical import CategoricalTruth, categorical
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.models.one_parameter import uniform
from collapse_jax.models.regression import regression, regression_truth
from collapse_jax.testing.cases import NUM_ROWS

pytestmark = pytest.mark.slow

KEY, LANES, SEEDS = jax.random.key(0), 2, 4
_COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def _images(key):
    return as_samples(jax.random.uniform(key, (8, 784)))


_CHAINS = {
    **{
        case.name: lambda case=case: build_chain(
            case.build(), replace(), lambda key: case.real(key, NUM_ROWS), NUM_ROWS
        )
        for case in MODELS
        if case.name in ("mixture-warm", "kde", "vae-fixed")
    },
    "gaussian-statistics": lambda: build_chain(
        gaussian_statistics(2), replace(), gaussian_truth(2).moments_sampler(50), 50
    ),
    "categorical": lambda: build_chain(
        categorical(3), replace(), CategoricalTruth(np.array([0.5, 0.3, 0.2])).counts_sampler(50), 50
    ),
    "bigram": lambda: build_chain(bigram(2), replace(), known_table(np.full((2, 2), 0.5), 50), 50),
    "regression": lambda: build_chain(
        regression(2), replace(), lambda key: regression_truth((1.0, -1.0))(key, 20), 20
    ),
    "conv-vae": lambda: build_chain(conv_vae(num_steps=1, batch_size=4), replace(), _images, 8),
    "language": lambda: build_chain(small_language(), replace(), as_samples(jnp.asarray(REAL)), 8),
    "uniform": lambda: build_chain(uniform(), replace(), real_points("uniform"), 7),
}


def found_over_two_devices(name):
    """Return the collectives in the programs that ran, and the arrays whose bits are not those of one device."""
    chain = _CHAINS[name]()
    runs = [
        list(run_compiled(chain, KEY, SEEDS, (1,), lanes=LANES, devices=jax.devices()[:num]))
        for num in (1, 2)
    ]
    programs = compile_lanes(Lanes(chain, SEEDS, LANES, devices=jax.devices()[:2]), KEY.dtype, 1)
    texts = [program.as_text() for program in (programs.begin, programs.advance)]
    assert all("num_partitions=2" in text for text in texts)
    states = zip(jax.tree.leaves_with_path(runs[0][-1].state()), jax.tree.leaves(runs[1][-1].state()))
    return {
        "collectives": [word for word in _COLLECTIVES if any(word in text for text in texts)],
        "other values": [
            jax.tree_util.keystr(path) for (path, one), two in states if not np.array_equal(one, two)
        ],
    }


_SMALL = ("mixture-warm", "categorical")  # loops that end for each lane at another time, and draws that do


@pytest.mark.parametrize(
    "names", [_SMALL, pytest.param([name for name in _CHAINS if name not in _SMALL], marks=pytest.mark.heavy)]
)
def test_devices_have_nothing_to_say_to_each_other_and_change_no_bit(names):
    """As users run it: the tests' own programs are compiled with fewer optimisations, where one and two may differ."""
    beside = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])  # the tests' helpers
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": beside}
    done = subprocess.run([sys.executable, __file__, *names], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {name: {"collectives": [], "other values": []} for name in names}


if __name__ == "__main__":
    print(json.dumps({name: found_over_two_devices(name) for name in sys.argv[1:]}))
