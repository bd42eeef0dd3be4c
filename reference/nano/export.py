"""Writes the checkpoint folder from the training state, or training state from the checkpoint folder.

    python3 export.py save OUT_DIR [SHARPEN]     work/*.pt -> OUT_DIR (bfloat16, hub layout) and codec/encoder.safetensors
    python3 export.py restore IN_DIR [PART]      the reverse, for a checkout without work/: training continues from the published weights;
                                                 PART: only the thinker or the talker
    python3 export.py mean EARLIER               work/thinker.pt becomes the mean of itself and EARLIER, a copy of it from before its last
                                                 minutes at a low rate (optimiser and step stay): better than either
    python3 export.py join ENCODERS              work/thinker.pt takes its encoders from the state ENCODERS: two runs of train_thinker.py
                                                 from one state, PART=text and PART=encoders, become one

SHARPEN multiplies the talker's output heads: a model this small speaks more clearly when sampled at a lower temperature than the
family's default of 0.9, and callers cannot always set it. 1.0 leaves the weights as trained.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3OmniMoeForConditionalGeneration

import codec
import config as c
import model as m

CODEC = c.HERE / "codec"
TEXT_FILES = ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "chat_template.json", "preprocessor_config.json", "generation_config.json", "processor_config.json"]


def assemble(sharpen=1.0):
    """The whole model in float32 from work/."""
    net = m.build(c.WORK / "tok")
    for name, part in (("thinker", net.thinker), ("talker", net.talker)):
        path = c.WORK / f"{name}.pt"
        if path.exists():
            part.load_state_dict(torch.load(path)["net"])
        else:
            print(f"no {path.name}: {name} has random weights")
    codes = codec.load_codec(2)
    net.code2wav.load_state_dict(codes.wav.state_dict())
    with torch.no_grad():
        net.talker.codec_head.weight.mul_(sharpen)
        for head in net.talker.code_predictor.lm_head:
            head.weight.mul_(sharpen)
    return net.eval(), codes


def published(config):
    """Adds the published configurations' keys that transformers does not write, so that other engines load the folder unchanged."""
    thinker, talker, wav = config["thinker_config"], config["talker_config"], config["code2wav_config"]
    vision, audio = thinker["vision_config"], thinker["audio_config"]
    vision.pop("rope_parameters", None)  # transformers' own default
    vision.update(image_size=round(vision["num_position_embeddings"] ** 0.5) * vision["patch_size"], in_chans=vision["in_channels"], tokens_per_second=2,
                  apply_vit_abs_pos_embed=True, spatial_patch_size=vision["patch_size"])
    audio.update(num_hidden_layers=audio["encoder_layers"])
    thinker["text_config"].update(shared_expert_intermediate_size=0, use_qk_norm=True, use_sliding_window=False)
    talker.update(audio_end_token_id=thinker["audio_end_token_id"])
    talker["text_config"].update(num_experts=talker["text_config"]["num_local_experts"], use_sliding_window=False)
    talker["code_predictor_config"].update(use_sliding_window=False)
    wav.update(codebook_dim=512, num_semantic_quantizers=1, semantic_codebook_size=4096, vector_quantization_hidden_dimension=512)
    return config


def save(out, sharpen="1.0"):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    net, codes = assemble(float(sharpen))
    with tempfile.TemporaryDirectory() as tmp:
        net.to(torch.bfloat16).save_pretrained(tmp)
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(Path(tmp) / name, out / name)
    write_config(out)
    for name in TEXT_FILES:
        shutil.copyfile(c.WORK / "tok" / name, out / name)
    CODEC.mkdir(exist_ok=True)
    keep = {k: v.to(torch.bfloat16).contiguous() for k, v in codes.state_dict().items() if not k.startswith("wav.")}
    save_file(keep, CODEC / "encoder.safetensors")
    (CODEC / "state.json").write_text(json.dumps({"sharpen": float(sharpen)}) + "\n")
    print("saved", out, sum(p.numel() for p in net.parameters()) / 1e6, "M parameters")


def write_config(folder):
    path = Path(folder) / "config.json"
    path.write_text(json.dumps(published(json.loads(path.read_text())), indent=2, sort_keys=True) + "\n")


def restore(folder, only=""):
    folder = Path(folder)
    (c.WORK / "tok").mkdir(parents=True, exist_ok=True)
    for name in TEXT_FILES + ["config.json"]:
        shutil.copyfile(folder / name, c.WORK / "tok" / name)
    net = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    scale = json.loads((CODEC / "state.json").read_text())["sharpen"]
    with torch.no_grad():
        net.talker.codec_head.weight.div_(scale)
        for head in net.talker.code_predictor.lm_head:
            head.weight.div_(scale)
    for name, part in (("thinker", net.thinker), ("talker", net.talker)):
        if only in ("", name):
            torch.save({"net": part.state_dict(), "opt": None, "step": 0}, c.WORK / f"{name}.pt")
    if only:
        return
    codes = codec.new_codec()
    codes.wav.load_state_dict(net.code2wav.state_dict())
    rest = {k: v.float() for k, v in load_file(CODEC / "encoder.safetensors").items()}
    codes.load_state_dict(rest, strict=False)
    torch.save({"net": codes.state_dict(), "opt": None, "step": 0}, c.WORK / "codec2.pt")
    torch.save(codes.state_dict(), c.WORK / "codec1.pt")


def mean(earlier):
    path = c.WORK / "thinker.pt"
    state, other = torch.load(path), torch.load(earlier)["net"]
    state["net"] = {k: torch.lerp(v.float(), other[k].float(), 0.5).to(v.dtype) if v.is_floating_point() else v for k, v in state["net"].items()}
    torch.save(state, path)


def join(encoders):
    path, own = c.WORK / "thinker.pt", ("model.visual", "model.audio_tower")
    state, other = torch.load(path), torch.load(encoders)
    state["net"] = {k: other["net"][k] if k.startswith(own) else v for k, v in state["net"].items()}
    torch.save({**state, "opt": None, "ear": other["ear"], "eye": other["eye"]}, path)


if __name__ == "__main__":
    {"save": save, "restore": restore, "mean": mean, "join": join}[sys.argv[1]](*sys.argv[2:])
