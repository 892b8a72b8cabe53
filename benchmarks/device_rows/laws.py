"""Is what the device computes right: the laws, the same bits for any cut into segments, the CPU's law."""

import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from clock import TimeIsUp
from scipy import stats

from collapse_jax import (
    Chain,
    FineTuning,
    as_samples,
    build_chain,
    gaussian,
    gaussian_metrics,
    gaussian_truth,
    language,
    load_mnist,
    mixture,
    mixture_metrics,
    opt,
    replace,
    run_compiled,
    run_host,
    sampled_decoding,
    two_gaussians,
    vae,
    vae_metrics,
)
from collapse_jax.drivers.compiled import Segment
from collapse_jax.selfcheck.verify import run_program, selected
from device_rows.found import Found, Setting

ALPHA = 1e-3  # below this p-value two samples are said to have different laws
Run = Callable[..., Iterator[Segment]]


def laws(setting: Setting) -> None:
    """Tell how many laws of `collapse-jax verify --quick` hold."""
    programs = selected(quick=True)
    for number, program in enumerate(programs[1:2] if setting.tiny else programs):
        if number and setting.left < 0:
            raise TimeIsUp(f"{number} of {len(programs)} programs were run")
        begun = time.monotonic()
        checks = [check for found in run_program(program, quick=True).values() for check in found]
        failed = [check for check in checks if not check.holds]
        taken = time.monotonic() - begun
        said = "; ".join(f"{check.law}: z = {check.z:.1f}" for check in failed)
        note = f"{len(checks) - len(failed)} of {len(checks)} laws hold (|z| < 5), {taken:.0f} s with compiling"
        setting.tell(
            Found(
                f"laws of verify --quick: {program.name}", "laws held",
                note=f"{note}{'; failed: ' if said else ''}{said}", target="all hold", met=not failed,
                part=program.name,
                numbers={"passed": len(checks) - len(failed), "failed": len(failed), "seconds": taken},
            )
        )  # fmt: skip


def bits_gmm(setting: Setting) -> None:
    """Tell whether a mixture chain in segments has the bits of the whole run."""
    setting.tell(_same_bits("GMM, M = 200, 64 seeds", run_compiled, _mixtures(200), 64, (6, 12), {"lanes": 64}))


def bits_vae(setting: Setting) -> None:
    """Tell whether an autoencoder chain in segments has the bits of the whole run."""
    num, steps = (64, 2) if setting.tiny else (1000, 20)
    model = vae(num_steps=steps, batch_size=32)
    images = as_samples(load_mnist().images[:num])
    chain = build_chain(model, replace(), images, num, vae_metrics(32, 2)[:1])
    setting.tell(_same_bits(f"MLP VAE, {steps} steps, 4 seeds", run_compiled, chain, 4, (1, 2), {"lanes": 4}))


def bits_opt(setting: Setting) -> None:
    """Tell whether a chain of a tiny OPT, run from the host, has in segments the bits of the whole run."""
    config = opt.opt_config("tiny", vocab_size=64, hidden_size=32, num_layers=2, num_heads=2, ffn_size=64)
    rng, length = np.random.default_rng(0), 16
    blocks, unseen = (jnp.asarray(rng.integers(3, 64, (num, length)), jnp.int32) for num in (32, 8))
    decode, tuning = sampled_decoding(opt.Rules(length, length)), FineTuning(num_epochs=1, batch_size=16)
    params = opt.init_opt(jax.random.key(0), config)
    model = language(config, params, blocks, unseen, decode, tuning, prompt_batch=32)
    chain = build_chain(model, replace(), as_samples(blocks), 32)
    setting.tell(_same_bits("OPT of 2 layers, host driver, 1 seed", run_host, chain, 1, (1, 2), {}))


def _mixtures(size: int) -> Chain:
    truth = two_gaussians()
    kept = [metric for metric in mixture_metrics(truth) if metric.name == "log_total_variance"]
    return build_chain(mixture(2), replace(), truth.sampler(size), size, kept)


def _same_bits(work: str, run: Run, chain: Chain, seeds: int, stops: tuple[int, ...], how: dict) -> Found:
    """Return whether a run that stops at `stops`, and one that goes on from a state, have the bits of the whole run."""
    key, last, between = jax.random.key(0), stops[-1], stops[-2]
    whole, again, cut = (list(run(chain, key, seeds, way, **how)) for way in ((last,), (last,), stops))
    resumed = list(run(chain, key, seeds, (last,), resume=(between, cut[-2].state()), **how))
    of_whole = _joined(whole)
    equal = {
        "run again": _equal(of_whole, _joined(again)) and _equal(whole[-1].state(), again[-1].state()),
        "in segments": _equal(of_whole, _joined(cut)) and _equal(whole[-1].state(), cut[-1].state()),
        "gone on with": _equal(whole[-1].state(), resumed[-1].state()),
    }
    note = ", ".join(f"{how}: {'equal' if same else 'UNEQUAL'}" for how, same in equal.items())
    at = ", ".join(map(str, stops))
    return Found(f"{work}, segments that end at {at}", "", note=note, target="equal bits", met=all(equal.values()),
                 numbers=equal)  # fmt: skip


def _joined(segments: list[Segment]) -> dict[str, np.ndarray]:
    return {
        name: np.concatenate([segment.records[name] for segment in segments], axis=1) for name in segments[0].records
    }


def _equal(left: object, right: object) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def law_on_cpu(setting: Setting) -> None:
    """Tell whether final statistics on the device and on the CPU, of other seeds, are of one law."""
    seeds = 256 if setting.tiny else 4096
    kinds = {
        "Gaussian": lambda: build_chain(gaussian(1), replace(), gaussian_truth(1).sampler(50), 50, gaussian_metrics()),
        "GMM": lambda: _mixtures(100),
    }
    for name, build in kinds.items():
        num = seeds if name == "Gaussian" else seeds // 4
        here = _final(build(), 0, num, jax.devices()[0])
        cpu = jax.devices("cpu")[0]
        with jax.default_device(cpu):
            beside, same = (_final(build(), seed, num, cpu) for seed in (1, 0))
        found = stats.ks_2samp(here, beside)
        apart = np.abs(here - same)
        note = (
            f"p = {found.pvalue:.3g} (Kolmogorov and Smirnov, alpha {ALPHA:g}, {num:,} seeds each); of the same seeds "
            f"the median differs by {np.median(apart):.1e}, the farthest by {apart.max():.1e}"
        )
        work = f"{name} chain, log variance of generation 20, device and CPU"
        setting.tell(
            Found(work, note=note, target="one law", met=bool(found.pvalue > ALPHA), part=name,
                  numbers={"p": float(found.pvalue), "seeds": num, "median_apart": float(np.median(apart))})
        )  # fmt: skip


def _final(chain: Chain, seed: int, num: int, device: jax.Device) -> np.ndarray:
    """Return the log variance of every seed at generation 20."""
    segments = run_compiled(chain, jax.random.key(seed), num, (20,), lanes=num, devices=[device])
    return list(segments)[-1].records["log_total_variance"][:, -1]


ROWS = {"laws": laws, "bits-gmm": bits_gmm, "bits-vae": bits_vae, "bits-opt": bits_opt, "law-on-cpu": law_on_cpu}
