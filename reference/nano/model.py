"""Builds the transformers model from a checkpoint folder's configuration, loads and saves it.

The thinker's token embedding is initialised from a pronunciation lexicon (espeak-ng phonemes, pypinyin readings) in its first 160
dimensions and at random in the rest, and is then kept frozen: thinker and talker can be trained separately, and a character in
training teaches the talker its homophones' pronunciation.
"""

import json
import subprocess
from pathlib import Path

import torch
from pypinyin import Style, pinyin
from tokenizers import Tokenizer
from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

SLOTS, SLOT = 8, 20  # phoneme positions, dimensions each


def load_tokenizer(folder) -> Tokenizer:
    return Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


def phonemes(tok: Tokenizer) -> dict[int, list[str]]:
    """Token id to its phonemes: pinyin initial, final and tone for Han, espeak-ng's for ASCII words."""
    out, words = {}, []
    for token, i in tok.get_vocab().items():
        text = tok.decode([i], skip_special_tokens=True)
        stem = text.strip()
        if len(stem) == 1 and "\u4e00" <= stem <= "\u9fff":
            initial = pinyin(stem, style=Style.INITIALS, strict=False)[0][0]
            final = pinyin(stem, style=Style.FINALS_TONE3, strict=False, neutral_tone_with_five=True)[0][0]
            out[i] = ["zh:" + initial, "zh:" + final[:-1], "tone" + final[-1:]]
        elif stem.isascii() and stem.isalpha():
            words.append((i, stem))
    text = subprocess.run(["espeak-ng", "-v", "en-us", "-q", "--ipa", "--sep=_"], input="\n".join(w for _, w in words) + "\n", capture_output=True, text=True).stdout
    lines = text.strip().split("\n")
    if len(lines) == len(words):
        for (i, _), line in zip(words, lines):
            out[i] = ["en:" + p for p in line.replace("ˈ", "").replace("ˌ", "").replace(" ", "_").split("_") if p]
    else:
        print(f"espeak gave {len(lines)} lines for {len(words)} words; words get random embeddings")
    return out


def build(folder, seed=0) -> Qwen3OmniMoeForConditionalGeneration:
    torch.manual_seed(seed)
    config = Qwen3OmniMoeConfig(**json.loads((Path(folder) / "config.json").read_text()))
    model = Qwen3OmniMoeForConditionalGeneration(config).float()
    emb = model.thinker.model.get_input_embeddings().weight
    g = torch.Generator().manual_seed(seed)
    table = {}
    with torch.no_grad():
        emb.copy_(torch.randn(emb.shape, generator=g) * 0.05)
        emb[:, : SLOTS * SLOT] = 0
        for i, seq in sorted(phonemes(load_tokenizer(folder)).items()):
            for s, p in enumerate(seq[:SLOTS]):
                if p not in table:
                    table[p] = torch.randn(SLOT, generator=g) * 0.1
                emb[i, s * SLOT : (s + 1) * SLOT] = table[p]
        for m in model.code2wav.modules():
            if type(m).__name__ == "Qwen3OmniMoeConvNeXtBlock":
                m.gamma.fill_(0.1)
    return model


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())
