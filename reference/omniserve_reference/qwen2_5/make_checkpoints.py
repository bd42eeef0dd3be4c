"""Writes the tiny random checkpoints to testdata/checkpoints.

Run: python -m omniserve_reference.qwen2_5.make_checkpoints [name ...]
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from ..configs import OLD_ROPE
from ..make_checkpoints import ROOT, write_json
from .configs import CHECKPOINTS, token_ids
from .tokenizer import CHAT_TEMPLATE, build, tokenizer_config


def initialise(model: torch.nn.Module, seed: int, ends: float, special: list[int]) -> None:
    """Random weights large enough that every part matters to the output and argmax gaps are wide.

    `special`: text ids that are to be rare in replies, because replies that end at once are an error in transformers.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(parameter: torch.Tensor, std: float, mean: float = 0.0) -> None:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std + mean)

    for name, parameter in sorted(model.named_parameters()):
        leaf = name.rsplit(".", 1)[-1]
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        if name.endswith(("audio_bos_eos_token.weight",)):
            normal(parameter, 1.0)  # stored, used nowhere
        elif leaf in ("alpha", "beta"):
            normal(parameter, 0.3)
        elif parameter.ndim == 1:
            norm = name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "ln_q.weight", "ln_post.weight"))
            normal(parameter, 0.1, 1.0) if norm or "layernorm.weight" in name else normal(parameter, 0.05)
        elif "embed_tokens" in name and name.startswith("thinker") and model.config.thinker_config.tie_word_embeddings:
            normal(parameter, 0.15)  # else each token predicts itself
        elif "embed_tokens" in name or "codec_embed" in name:
            normal(parameter, 1.0)
        elif "lm_head" in name or "codec_head" in name:
            normal(parameter, 3.0 / fan_in**0.5)
        elif name.startswith("token2wav.code2wav_dit_model") and (
            ".attn_norm.linear" in name or ".norm_out.linear" in name
        ):
            normal(parameter, 0.5 / fan_in**0.5)
        elif ".ups." in name:  # transposed: [in, out, kernel], two taps meet in each sample
            normal(parameter, 1.0 / (2 * parameter.shape[0]) ** 0.5)
        elif ".convs1." in name or ".convs2." in name:
            normal(parameter, 0.6 / fan_in**0.5)
        else:
            normal(parameter, 1.0 / fan_in**0.5)
    tied = model.config.thinker_config.tie_word_embeddings
    head = model.thinker.model.language_model.embed_tokens if tied else model.thinker.lm_head
    head.weight[special].mul_(0.3)
    if not model.has_talker:
        return
    config = model.config.talker_config
    for end in (config.tts_codec_end_token_id, config.tts_codec_pad_token_id):
        model.talker.codec_head.weight[end].mul_(ends)
    vocoder = model.token2wav.code2wav_bigvgan_model
    mel = torch.randn((1, vocoder.config.mel_dim, 40), generator=generator) * 2 - 4
    vocoder.conv_post.weight.mul_(0.01)
    vocoder.conv_post.weight.mul_(0.06 / vocoder(mel).pow(2).mean().sqrt())


def respell_rope(config: dict) -> None:
    """Rewrites `rope_parameters` to `rope_scaling` and `rope_theta` throughout, as in older folders."""
    for value in list(config.values()):
        if isinstance(value, dict):
            respell_rope(value)
    rope = config.pop("rope_parameters", None)
    if rope and "mrope_section" in rope:
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope


def preprocessor_config(config: dict) -> dict:
    """preprocessor_config.json as in the hub's Qwen2.5-Omni folders, with a small limit of pixels."""
    vision, audio = config["thinker_config"]["vision_config"], config["thinker_config"]["audio_config"]
    return {
        "chunk_length": 300, "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": audio["num_mel_bins"], "hop_length": 160,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "Qwen2VLImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711], "max_pixels": 50176,
        "merge_size": vision["spatial_merge_size"], "min_pixels": 3136, "n_fft": 400,
        "n_samples": 4800000, "nb_max_frames": 30000, "padding_side": "right",
        "padding_value": 0.0, "patch_size": vision["patch_size"], "processor_class": "Qwen2_5OmniProcessor",
        "return_attention_mask": True, "sampling_rate": 16000, "temporal_patch_size": vision["temporal_patch_size"],
    }  # fmt: skip


def voices(config: dict, ids: dict, names: list[str], seed: int) -> dict:
    """As in `spk_dict.pt`: a condition vector, a reference mel and the token that opens the text."""
    dit = config["token2wav_config"]["dit_config"]
    generator = torch.Generator().manual_seed(seed + 1)
    return {
        name: {
            "cond": torch.randn((1, dit["enc_emb_dim"]), generator=generator),
            "ref_mel": torch.randn((1, 60 + 7 * index, dit["mel_dim"]), generator=generator) * 2 - 4,
            "bos_token": ids["voices"][index],
        }
        for index, name in enumerate(names)
    }


def write_checkpoint(folder: Path, options: dict) -> None:
    """Writes one checkpoint folder, replacing an existing one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = build(options["merges"])
    ids = token_ids(tokenizer)
    vocab = (tokenizer.get_vocab_size() + 5 + 31) // 32 * 32
    plain = options["build"](ids, vocab)
    model = Qwen2_5OmniForConditionalGeneration(Qwen2_5OmniConfig(**json.loads(json.dumps(plain)))).float().eval()
    initialise(model, options["seed"], options.get("ends", 0.3), list(range(ids["end"], vocab)))
    # The published token2wav is f32 whatever the other types are.
    model.thinker.to(getattr(torch, options["dtype"]))
    if model.has_talker:
        model.talker.to(getattr(torch, options["dtype"]))
        torch.save(voices(plain, ids, options["voices"], options["seed"]), folder / "spk_dict.pt")
    model.save_pretrained(folder, max_shard_size=options.get("shard", "5GB"))
    written = json.loads((folder / "config.json").read_text())
    written["architectures"] = [options["architecture"]]
    if options["rope"] == OLD_ROPE:
        respell_rope(written)
    write_json(folder / "config.json", written)
    write_json(folder / "generation_config.json", {"_from_model_config": True, "transformers_version": "4.50.0.dev0"})
    write_json(folder / "preprocessor_config.json", preprocessor_config(plain))
    write_json(folder / "chat_template.json", {"chat_template": CHAT_TEMPLATE})
    write_json(folder / "tokenizer_config.json", tokenizer_config(tokenizer))
    tokenizer.save(str(folder / "tokenizer.json"))
    for file in folder.iterdir():
        file.chmod(0o644)
    size = sum(f.stat().st_size for f in folder.iterdir())
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    print(f"{folder.name}: {parts} parameters, {size / 1e6:.2f} MB, vocab {vocab}")


def main(names: list[str]) -> None:
    for name in names:
        write_checkpoint(ROOT / name, CHECKPOINTS[name])


if __name__ == "__main__":
    main(sys.argv[1:] or list(CHECKPOINTS))
