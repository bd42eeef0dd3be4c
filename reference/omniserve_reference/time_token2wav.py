"""Times token2wav of Qwen2.5-Omni in transformers on the CPU, at real size with random weights; prints JSON.

Run: python -m omniserve_reference.time_token2wav CONFIG_JSON --seconds 1 [--threads 2]

CONFIG_JSON is the published config.json of Qwen2.5-Omni-3B or 7B. The solver is transformers' own (3/8 rule, 10 times).
"""

import json
import time

import torch
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniToken2WavConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniToken2WavModel

from .timing import parser

CODES_PER_SECOND = 50


def main() -> None:
    options = parser("config", seconds=1.0).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    with open(options.config) as file:
        fields = json.load(file)["token2wav_config"]
    config = Qwen2_5OmniToken2WavConfig(**fields)
    config._attn_implementation = "sdpa"
    model = Qwen2_5OmniToken2WavModel(config).eval()
    dit = config.dit_config
    codes = torch.randint(0, dit.num_embeds, (1, round(options.seconds * CODES_PER_SECOND)))
    conditioning = torch.randn(1, dit.enc_emb_dim)
    reference = torch.randn(1, 300, dit.mel_dim)
    start = time.perf_counter()
    with torch.no_grad():
        wave = model(codes, conditioning, reference)
    seconds = wave.numel() / 24_000
    total = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "secondsTotal": total, "rtf": total / seconds}))


if __name__ == "__main__":
    main()
