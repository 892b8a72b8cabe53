"""An OPT, its rules of decoding and its beam search, written again in NumPy: no caches, no padding, plain lists.

Semantics are those of transformers' `generate`; `make parity` holds the package against that itself.
"""

import numpy as np

from collapse_jax.networks.opt.config import POSITION_OFFSET


def _norm(weights, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    x = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return x * weights["scale"] + weights["bias"] if "scale" in weights else x


def _linear(weights, x):
    return x @ weights["kernel"] + weights.get("bias", 0.0)


def _attention(config, weights, x):
    length, depth = x.shape[1], config.hidden_size // config.num_heads
    parts = np.split(_linear(weights["qkv"], x), 3, axis=-1)
    queries, keys, values = (part.reshape(len(x), length, config.num_heads, depth) for part in parts)
    scores = np.einsum("blhd,bmhd->bhlm", queries, keys) / np.sqrt(depth)
    scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    share = share / share.sum(axis=-1, keepdims=True)
    return _linear(weights["out"], np.einsum("bhlm,bmhd->blhd", share, values).reshape(x.shape))


def next_scores(config, params, tokens):
    """Logits of the next token at every place of texts [batch, length] without padding, in float64."""
    tokens = np.asarray(tokens)
    params = _wide(params)
    x = params["tokens"]["embedding"][tokens]
    if "project_in" in params:
        x = _linear(params["project_in"], x)
    x = x + params["positions"]["embedding"][np.arange(tokens.shape[1]) + POSITION_OFFSET]
    for index in sorted(params["layers"]):
        layer = params["layers"][index]
        for name, inner in (
            ("attention_norm", lambda h, w=layer: _attention(config, w["attention"], h)),
            ("ffn_norm", lambda h, w=layer: _linear(w["down"], np.maximum(_linear(w["up"], h), 0))),
        ):
            norm = layer.get(name, {})
            x = x + inner(_norm(norm, x)) if config.pre_norm else _norm(norm, x + inner(x))
    if config.has_final_norm:
        x = _norm(params.get("final_norm", {}), x)
    if "project_out" in params:
        x = _linear(params["project_out"], x)
    return x @ params["tokens"]["embedding"].T


def _wide(tree):
    if isinstance(tree, dict):
        return {name: _wide(child) for name, child in tree.items()}
    return np.asarray(tree, np.float64)


def log_softmax(scores):
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def ruled(config, rules, scores, text, step):
    """Scores of one text's next token after penalty, forbidden n-grams and the least length, in this order."""
    scores = scores.copy()
    for token in set(text):
        worse = scores[token] * rules.repetition_penalty, scores[token] / rules.repetition_penalty
        scores[token] = worse[0] if scores[token] < 0 else worse[1]
    size = rules.no_repeat_ngram
    if size and len(text) >= size - 1:
        suffix = text[len(text) - size + 1 :]
        for start in range(len(text) - size + 1):
            if text[start : start + size - 1] == suffix:
                scores[text[start + size - 1]] = -np.inf
    if rules.ends and step < rules.min_new_tokens:
        scores[config.eos_token] = -np.inf
    return scores


def greedy(config, params, prompt, rules):
    """The new tokens of one prompt, and the sum of their log-probabilities under the ruled scores."""
    text, total = list(prompt), 0.0
    for step in range(rules.max_new_tokens):
        scores = ruled(config, rules, next_scores(config, params, [text])[0, -1], text, step)
        token = int(scores.argmax())
        total += log_softmax(scores)[token]
        text.append(token)
        if rules.ends and token == config.eos_token:
            break
    return text[len(prompt) :], total


def beams(config, params, prompt, rules, num_beams, length_penalty, early_stopping):
    """The new tokens of one prompt and their score, by a search that keeps lists of (score, tokens)."""
    prompt, running, ended, hopeless = list(prompt), [(0.0, [])], [], False
    for step in range(rules.max_new_tokens):
        length, candidates = step + 1, []
        rows = log_softmax(next_scores(config, params, [prompt + new for _, new in running])[:, -1])
        for (score, new), row in zip(running, rows):
            row = ruled(config, rules, row, prompt + new, step)
            candidates += [(score + gain, [*new, token]) for token, gain in enumerate(row) if gain > -np.inf]
        candidates = sorted(candidates, key=lambda one: -one[0])[: 2 * num_beams]

        def is_over(new, length=length):
            return length == rules.max_new_tokens or (rules.ends and new[-1] == config.eos_token)

        full = early_stopping is True and len(ended) == num_beams
        if not (full or hopeless):  # of the candidates only the best `num_beams` may end a text
            over = [(score / length**length_penalty, new) for score, new in candidates[:num_beams] if is_over(new)]
            ended = sorted(ended + over, key=lambda one: -one[0])[:num_beams]
        running = [one for one in candidates if not is_over(one[1])][:num_beams]
        if not running or (early_stopping is True and len(ended) == num_beams):
            break
        reach = rules.max_new_tokens if early_stopping == "never" and length_penalty > 0 else length
        worst = ended[-1][0] if len(ended) == num_beams else -np.inf
        if hopeless := running[0][0] / reach**length_penalty <= worst:
            break
    return ended[0][1], ended[0][0]
