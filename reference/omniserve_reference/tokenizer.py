"""A small byte-level BPE tokenizer with Qwen3-Omni's special tokens, trained on a few sentences written here."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
PLAIN_ADDED_TOKENS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
SPEECH_TOKENS = ["<|audio_start|>", "<|audio_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<|audio_pad|>"]

CORPUS = [
    "assistant\nsystem\nuser\n" * 9,  # each role must become one token
    "You are a helpful assistant. The user asks and the assistant answers.",
    "Describe the picture, then the sound, then the video. What is in this picture? What do you hear?",
    "The quick brown fox jumps over the lazy dog while the band plays on.",
    "Numbers such as 0 1 2 3 4 5 6 7 8 9 and marks such as . , ; : ! ? are common.",
]

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tokenizer(
    merges: int,
    special: list[str] = SPECIAL_TOKENS,
    plain: list[str] = PLAIN_ADDED_TOKENS,
    speech: list[str] = SPEECH_TOKENS,
) -> Tokenizer:
    """Returns a tokenizer of 256 bytes, `merges` merges at most and the added tokens, in Qwen's order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    for text in special:
        tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)])
    for text in plain:
        tokenizer.add_tokens([AddedToken(text, special=False, normalized=False)])
    for text in speech:
        tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)])
    for role in ("system", "user", "assistant"):
        assert len(tokenizer.encode(role).ids) == 1, role
    return tokenizer


CHAT_TEMPLATE = """\
{%- macro render(content) -%}
{%- if content is string -%}
{{- content -}}
{%- else -%}
{%- for item in content -%}
{%- if item.type == 'image' -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- elif item.type == 'video' -%}
<|vision_start|><|video_pad|><|vision_end|>
{%- elif item.type == 'audio' -%}
<|audio_start|><|audio_pad|><|audio_end|>
{%- elif item.text is defined -%}
{{- item.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + render(message.content) + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}
{{- '<think>\\n\\n</think>\\n\\n' -}}
{%- endif -%}
{%- endif -%}
"""


def tokenizer_config(tokenizer: Tokenizer) -> dict:
    """tokenizer_config.json as in the hub's Qwen3-Omni folders."""
    named = {
        "image_token": "<|image_pad|>",
        "audio_token": "<|audio_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
    }
    added = {
        str(tokenizer.token_to_id(text)): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": text not in PLAIN_ADDED_TOKENS,
        }
        for text in SPECIAL_TOKENS + PLAIN_ADDED_TOKENS + SPEECH_TOKENS
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": [t for t in SPECIAL_TOKENS + SPEECH_TOKENS if t != "<|endoftext|>"],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "extra_special_tokens": named,
        "model_max_length": 4096,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
        **named,
    }
