"""Randomness is used once: every use of a chain has a key of its own, and no program draws twice from one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.key_reuse._core import KeyReuseError, check_key_reuse
from registry import COMPILED, REGIMES
from tiny_opt import SMALL, random_params

from collapse_jax import (
    Metric,
    Model,
    Regime,
    Samples,
    as_samples,
    build_chain,
    original,
    replace,
    replace_with_real,
)
from collapse_jax.drivers.compiled import run_compiled
from collapse_jax.drivers.host import run_host
from collapse_jax.models.bigram import bigram, known_table
from collapse_jax.models.language import FineTuning, language, sampled_decoding
from collapse_jax.models.regression import regression, regression_truth
from collapse_jax.models.vae import vae
from collapse_jax.networks.opt.decoding import Rules
from collapse_jax.numerics.kmeans import kmeans
from collapse_jax.testing.cases import LINE
from collapse_jax.testing.promises import chain_of

KEY = jax.random.key(0)
USES = ("real", "init", "fit", "sample", "regime", "metric", "second")


def _told(key):
    return jax.random.key_data(key).astype(jnp.uint32)


def _spying_chain():
    """A chain that records the key of every use: each part passes on what it was given."""

    def real(key):
        return Samples(_told(key)[None], jnp.ones(1))

    def fit(key, params, data):
        return {**params, "fit": _told(key), "read": data.x[0]}, {"real": data.x[0]}

    def sample(key, params, num):
        return Samples(jnp.stack([_told(key)] * num), jnp.ones(num))

    def update(key, synthetic, state):
        return Samples(_told(key)[None], jnp.ones(1)), state

    def start(key, data):
        return {"init": _told(key), "fit": jnp.zeros(2, jnp.uint32), "read": jnp.zeros(2, jnp.uint32)}

    found = {
        "init": lambda key, s: s.params["init"], "fit": lambda key, s: s.params["fit"],
        "sample": lambda key, s: s.synthetic.x[0], "read": lambda key, s: s.params["read"],
        "metric": lambda key, s: _told(key), "second": lambda key, s: _told(key),
    }  # fmt: skip
    metrics = [Metric(name, ("half",), "1", function) for name, function in found.items()]
    return build_chain(Model(start, fit, sample), Regime(lambda real, synthetic: (), update), real, 2, metrics)


@pytest.mark.parametrize("run", [run_compiled, run_host])
def test_every_use_in_every_generation_of_every_seed_has_its_own_key(run):
    """Real data, start, fit, draw, regime and metrics: 2 seeds, generations 0, 1 and 2.

    What a fit reads is the key of the real data at generation 0, and of the regime after it; `init` is used once.
    """
    parts = [segment.records for segment in run(_spying_chain(), KEY, 2, (1, 2))]
    records = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    keys = [
        tuple(records[name][seed, generation].tolist())
        for seed in range(2)
        for generation in range(3)
        for name in ("fit", "sample", "read", "metric", "second", *(["init"] if generation == 0 else []))
    ]
    assert len(keys) == 2 * (3 * 5 + 1) and len(set(keys)) == len(keys)
    assert not any(key == tuple(_told(KEY).tolist()) for key in keys)  # the root itself draws nothing


def _points(key, num):
    return Samples(jax.random.normal(key, (num, 2)), jnp.ones(num))


def _tiny_language():
    blocks = np.full((4, 3), 5, np.int32)
    config = SMALL
    tuning = FineTuning(num_epochs=1, batch_size=2, learning_rate=1e-3, real_batches=0.5)
    params = random_params(config)
    decode = sampled_decoding(Rules(3, 3))
    model = language(config, params, blocks, blocks[:2], decode, tuning, prompt_batch=2)
    return build_chain(model, replace_with_real(original(), fraction=0.5), as_samples(jnp.asarray(blocks)), 4)


P = np.array([0.5, 0.3, 0.2])
TABLE = np.array([[0.6, 0.4], [0.3, 0.7]])
CHAINS = {
    **{case.name: (lambda case=case: chain_of(case, REGIMES[0])) for case in COMPILED},
    **{  # not of "visits": JAX's multinomial under vmap is itself taken for a double use (JAX 0.10.2)
        f"bigram {draws}": (
            lambda draws=draws: build_chain(bigram(2, draws=draws), replace(), known_table(TABLE, 9, draws), 9)
        )
        for draws in ("path",)
    },
    **{
        f"regression {design}": (
            lambda design=design: build_chain(
                regression(2, design=design), replace(), lambda key: regression_truth(np.ones(2))(key, 9), 9
            )
        )
        for design in ("same",)
    },
    "vae bits": lambda: build_chain(
        vae(num_pixels=6, num_hidden=4, num_latents=2, num_steps=2, batch_size=4, draws="bernoulli"),
        replace(), Samples(jnp.ones((5, 6)), jnp.ones(5)), 5,
    ),
    "language with dropout and real batches": _tiny_language,
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_no_generation_draws_twice_from_one_key(name):
    """By JAX's own count of what consumes a key, of generation 0 and of a step; nothing is run."""
    chain = CHAINS[name]()
    state, _ = jax.eval_shape(chain.init, KEY)
    check_key_reuse(chain.init, KEY)
    check_key_reuse(chain.step, KEY, state)


@pytest.mark.parametrize("case", REGIMES, ids=lambda case: case.name)
def test_no_regime_draws_twice_from_one_key(case):
    chain = chain_of(LINE, case)
    check_key_reuse(chain.step, KEY, jax.eval_shape(chain.init, KEY)[0])


def test_a_key_that_is_used_twice_is_seen():
    """The count can fail: clusters seeded by a key that has drawn the rows."""

    def twice(key):
        return kmeans(key, jax.random.normal(key, (9, 2)), jnp.ones(9), 2)

    with pytest.raises(KeyReuseError, match="already consumed"):
        check_key_reuse(twice, KEY)
