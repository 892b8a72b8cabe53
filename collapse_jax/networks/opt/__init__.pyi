"""OPT (Zhang et al. 2022): its shape, weights, files, tokens, decoding and scores."""

from collapse_jax.networks.opt.beams import beam_search as beam_search
from collapse_jax.networks.opt.config import OPT_CONFIGS as OPT_CONFIGS
from collapse_jax.networks.opt.config import OPTConfig as OPTConfig
from collapse_jax.networks.opt.config import opt_config as opt_config
from collapse_jax.networks.opt.decoding import Generated as Generated
from collapse_jax.networks.opt.decoding import Rules as Rules
from collapse_jax.networks.opt.decoding import greedy as greedy
from collapse_jax.networks.opt.decoding import sample as sample
from collapse_jax.networks.opt.model import abstract_params as abstract_params
from collapse_jax.networks.opt.model import hidden_states as hidden_states
from collapse_jax.networks.opt.model import init_opt as init_opt
from collapse_jax.networks.opt.model import logits as logits
from collapse_jax.networks.opt.scoring import LogLoss as LogLoss
from collapse_jax.networks.opt.scoring import Texts as Texts
from collapse_jax.networks.opt.scoring import block_log_loss as block_log_loss
from collapse_jax.networks.opt.scoring import language_loss as language_loss
from collapse_jax.networks.opt.scoring import sequence_log_probs as sequence_log_probs
from collapse_jax.networks.opt.scoring import sliding_log_loss as sliding_log_loss
from collapse_jax.networks.opt.scoring import token_log_probs as token_log_probs
from collapse_jax.networks.opt.tokenizer import decode as decode
from collapse_jax.networks.opt.tokenizer import encode as encode
from collapse_jax.networks.opt.tokenizer import load_tokenizer as load_tokenizer
from collapse_jax.networks.opt.tokenizer import save_tokenizer as save_tokenizer
from collapse_jax.networks.opt.tokenizer import train_tokenizer as train_tokenizer
from collapse_jax.networks.opt.weights import load_opt as load_opt
from collapse_jax.networks.opt.weights import save_opt as save_opt
