"""Times one whole reply, text and speech, in transformers on the CPU; prints JSON. For the pipeline benchmark.

Run: python -m omniserve_reference.time_generate FOLDER --text-tokens 48 --frames 100 [--threads 2] [--dtype float32]

Both ends are forced: end tokens are suppressed, so every run makes the same number of tokens and frames. transformers
returns no audio before the end, so the time to first audio is the whole time.
"""

import json
import time

import torch
from transformers import AutoTokenizer, Qwen3OmniMoeForConditionalGeneration

from .timing import FirstToken, peak_bytes, reply_parser


def main() -> None:
    options = reply_parser("folder", dtype="float32").parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(options.folder, dtype=getattr(torch, options.dtype))
    model.eval()
    # The chat template's result for one turn of text; the processor itself would need torchvision.
    rendered = f"<|im_start|>user\n{options.prompt}<|im_end|>\n<|im_start|>assistant\n"
    encoded = tokenizer([rendered], return_tensors="pt")
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    talker = model.config.talker_config
    specials = list(range(talker.text_config.vocab_size - 1024, talker.text_config.vocab_size))
    results = []
    for _ in range(2):  # the second run is warmed up
        streamer = FirstToken(prompt_calls=1)
        start, cpu = time.perf_counter(), time.process_time()
        sequences, wave = model.generate(
            **inputs, speaker=next(iter(talker.speaker_id)), thinker_max_new_tokens=options.text_tokens,
            thinker_suppress_tokens=[model.config.im_end_token_id], thinker_do_sample=False, thinker_streamer=streamer,
            talker_max_new_tokens=options.frames + 1, talker_do_sample=False, talker_suppress_tokens=specials,
        )  # fmt: skip
        total = time.perf_counter() - start
        results.append(
            {
                "promptTokens": inputs["input_ids"].shape[1],
                "textTokens": sequences.shape[1] - inputs["input_ids"].shape[1],
                "samples": wave.numel(),
                "secondsToFirstToken": streamer.at - start,
                "secondsToFirstAudio": total,
                "secondsTotal": total,
                "cpuSeconds": time.process_time() - cpu,
                "peakBytes": peak_bytes(),
            }
        )
    print(json.dumps(results[-1]))


if __name__ == "__main__":
    main()
