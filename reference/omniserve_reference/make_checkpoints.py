"""Writes the tiny random checkpoints to testdata/checkpoints.

Run: python -m omniserve_reference.make_checkpoints [name ...]
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

from .configs import CHECKPOINTS, OLD_ROPE, token_ids
from .tokenizer import CHAT_TEMPLATE, build_tokenizer, tokenizer_config

ROOT = Path(__file__).resolve().parents[2] / "testdata" / "checkpoints"


def initialise(model: torch.nn.Module, seed: int) -> None:
    """Random weights large enough that every part affects the output and argmax gaps are wide."""
    generator = torch.Generator().manual_seed(seed)

    def normal(parameter: torch.Tensor, std: float, mean: float = 0.0) -> None:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std + mean)

    for name, parameter in sorted(model.named_parameters()):
        leaf = name.rsplit(".", 1)[-1]
        if parameter.ndim == 1:
            if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "ln_q.weight", "ln_post.weight")):
                normal(parameter, 0.1, 1.0)
            elif leaf in ("alpha", "beta"):
                normal(parameter, 0.3)
            elif leaf in ("scale", "gamma"):
                normal(parameter, 0.1, 0.4)
            else:
                normal(parameter, 0.05)
        elif "embed_tokens" in name and model.config.thinker_config.tie_word_embeddings:
            normal(parameter, 0.25)  # else each token predicts itself
        elif "embed_tokens" in name or "code_embedding" in name or "codec_embedding" in name:
            normal(parameter, 1.0)
        elif "pos_embed" in name:
            normal(parameter, 0.3)
        elif name.endswith("mlp.gate.weight"):
            normal(parameter, 3.0 / parameter.shape[1] ** 0.5)
        elif "lm_head" in name or "codec_head" in name:
            normal(parameter, 3.0 / parameter.shape[1] ** 0.5)
        elif "upsample" in name and name.endswith("0.conv.weight"):
            normal(parameter, 1.0 / parameter.shape[0] ** 0.5)
        elif ".block.1.conv.weight" in name:  # transposed: [in, out, kernel], two taps meet in each sample
            normal(parameter, 1.0 / (2 * parameter.shape[0]) ** 0.5)
        elif ".conv1.conv." in name or ".conv2.conv." in name:
            normal(parameter, 0.6 / parameter[0].numel() ** 0.5)
        elif parameter.ndim == 3 and "experts" in name:
            normal(parameter, 1.0 / parameter.shape[2] ** 0.5)
        else:
            fan_in = parameter[0].numel()
            normal(parameter, 1.0 / fan_in**0.5)
    if hasattr(model, "code2wav"):
        config = model.config.code2wav_config
        codes = torch.randint(0, config.codebook_size, (1, config.num_quantizers, 16), generator=generator)
        last = model.code2wav.decoder[-1].conv
        last.bias.zero_()
        last.weight.mul_(0.01)
        last.weight.mul_(0.15 / model.code2wav(codes).pow(2).mean().sqrt())
        # Speech that ends at once is an error in transformers; make the end token rarer.
        model.talker.codec_head.weight[model.config.talker_config.codec_eos_token_id].mul_(0.5)


def old_rope_spelling(config: dict) -> None:
    """Rewrites `rope_parameters` to `rope_scaling` and `rope_theta` throughout, as in older folders."""
    for value in list(config.values()):
        if isinstance(value, dict):
            old_rope_spelling(value)
    rope = config.pop("rope_parameters", None)
    if rope:
        config["rope_theta"] = rope.pop("rope_theta")
        if "mrope_section" in rope:
            config["rope_scaling"] = rope
    if "num_local_experts" in config:
        config["num_experts"] = config.pop("num_local_experts")


def preprocessor_config(config: dict) -> dict:
    """preprocessor_config.json as in the hub's Qwen3-Omni folders, with small pixel limits."""
    vision, audio = config["thinker_config"]["vision_config"], config["thinker_config"]["audio_config"]
    return {
        "chunk_length": 300, "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": audio["num_mel_bins"], "hop_length": 160, "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "Qwen2VLImageProcessor", "image_std": [0.5, 0.5, 0.5],
        "max_pixels": 65536 if vision["patch_size"] == 16 else 40000, "merge_size": vision["spatial_merge_size"],
        "min_pixels": 3136, "n_fft": 400, "n_samples": 4800000, "nb_max_frames": 30000, "padding_side": "right",
        "padding_value": 0.0, "patch_size": vision["patch_size"], "processor_class": "Qwen3OmniMoeProcessor",
        "return_attention_mask": True, "sampling_rate": 16000, "temporal_patch_size": vision["temporal_patch_size"],
    }  # fmt: skip


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_checkpoint(folder: Path, options: dict) -> None:
    """Writes one checkpoint folder, replacing an existing one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = build_tokenizer(options["merges"])
    ids = token_ids(tokenizer)
    vocab = (tokenizer.get_vocab_size() + 31) // 32 * 32
    plain = options["build"](ids, vocab)
    config = Qwen3OmniMoeConfig(**json.loads(json.dumps(plain)))
    model = Qwen3OmniMoeForConditionalGeneration(config).float().eval()
    initialise(model, options["seed"])
    model = model.to(getattr(torch, options["dtype"]))
    model.save_pretrained(
        folder,
        max_shard_size=options.get("shard", "5GB"),
        save_original_format=not options.get("fused", False),
    )
    (folder / "generation_config.json").unlink(missing_ok=True)
    written = json.loads((folder / "config.json").read_text())
    if options["rope"] == OLD_ROPE:
        old_rope_spelling(written)
    write_json(folder / "config.json", written)
    write_json(
        folder / "generation_config.json",
        {
            "do_sample": True, "eos_token_id": [ids["im_end"]], "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
            "temperature": 0.7, "top_k": 20, "top_p": 0.8, "talker_max_new_tokens": 4096,
            "talker_repetition_penalty": 1.05, "talker_temperature": 0.9, "talker_top_k": 50, "talker_top_p": 1.0,
        },
    )  # fmt: skip
    write_json(folder / "preprocessor_config.json", preprocessor_config(plain))
    write_json(folder / "chat_template.json", {"chat_template": CHAT_TEMPLATE})
    write_json(folder / "tokenizer_config.json", tokenizer_config(tokenizer))
    tokenizer.save(str(folder / "tokenizer.json"))
    for file in folder.iterdir():
        file.chmod(0o644)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(
        f"{folder.name}: {sum(p.numel() for p in model.parameters()):,} parameters, {size / 1e6:.2f} MB, vocab {vocab}"
    )


def main(names: list[str]) -> None:
    for name in names:
        write_checkpoint(ROOT / name, CHECKPOINTS[name])


if __name__ == "__main__":
    main(sys.argv[1:] or list(CHECKPOINTS))
