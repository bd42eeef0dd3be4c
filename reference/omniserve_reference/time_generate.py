"""Times one whole reply, text and speech, in transformers on the CPU; prints JSON. For the pipeline benchmark.

Run: python -m omniserve_reference.time_generate FOLDER --text-tokens 48 --frames 100 [--threads 2] [--dtype float32]

Both ends are forced: end tokens are suppressed, so every run makes the same number of tokens and frames. transformers returns no audio
before the end, so the time to first audio is the whole time.
"""

import argparse
import json
import resource
import time

import torch
from transformers import AutoTokenizer, Qwen3OmniMoeForConditionalGeneration


class FirstToken:
    """A streamer that records the time of the first new token."""

    def __init__(self) -> None:
        self.calls, self.at = 0, 0.0

    def put(self, _: torch.Tensor) -> None:
        self.calls += 1
        if self.calls == 2:  # the first call has the prompt
            self.at = time.perf_counter()

    def end(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--text-tokens", type=int, default=48)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompt", default="Describe the sound of the band.")
    options = parser.parse_args()
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
        streamer = FirstToken()
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
                "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    print(json.dumps(results[-1]))


if __name__ == "__main__":
    main()
