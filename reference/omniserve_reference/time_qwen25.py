"""Times one whole reply, text and speech, of Qwen2.5-Omni in transformers on the CPU, with random weights; prints JSON.

Run: python -m omniserve_reference.time_qwen25 CONFIG_JSON --text-tokens 16 --seconds 3 [--threads 2] [--dtype bfloat16]

CONFIG_JSON is the published config.json of Qwen2.5-Omni-3B or 7B. The encoders, which a text does not need, have one
layer. token2wav computes in float32, as in transformers' own `generate`. transformers returns no audio before the end.
"""

import json
import time

import torch
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from .timing import parser, peak_bytes

CODES_PER_SECOND = 50
PROMPT_TOKENS = 30


def random_model(fields: dict, dtype: torch.dtype) -> Qwen2_5OmniForConditionalGeneration:
    fields["thinker_config"]["vision_config"]["depth"] = 1
    fields["thinker_config"]["audio_config"]["encoder_layers"] = 1
    config = Qwen2_5OmniConfig(**fields)
    with torch.device("meta"):
        model = Qwen2_5OmniForConditionalGeneration(config)
    model = model.to(dtype).to_empty(device="cpu").eval()
    model.token2wav.float()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.02, 0.02, generator=generator)
        for name, buffer in model.named_buffers():
            # Rotary frequencies and filters: their values do not change the time.
            if buffer.is_floating_point():
                buffer.fill_(0.1)
        # Greedy, rows that equal the first are never taken: all codes are codes of the vocoder.
        head = model.talker.codec_head.weight
        head[config.token2wav_config.dit_config.num_embeds :] = head[0]
    return model


def main() -> None:
    options = parser("config", text_tokens=16, seconds=3.0, dtype="bfloat16").parse_args()
    torch.set_num_threads(options.threads)
    with open(options.config) as file:
        model = random_model(json.load(file), getattr(torch, options.dtype))
    dit = model.config.token2wav_config.dit_config
    model.speaker_map["Chelsie"] = dict(
        bos_token=1, cond=torch.randn(1, dit.enc_emb_dim), ref_mel=torch.randn(1, 300, dit.mel_dim)
    )
    vocabulary = min(1000, model.config.thinker_config.text_config.vocab_size)
    inputs = torch.randint(0, vocabulary, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(2))
    vocoding = 0.0
    forward = model.token2wav.forward

    def timed(*args, **kwargs):
        nonlocal vocoding
        begun = time.perf_counter()
        out = forward(*args, **kwargs)
        vocoding += time.perf_counter() - begun
        return out

    model.token2wav.forward = timed

    def reply(text_tokens: int, codes: int) -> int:
        _, wave = model.generate(
            input_ids=inputs, attention_mask=torch.ones_like(inputs), thinker_max_new_tokens=text_tokens,
            thinker_do_sample=False, thinker_eos_token_id=None, talker_max_new_tokens=codes, talker_do_sample=False,
            talker_eos_token_id=[-1],
        )  # fmt: skip
        return wave.numel()

    reply(2, 4)  # the first run reads the weights
    vocoding, begun = 0.0, time.perf_counter()
    samples = reply(options.text_tokens, round(options.seconds * CODES_PER_SECOND))
    total, seconds = time.perf_counter() - begun, samples / 24_000
    print(json.dumps({
        "seconds": seconds, "secondsTotal": total, "rtf": total / seconds, "secondsToken2wav": vocoding,
        "peakBytes": peak_bytes(),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
