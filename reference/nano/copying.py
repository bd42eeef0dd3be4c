"""Copying of earlier tokens: practice, and attention targets that teach it.

A transformer copies with two heads: one attends to the token before, a later one to what followed the same token
earlier. By the answers alone these form late, and together; `loss` asks chosen heads for exactly that attention.
`sample(rng, lang)` gives conversations that are mostly copies: sentences of random words, names, letters, facts.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

import fast
import open_text
from text_data import pick

BEFORE = {1: [2], 2: [3]}  # layer: heads that attend to the token before
FOLLOWER = {4: [2], 5: [2]}  # layer: heads that attend to what is to be copied
SPELLER = {3: [0], 5: [0]}  # layer: heads that attend to the token whose letter comes next
PIECES = []  # each token's letters


def watch(tok):
    """The fast layers keep these heads' scores from now on."""
    if fast.COMPILED[fast._sparse_layer] is not fast._sparse_layer:
        raise SystemExit("GUIDE needs layers that are not compiled: set EAGER=1")
    for layers in (BEFORE, FOLLOWER, SPELLER):
        for layer, heads in layers.items():
            fast.GUIDED.setdefault(layer, []).extend(heads)
    PIECES.extend(tok.decode([i]).strip().lower() for i in range(tok.get_vocab_size()))


def letters(ids, labels):
    """Where each letter of a spelled word is in the word: int64 [batch, tokens], for position t the earlier token that
    has the letter of token t + 1; -1 for none."""
    out = torch.full_like(ids, -1)
    for row, (tokens, wanted) in enumerate(zip(ids.tolist(), labels.tolist())):
        at = [t for t in range(1, len(tokens)) if wanted[t] and PIECES[tokens[t]] not in (",", ".", "")]
        word = "".join(PIECES[tokens[t]] for t in at)
        if len(at) < 3 or len(word) != len(at) or not word.isalpha() or not word.isascii():
            continue
        for first in range(at[0] - 1):
            owners, text = [], ""
            for t in range(first, at[0]):
                piece = PIECES[tokens[t]]
                if not piece.isalpha() or not word.startswith(text + piece):
                    break
                owners, text = owners + [t] * len(piece), text + piece
            if text == word:
                out[row, [t - 1 for t in at]] = torch.tensor(owners)
                break
    return out


def sources(ids, labels):
    """Where each answer token is copied from: int64 [batch, tokens], for position t the earlier position of token
    t + 1; -1 for none. Only from what was said to the model; the copy with the longest equal surroundings counts,
    and two neighbours must be equal."""
    ids, labels = ids.numpy(), labels.numpy()
    out = np.full(ids.shape, -1, np.int64)
    n = ids.shape[1]
    for row, wanted, to in zip(ids, labels, out):
        end = n - 1 - int((row[::-1] != row[-1]).argmax()) if (row != row[-1]).any() else n - 1
        size = min(n, end + 2)
        same, said = row[:size, None] == row[None, :size], wanted.astype(bool)
        back, ahead = np.zeros((size + 1, size + 1), np.int64), np.zeros((size + 1, size + 1), np.int64)
        for t in range(size):
            back[t + 1, 1:] = np.where(same[t], back[t, :-1] + 1, 0)
        for t in range(size - 1, -1, -1):
            ahead[t, :-1] = np.where(same[t], ahead[t + 1, 1:] + 1, 0)
        for t in range(size - 1):
            if wanted[t + 1]:
                score = np.where(same[t + 1, : t + 1] & ~said[: t + 1], back[t + 1, : t + 1] + ahead[t + 1, : t + 1], 0)
                best = t - int(score[::-1].argmax())
                if score[best] >= 3:
                    to[t] = best
    return torch.from_numpy(out)


def loss(ids, labels):
    """Cross-entropy of the watched heads' attention in the forward pass just made, 0-dimensional."""
    total, n = 0, ids.shape[1]
    scores = {(layer, head): fast.SCORES[layer][:, i] for layer, heads in fast.GUIDED.items() for i, head in enumerate(heads)}
    for layer, heads in BEFORE.items():
        for head in heads:
            total = total + F.cross_entropy(scores[layer, head][:, 1:].flatten(0, 1), torch.arange(n - 1).repeat(len(ids)))
    for layers, target in ((FOLLOWER, sources(ids, labels).flatten()), (SPELLER, letters(ids, labels).flatten())):
        rows = torch.nonzero(target >= 0)[:, 0]
        for layer, heads in layers.items() if len(rows) else ():
            for head in heads:
                total = total + F.cross_entropy(scores[layer, head].flatten(0, 1)[rows], target[rows])
    fast.SCORES.clear()
    return total / 4


def long_text(rng, lang):
    """Random words, as many as a long sentence has."""
    if lang == "en":
        common, n = open_text.words("en", "train"), rng.randint(2, 14)
        kinds = [lambda: rng.choice(common[:800]), lambda: rng.choice(common), lambda: open_text.name(rng, "train", "en"), lambda: open_text.made_up(rng)]
        word = lambda: rng.choices(kinds, [40, 24, 7, 29])[0]()
        words = [word() + ("," if rng.random() < 0.05 and i < n - 1 else "") for i in range(n)]
        text = " ".join(words)
        return (text[0].upper() + text[1:] if rng.random() < 0.6 else text) + rng.choice(["", ".", ".", "!"])
    words = open_text.words("zh", "train")
    text = "".join(rng.choice(words[:800] if rng.random() < 0.5 else words) + (rng.choice([",", ""]) if rng.random() < 0.1 else "") for _ in range(rng.randint(2, 10)))
    return text.rstrip(",") + rng.choice(["", "。", "。", "!"])


@lru_cache(None)
def spellable():
    """The tokens of two letters and more; `watch` has to come first."""
    return [piece for piece in PIECES if piece.isascii() and piece.isalpha() and len(piece) > 1]


def joined(rng):
    """Tokens of letters, one to three: every token's letters are practised, also those of tokens that few words have."""
    return "".join(rng.choice(spellable()) for _ in range(rng.choice([1, 2, 2, 3])))[:13]


def sample(rng, lang):
    kind = rng.choices(["repeat", "name", "spell", "fact"], [31, 18, 41, 10])[0]
    if kind == "repeat":
        text = long_text(rng, lang) if rng.random() < 0.7 else open_text.repeat(rng, "train", lang)[1][1]
        return [("user", pick(rng, open_text.REPEAT_EN if lang == "en" else open_text.REPEAT_ZH, "train", "repeat").format(text)), ("assistant", text)]
    if kind == "name":
        n = open_text.name(rng, "train", lang)
        return open_text.greeting(rng, "train", lang, n) + (open_text.asked_name(rng, "train", lang, n) if rng.random() < 0.5 else [])
    if kind == "spell":
        return open_text.spell(rng, "train", lang, joined(rng) if PIECES and rng.random() < 0.4 else None)
    return [turn for part in open_text.fact(rng, "train", lang) for turn in part]
