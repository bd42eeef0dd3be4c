"""The small tokenizer with Qwen2.5-Omni's spellings of the special tokens, and its chat template."""

from tokenizers import Tokenizer

from ..tokenizer import PLAIN_ADDED_TOKENS, build_tokenizer

SPECIAL_TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_bos|>", "<|vision_eos|>", "<|vision_pad|>", "<|IMAGE|>", "<|VIDEO|>",
]  # fmt: skip

# An independent equivalent of the published folders' template.
CHAT_TEMPLATE = """\
{%- set images = namespace(count=0) -%}
{%- set audios = namespace(count=0) -%}
{%- set videos = namespace(count=0) -%}
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for item in message.content -%}
{%- if item.type == 'image' -%}
{%- set images.count = images.count + 1 -%}
{%- if add_vision_id is defined and add_vision_id -%}{{- 'Picture ' ~ images.count ~ ': ' -}}{%- endif -%}
{{- '<|vision_bos|><|IMAGE|><|vision_eos|>' -}}
{%- elif item.type == 'audio' -%}
{%- set audios.count = audios.count + 1 -%}
{%- if add_audio_id is defined and add_audio_id -%}{{- 'Audio ' ~ audios.count ~ ': ' -}}{%- endif -%}
{{- '<|audio_bos|><|AUDIO|><|audio_eos|>' -}}
{%- elif item.type == 'video' -%}
{%- set videos.count = videos.count + 1 -%}
{%- if add_vision_id is defined and add_vision_id -%}{{- 'Video ' ~ videos.count ~ ': ' -}}{%- endif -%}
{{- '<|vision_bos|><|VIDEO|><|vision_eos|>' -}}
{%- elif item.text is defined -%}
{{- item.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def build(merges: int) -> Tokenizer:
    return build_tokenizer(merges, SPECIAL_TOKENS, PLAIN_ADDED_TOKENS, [])


def tokenizer_config(tokenizer: Tokenizer) -> dict:
    """tokenizer_config.json as in the hub's Qwen2.5-Omni folders."""
    named = {
        "image_token": "<|IMAGE|>",
        "audio_token": "<|AUDIO|>",
        "video_token": "<|VIDEO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
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
        for text in SPECIAL_TOKENS + PLAIN_ADDED_TOKENS
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": [t for t in SPECIAL_TOKENS if t != "<|endoftext|>"],
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
