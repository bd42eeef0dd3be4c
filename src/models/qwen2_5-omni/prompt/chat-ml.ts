/** The default chat template of the family, and the system turns that it was trained with. */

export const DEFAULT_SYSTEM = 'You are a helpful assistant.'

/** Speech is supported only with this system turn. */
export const SPEECH_SYSTEM =
  'You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and visual inputs, as well as generating text and speech.'

export const chatMl = `{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
{{- '<|im_start|>system\\n${DEFAULT_SYSTEM}<|im_end|>\\n' -}}
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}{{- message.content -}}
{%- else -%}{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{- '<|vision_bos|><|IMAGE|><|vision_eos|>' -}}
{%- elif part.type == 'video' -%}{{- '<|vision_bos|><|VIDEO|><|vision_eos|>' -}}
{%- elif part.type == 'audio' -%}{{- '<|audio_bos|><|AUDIO|><|audio_eos|>' -}}
{%- else -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}`
