"""Peak memory of OPT's beam search beside transformers, each in a process of its own (Linux)."""

import subprocess
import sys
import tempfile

import jax
from opt import WORK

from collapse_jax import opt

COLUMNS = ("peak memory of a 5-beam search", "collapse_jax, MiB", "transformers, MiB")
_PROGRAM = """
import sys, numpy
text = numpy.random.default_rng(0).integers(3, 4096, (int(sys.argv[2]), 64))
{search}
# not ru_maxrss, which a process inherits from the one that started it
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
_OURS = """
import jax
from collapse_jax.networks.opt import beams
from collapse_jax.networks.opt import decoding as decode
from collapse_jax.networks.opt import weights as opt_weights
config, params = opt_weights.load_opt(sys.argv[1])
search = jax.jit(lambda params: beams.beam_search(config, params, text, rules=decode.Rules(64, 64), num_beams=5))
jax.block_until_ready(search(params))
"""
_THEIRS = """
import torch, transformers
model = transformers.OPTForCausalLM.from_pretrained(sys.argv[1], attn_implementation="sdpa")
text, lengths = torch.tensor(text), dict(min_new_tokens=64, max_new_tokens=64)
with torch.inference_mode():
    model.generate(text, attention_mask=torch.ones_like(text), do_sample=False, num_beams=5, **lengths)
"""


def measured() -> list[tuple[str, int, int]]:
    """Return what is decoded, and each side's MiB in a process that loads the weights and decodes once."""

    def peak(search: str, *arguments: str) -> int:
        command = [sys.executable, "-c", _PROGRAM.format(search=search), *arguments]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    found = []
    for name, (config, _, works) in WORK.items():
        batch = next(batch for kind, batch, _ in works if kind == "5 beams")
        with tempfile.TemporaryDirectory() as folder:
            opt.save_opt(folder, config, opt.init_opt(jax.random.key(0), config))
            ours, theirs = (peak(search, folder, str(batch)) for search in (_OURS, _THEIRS))
        found.append((f"{name}, batch {batch}, 64 tokens after 64", ours, theirs))
    return found
