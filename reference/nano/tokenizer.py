"""Builds nano's byte-level BPE tokenizer and the text side of the checkpoint folder (chat template, processor files).

    python3 tokenizer.py OUT_DIR

Same pre-tokenizer, normaliser, special-token texts and roles as Qwen3-Omni; a vocabulary of our own. Chinese characters are whole
tokens and never merge with one another; any UTF-8 text round-trips through the 256 byte tokens.
"""

import json
import random
import sys
from pathlib import Path

import wordfreq
import zhconv
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import config as c
import text_data

PATTERN = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""

CHAT_TEMPLATE = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for content in message.content %}
            {%- if content.type == 'image' or content.type == 'image_url' or 'image' in content or 'image_url' in content %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif content.type == 'audio' or content.type == 'audio_url' or 'audio' in content or 'audio_url' in content %}
                {{- '<|audio_start|><|audio_pad|><|audio_end|>' }}
            {%- elif content.type == 'video' or 'video' in content %}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- elif content.type == 'text' or 'text' in content %}
                {{- content.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is true %}
        {{- '<think>\\n' }}
    {%- endif %}
{%- endif %}
"""


def byte_alphabet():
    """The GPT-2 table: byte value to its printable stand-in."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, n = {}, 0
    for b in range(256):
        table[b] = chr(b) if b in keep else chr(256 + (n := n + 1) - 1)
    return table


def han_characters(extra):
    """Common simplified characters by frequency, their traditional forms, and all characters of the training data."""
    score = {}
    for word, frequency in wordfreq.get_frequency_dict("zh", "large").items():
        for ch in word:
            if "\u4e00" <= ch <= "\u9fff":
                score[ch] = score.get(ch, 0) + frequency
    simplified = sorted(score, key=lambda ch: -score[ch])[:1500]
    both = simplified + [zhconv.convert(ch, "zh-tw") for ch in simplified]
    used = [ch for ch in extra if "\u4e00" <= ch <= "\u9fff"]
    return sorted({ch for ch in both + used if len(ch) == 1})


def build() -> Tokenizer:
    table = byte_alphabet()
    enc = lambda s: "".join(table[b] for b in s.encode())
    rng = random.Random(0)
    from extra_words import WORDS  # names of colours, shapes, emoji, ... of the image and audio skills
    text = "".join(t for _ in range(20000) for _, t in text_data.sample(rng, rng.choice(["train", "heldout"]))["messages"])
    text += " ".join(WORDS)
    # 1. Merges: English and the other languages by ordinary training (Han removed), Han characters byte by byte.
    trainer_tok = Tokenizer(models.BPE())
    trainer_tok.normalizer = normalizers.NFC()
    trainer_tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    from tokenizers.trainers import BpeTrainer
    no_han = "".join(" " if "\u4e00" <= ch <= "\u9fff" else ch for ch in text)
    lines = no_han.split(".") + ["system\n", "user\n", "assistant\n", "user", "system", "assistant"] * 300
    lines += [("" if i % 4 == 0 else " ") + w for i, w in enumerate(w for w in wordfreq.top_n_list("en", 900) for _ in range(12))]
    lines += [v for w in WORDS for v in (" " + w, w, " " + w.capitalize(), w.capitalize()) if w.isascii() for _ in range(6)]
    trainer_tok.train_from_iterator(lines, BpeTrainer(vocab_size=2200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, min_frequency=3))
    state = json.loads(trainer_tok.to_str())["model"]
    vocab, merges = dict(state["vocab"]), [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in state["merges"]]
    seen = set(merges)
    for ch in han_characters(set(text)) + list("\uff0c\uff1f\uff01\uff1a\u3002\u3001\uff08\uff09\u201c\u201d"):
        a = enc(ch)
        for left, right in ((a[0], a[1]), (a[:2], a[2])):
            vocab.setdefault(left + right, len(vocab))
            if (left, right) not in seen:
                seen.add((left, right))
                merges.append((left, right))
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False, byte_fallback=False))
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = trainer_tok.pre_tokenizer
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    tok.decoder = decoders.ByteLevel()
    mark = lambda names, special: tok.add_tokens([AddedToken(n, special=special, normalized=False) for n in names]) if not special else tok.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
    mark(c.SPECIAL_TOKENS, True)
    mark(c.PLAIN_ADDED_TOKENS, False)
    mark(c.LATE_SPECIAL_TOKENS, True)
    return tok


def save(tok: Tokenizer, out: Path):
    """Writes tokenizer.json, vocab.json, merges.txt, tokenizer_config.json, chat_template.json, preprocessor_config.json."""
    out.mkdir(parents=True, exist_ok=True)
    tok.save(str(out / "tokenizer.json"))
    state = json.loads(tok.to_str())
    (out / "vocab.json").write_text(json.dumps(state["model"]["vocab"], ensure_ascii=False))
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) if isinstance(m, list) else m for m in state["model"]["merges"]) + "\n")
    named = {"image_token": "<|image_pad|>", "audio_token": "<|audio_pad|>", "video_token": "<|video_pad|>", "vision_bos_token": "<|vision_start|>",
             "vision_eos_token": "<|vision_end|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
    dump = lambda name, data: (out / name).write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n")
    dump("tokenizer_config.json", {
        "add_bos_token": False, "add_prefix_space": False,
        "added_tokens_decoder": {str(t["id"]): {k: t[k] for k in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")} for t in state["added_tokens"]},
        "additional_special_tokens": [t["content"] for t in state["added_tokens"] if t["special"]],
        "bos_token": None, "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 8192,
        "pad_token": "<|endoftext|>", "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
        "processor_class": "Qwen3OmniMoeProcessor", **named, "extra_special_tokens": named, "chat_template": CHAT_TEMPLATE})
    dump("chat_template.json", {"chat_template": CHAT_TEMPLATE})
    dump("preprocessor_config.json", {
        "chunk_length": 300, "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128, "hop_length": 160,
        "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "Qwen2VLImageProcessor", "image_std": [0.5, 0.5, 0.5],
        "max_pixels": c.MAX_PIXELS, "merge_size": 2, "min_pixels": c.MIN_PIXELS, "n_fft": 400, "n_samples": 4800000, "nb_max_frames": 30000,
        "padding_side": "right", "padding_value": 0.0, "patch_size": 16, "processor_class": "Qwen3OmniMoeProcessor", "return_attention_mask": True,
        "sampling_rate": 16000, "temporal_patch_size": 2, "size": {"shortest_edge": c.MIN_PIXELS, "longest_edge": c.MAX_PIXELS}})
    dump("processor_config.json", {"processor_class": "Qwen3OmniMoeProcessor", "videos_kwargs": {"size": {"shortest_edge": c.MIN_PIXELS // 2, "longest_edge": c.MIN_PIXELS}}})
    ids = tok.token_to_id
    dump("generation_config.json", {"eos_token_id": ids("<|im_end|>"), "pad_token_id": ids("<|endoftext|>"), "do_sample": False,
                                    "thinker_eos_token_id": ids("<|im_end|>"), "thinker_max_new_tokens": 1024, "talker_max_new_tokens": 375,
                                    "talker_do_sample": True, "talker_top_k": 50, "talker_top_p": 1.0, "talker_temperature": 0.9,
                                    "talker_repetition_penalty": 1.05,
                                    "default_sampling": {"temperature": 0, "repetition_penalty": 1}, "max_history_turns": 12, "max_spoken_history_turns": 2, "history_audio": "transcript"})


def full_config(tok: Tokenizer) -> dict:
    size = (tok.get_vocab_size() + 63) // 64 * 64

    def lookup(text):
        if text is None:
            return size
        got = tok.encode(text, add_special_tokens=False).ids
        assert len(got) == 1, (text, got)
        return got[0]

    return c.model_config(lookup)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    t = build()
    for probe in ["你好,世界 Hello world", "🙂 naïve \x00 日本語 한국어 ру́сский ﬁ 𠮷", "a\n\n b\t", "臺灣龘"]:
        assert t.decode(t.encode(probe).ids, skip_special_tokens=False) == __import__("unicodedata").normalize("NFC", probe), probe
    save(t, out)
    (out / "config.json").write_text(json.dumps(full_config(t), indent=1))
    print("vocabulary", t.get_vocab_size(), t.encode("<|im_start|>user\n你好,我是nano。 Hello, I am nano. 12 plus 5 is 17.<|im_end|>").tokens)
