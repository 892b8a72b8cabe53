"""Laws of the decoder's watermarks: what a key makes of words and contexts, and text that it determines."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import polygamma

from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain, Metric, Snapshot
from collapse_jax.core.regimes import replace
from collapse_jax.models.categorical import categorical, count_sums
from collapse_jax.networks.opt.watermarks import apply_watermark, detect_watermark, green_list, gumbel
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import watermarks
from collapse_jax.types import Array, Key

_GREEN, _BOOST, _CONTEXTS, _TEXTS = 0.25, 2.0, 16, 16_384


def chains() -> dict[str, Chain]:
    """Return a chain that does nothing but draw a new key at every step."""
    coin = count_sums(jnp.array([1.0, 1.0]))
    return {"keys": build_chain(categorical(2), replace(), lambda key: coin, 2, (_cycle(), _boosted()))}


def _secret(key: Key) -> Array:
    return jax.random.bits(key)


def _cycle() -> Metric:
    """Return the length of the cycle into which text falls under a new key: uniform words, a window of one."""

    def cycle(key: Key, snapshot: Snapshot) -> Array:
        words = jnp.arange(_CONTEXTS)
        marked = apply_watermark(
            gumbel(_secret(key), window=1), jnp.zeros((_CONTEXTS, _CONTEXTS)), words[:, None]
        )
        follows = jnp.argmax(marked, axis=-1)
        jump = follows
        for _ in range(4):  # sixteen steps: on the cycle from any context
            jump = jump[jump]
        begins = jump[0]

        def walk(place: Array, _: None) -> tuple[Array, Array]:
            place = follows[place]
            return place, place == begins

        _, back = jax.lax.scan(walk, begins, None, _CONTEXTS)
        return jnp.argmax(back) + 1.0

    return Metric("cycle", (), "tokens", cycle)


def _boosted() -> Metric:
    """Return the share of green words under a new key, and their mass, where all are equally likely to be drawn."""

    def boosted(key: Key, snapshot: Snapshot) -> Array:
        scores, context = jnp.zeros((1, 64)), jnp.zeros((1, 2), int)
        marked = apply_watermark(green_list(_secret(key), _GREEN, _BOOST), scores, context)
        green = marked[0] > 0
        share = jnp.mean(green)
        return jnp.stack([share, jnp.sum(jax.nn.softmax(marked[0]) * green)])

    return Metric("green", ("of",), "1", boosted)


def laws(records: Records) -> list[Check]:
    """Nine keys in each run."""
    record = records["keys"]
    share, mass = np.moveaxis(record["green"].astype(float), -1, 0)
    gap = np.abs(mass - np.asarray(watermarks.green_mass(share, _BOOST))).max()
    cycle = watermarks.key_cycle_length(_CONTEXTS)
    return [
        check("watermark, keys", "share of green words", share.mean(axis=1), _GREEN),
        check_exact("watermark, keys", "mass of green words g e^d/(g e^d + 1 - g): largest gap", gap, 0.0,
                    allowance=1e-5),
        check("watermark, keys", "cycle of a random map (Q(K) + 1)/2, K = 16", record["cycle"].mean(axis=1), cycle),
        _scores(int(1e6 * share[0, 0]) + int(record["cycle"].sum())),
    ]  # fmt: skip


def _scores(secret: int) -> Check:
    """Gumbel's trick: what a drawn token counts, one in each of many contexts."""
    p, mark = np.array([0.6, 0.3, 0.1]), gumbel(secret % 2**32, window=1)
    contexts = jnp.arange(_TEXTS)[:, None]
    scores = jnp.broadcast_to(jnp.log(jnp.asarray(p)), (_TEXTS, 3))
    words = jnp.argmax(apply_watermark(mark, scores, contexts), axis=-1)
    found = detect_watermark(mark, np.concatenate([contexts, words[:, None]], axis=1))
    law = float(watermarks.gumbel_score(p))
    # of the word i it is minus the log of a Beta(1, 1/p_i): its mean is H(1/p_i), its variance follows
    means = polygamma(0, 1 / p + 1) + np.euler_gamma
    variance = np.sum(p * (polygamma(1, 1.0) - polygamma(1, 1 / p + 1) + means**2)) - law**2
    return Check("watermark, keys", "E score of Gumbel's trick sum p H(1/p)", found.score,
                 float(np.sqrt(variance / found.num_scored)), law)  # fmt: skip
