"""Tiny token2wav checkpoints of Qwen2.5-Omni and their goldens.

Run: python -m omniserve_reference.make_token2wav_goldens

Writes testdata/checkpoints/<name>/{config.json, model.safetensors, spk_dict.pt} and
testdata/golden/<name>.{json,safetensors}.
The windowed reference runs the same transformers modules window by window, as in streaming.
"""

import collections
import json
import math
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen2_5OmniToken2WavConfig, Qwen2_5OmniToken2WavModel
from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as reference

from .golden_file import GoldenFile

CHECKPOINTS = Path(__file__).resolve().parents[2] / "testdata" / "checkpoints"

# Together they have every switch in at least two positions; see README.md.
CONFIGS = {
    "tiny-token2wav": dict(
        dit=dict(
            hidden_size=64, num_hidden_layers=4, num_attention_heads=4, head_dim=16, ff_mult=2, emb_dim=24, mel_dim=20,
            num_embeds=40, repeats=2, block_size=24, look_ahead_layers=[1], look_backward_layers=[0, 3],
            rope_parameters=dict(rope_type="default", rope_theta=10000.0),
            enc_dim=12, enc_emb_dim=18, enc_channels=[16, 16, 16, 16, 48], enc_kernel_sizes=[5, 3, 3, 3, 1],
            enc_dilations=[1, 2, 3, 4, 1], enc_attention_channels=8, enc_res2net_scale=2, enc_se_channels=6,
        ),
        bigvgan=dict(
            mel_dim=20, upsample_initial_channel=64, upsample_rates=[5, 3, 2, 2], upsample_kernel_sizes=[11, 7, 4, 4],
            resblock_kernel_sizes=[3, 7, 11], resblock_dilation_sizes=[[1, 3, 5]] * 3,
        ),
        codes=71, dtype=torch.bfloat16, windows=[[3], [2, 4]], stored_frequencies=False,
    ),
    "tiny-token2wav-wide": dict(
        dit=dict(
            hidden_size=48, num_hidden_layers=3, num_attention_heads=3, head_dim=32, ff_mult=3, emb_dim=10, mel_dim=16,
            num_embeds=64, repeats=1, block_size=6, look_ahead_layers=[0, 2], look_backward_layers=[0],
            rope_parameters=dict(rope_type="default", rope_theta=500.0),
            enc_dim=20, enc_emb_dim=8, enc_channels=[24, 24, 24, 48], enc_kernel_sizes=[3, 5, 3, 3],
            enc_dilations=[2, 1, 2, 3], enc_attention_channels=16, enc_res2net_scale=4, enc_se_channels=12,
        ),
        bigvgan=dict(
            mel_dim=16, upsample_initial_channel=48, upsample_rates=[4, 2, 3], upsample_kernel_sizes=[8, 4, 9],
            resblock_kernel_sizes=[3, 5], resblock_dilation_sizes=[[1, 2, 4], [2, 1, 3]],
        ),
        codes=125, dtype=torch.bfloat16, windows=[[4], [6, 10]], stored_frequencies=True,
    ),
    "tiny-token2wav-plain": dict(
        dit=dict(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=1, head_dim=8, ff_mult=4, emb_dim=16, mel_dim=8,
            num_embeds=20, repeats=3, block_size=10, look_ahead_layers=[], look_backward_layers=[1],
            rope_parameters=dict(rope_type="default", rope_theta=10000.0),
            enc_dim=8, enc_emb_dim=6, enc_channels=[12, 12, 12], enc_kernel_sizes=[5, 3, 1],
            enc_dilations=[1, 1, 1], enc_attention_channels=4, enc_res2net_scale=1, enc_se_channels=4,
        ),
        bigvgan=dict(
            mel_dim=8, upsample_initial_channel=36, upsample_rates=[5, 2], upsample_kernel_sizes=[7, 6],
            resblock_kernel_sizes=[3], resblock_dilation_sizes=[[3, 1, 2]],
        ),
        codes=50, dtype=torch.float32, windows=[[2]], stored_frequencies=False,
    ),
}  # fmt: skip

BACK_BLOCKS, AHEAD_BLOCKS = 2, 1


def initialise(model: torch.nn.Module, generator: torch.Generator, dtype: torch.dtype) -> None:
    """Random weights large enough that every part matters; rounded to the stored type."""
    for name, parameter in sorted(model.named_parameters()):
        values = torch.randn(parameter.shape, generator=generator)
        if name.endswith((".alpha", ".beta")):
            values *= 0.4
        elif "norm.linear" in name or "norm_out.linear" in name:
            values *= 0.6 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.4
        elif "codec_embed" in name:
            pass
        elif ".ups." in name and parameter.ndim == 3:
            values *= 1.6 / (parameter.shape[0] * 2) ** 0.5
        elif "convs" in name and parameter.ndim == 3:
            values *= 0.5 / parameter[0].numel() ** 0.5
        elif name.endswith("conv_post.weight"):
            values *= 0.01 / parameter[0].numel() ** 0.5
        elif name.endswith("proj_out.weight"):
            values *= 2.0 / parameter.shape[1] ** 0.5
        elif name.endswith("proj_out.bias"):
            values = values * 0.5 - 4.0
        elif parameter.ndim > 1:
            values *= 1.2 / parameter[0].numel() ** 0.5
        else:
            values *= 0.2
        parameter.data.copy_(values.to(dtype).to(torch.float32))


def level_output(vocoder: torch.nn.Module, facts: dict, generator: torch.Generator) -> None:
    """Scales the last convolution so that samples are loud and rarely clip."""
    mel = torch.randn(1, facts["bigvgan"]["mel_dim"], 60, generator=generator) * 2 - 4
    weight = vocoder.conv_post.weight
    weight.data.copy_((weight * 0.25 / vocoder(mel).std()).to(facts["dtype"]).to(torch.float32))


class Sampler:
    """`sample` of transformers with given noise, for any solver and part of a sequence."""

    def __init__(self, dit: torch.nn.Module, condition: torch.Tensor, reference_mel: torch.Tensor):
        self.dit = dit
        self.condition = condition
        self.reference_mel = reference_mel

    def velocity(self, codes: torch.Tensor, guidance: float):
        def function(time: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            speaker = self.condition.unsqueeze(1).repeat(1, state.shape[1], 1)
            arguments = dict(
                hidden_states=state, speaker_embedding=speaker, condition_vector=self.reference_mel,
                quantized_code=codes, time_step=time,
            )  # fmt: skip
            if guidance < 1e-5:
                return self.dit(**arguments, drop_audio_conditioning=False, drop_code=False, apply_cfg=False)
            guided, null = torch.chunk(self.dit(**arguments, apply_cfg=True), 2, dim=0)
            return guided + (guided - null) * guidance

        return function

    def mel(self, codes: torch.Tensor, noise: torch.Tensor, solver: str, points: int = 10, guidance: float = 0.5):
        """[1, frames, mel]"""
        times = torch.linspace(0, 1, points)
        times += -1.0 * (torch.cos(torch.pi / 2 * times) - 1 + times)
        function = self.velocity(codes, guidance)
        if solver == "rk4":
            return reference.RungeKutta4ODESolver(function=function, initial_value=noise).integrate(times)[-1]
        state = noise
        for start, end in zip(times[:-1], times[1:]):
            state = state + (end - start) * function(start, state)
        return state

    def windowed(
        self, codes: torch.Tensor, noise: torch.Tensor, solver: str, blocks: list[int], size: int, repeats: int
    ):
        """Windows of `blocks` times `size` frames; the last number of `blocks` repeats.

        The context is two such blocks before and one after.
        """
        frames = codes.shape[1] * repeats
        parts, start, index = [], 0, 0
        while start < frames:
            wanted = blocks[min(index, len(blocks) - 1)] * size
            end = start + wanted if start + wanted + AHEAD_BLOCKS * size <= frames else frames
            first = max(0, start - BACK_BLOCKS * size)
            last = min(frames, end + AHEAD_BLOCKS * size)
            own_codes = codes[:, first // repeats : math.ceil(last / repeats)]
            mel = self.mel(own_codes, noise[:, first:last], solver)
            parts.append(mel[:, start - first : end - first])
            start, index = end, index + 1
        return torch.cat(parts, dim=1)


def check_against_sample(model, config, codes, condition, reference_mel, noise, expected) -> None:
    """The sampler here equals transformers' own `sample`, noise aside."""
    original = torch.randn
    try:
        torch.randn = lambda *_, **__: noise.clone()
        mel = model.code2wav_dit_model.sample(condition, reference_mel, codes)
    finally:
        torch.randn = original
    assert torch.equal(mel.permute(0, 2, 1), expected), "the sampler is not transformers' sample"


def write_voices(path: Path, voices: dict) -> None:
    torch.save(voices, path)
    path.chmod(0o644)


@torch.no_grad()
def make(name: str, seed: int) -> None:
    facts = CONFIGS[name]
    generator = torch.Generator().manual_seed(seed)
    config = Qwen2_5OmniToken2WavConfig(dit_config=facts["dit"], bigvgan_config=facts["bigvgan"])
    model = Qwen2_5OmniToken2WavModel(config).eval().float()
    initialise(model, generator, facts["dtype"])
    dit, vocoder = model.code2wav_dit_model, model.code2wav_bigvgan_model
    level_output(vocoder, facts, generator)
    tensors = {f"token2wav.{key}": value.to(facts["dtype"]).contiguous() for key, value in model.state_dict().items()}
    if facts["stored_frequencies"]:
        rounded = dit.rotary_embed.inv_freq.to(torch.bfloat16).to(torch.float32)
        dit.rotary_embed.inv_freq.copy_(rounded)
        tensors["token2wav.code2wav_dit_model.rotary_embed.inv_freq"] = rounded.clone()
    folder = CHECKPOINTS / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    sizes, repeats = facts["dit"], facts["dit"]["repeats"]
    stored = dict(architectures=["Qwen2_5OmniForConditionalGeneration"], model_type="qwen2_5_omni",
                  token2wav_config=dict(dit_config=sizes, bigvgan_config=facts["bigvgan"]))  # fmt: skip
    (folder / "config.json").write_text(json.dumps(stored, indent=1) + "\n")

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    mels = sizes["mel_dim"]
    voices = {
        "Ethan": dict(cond=normal(1, sizes["enc_emb_dim"]), ref_mel=normal(1, 41, mels) * 2 - 4, bos_token=151870),
        "Chelsie": dict(cond=normal(1, sizes["enc_emb_dim"]), ref_mel=normal(1, 30, mels) * 2 - 4, bos_token=151872),
    }
    write_voices(folder / "spk_dict.pt", voices)
    condition, reference_mel = voices["Chelsie"]["cond"], voices["Chelsie"]["ref_mel"]
    codes = torch.randint(0, sizes["num_embeds"] + 1, (1, facts["codes"]), generator=generator)
    frames = facts["codes"] * repeats
    noise = normal(1, frames, mels)

    golden = GoldenFile(name)
    golden.put("codes", codes[0], "int32")
    golden.put("noise", noise[0])
    encoder = dit.input_embed.spk_encoder
    for voice, values in voices.items():
        golden.put(f"speaker.{voice}", encoder(values["ref_mel"])[0])
    golden.put("speaker.zeros", encoder(torch.zeros_like(reference_mel))[0])
    sampler = Sampler(dit, condition, reference_mel)
    speaker = condition.unsqueeze(1).repeat(1, frames, 1)
    time = torch.tensor(0.31)
    golden.put("velocity", dit(hidden_states=noise, speaker_embedding=speaker, condition_vector=reference_mel,
                               quantized_code=codes, time_step=time, apply_cfg=True))  # fmt: skip
    runs = [("rk4", 10, 0.5), ("euler", 10, 0.5), ("rk4", 4, 0.5), ("euler", 6, 0.0), ("rk4", 3, 1.25)]
    for solver, points, guidance in runs:
        golden.put(f"mel.{solver}.{points}.{guidance:g}", sampler.mel(codes, noise, solver, points, guidance)[0])
    mel = sampler.mel(codes, noise, "rk4")
    check_against_sample(model, config, codes, condition, reference_mel, noise, mel)

    def put_wave(key: str, mel: torch.Tensor) -> None:
        wave = vocoder(mel.permute(0, 2, 1))
        clipped = (wave.abs() >= 1).float().mean().item()
        print(f"  {key}: mel {mel.mean():.2f} +- {mel.std():.2f}, wave {wave.std():.3f}, clipped {clipped:.3f}")
        assert clipped < 0.05 and wave.std() > 0.02
        golden.put(key, wave)

    put_wave("wave", mel)
    put_wave("wave.short", mel[:, :5])
    windows = []
    for blocks in facts["windows"]:
        for solver in ["rk4", "euler"]:
            key = f"{solver}.{'-'.join(map(str, blocks))}"
            windowed = sampler.windowed(codes, noise, solver, blocks, math.lcm(sizes["block_size"], repeats), repeats)
            golden.put(f"windowed.mel.{key}", windowed[0])
            put_wave(f"windowed.wave.{key}", windowed)
            windows.append(dict(key=key, solver=solver, blocks=blocks))
    golden.facts = dict(
        time=time.item(), voice="Chelsie", windows=windows,
        runs=[dict(solver=solver, points=points, guidance=guidance) for solver, points, guidance in runs],
        voices={voice: dict(bosToken=values["bos_token"], cond=values["cond"].flatten().tolist(),
                            frames=values["ref_mel"].shape[1], refMelSum=values["ref_mel"].double().sum().item())
                for voice, values in voices.items()},
    )  # fmt: skip
    golden.save()


def make_voice_files() -> None:
    """Voice files in all forms that torch writes, for tests of the reader."""
    folder = CHECKPOINTS.parent / "voices"
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(5)
    mel = torch.randn(1, 3, 4, generator=generator).to(torch.bfloat16).float()
    cond = torch.randn(1, 2, generator=generator).to(torch.bfloat16).float()
    voices = {"Ethan": dict(cond=cond, ref_mel=mel, bos_token=151870)}

    def typed(dtype: torch.dtype) -> dict:
        return {"Ethan": dict(cond=cond.to(dtype), ref_mel=mel.to(dtype), bos_token=151870)}

    write_voices(folder / "float32.pt", voices)
    for label, dtype in dict(float16=torch.float16, bfloat16=torch.bfloat16, float64=torch.float64).items():
        write_voices(folder / f"{label}.pt", typed(dtype))
    write_voices(folder / "ordered.pt", collections.OrderedDict(Ethan=collections.OrderedDict(voices["Ethan"])))
    backwards = mel.permute(0, 2, 1).contiguous().permute(0, 2, 1)
    shared = torch.cat([torch.zeros(5), cond[0]])[5:].reshape(1, 2)
    write_voices(folder / "strided.pt", {"Ethan": dict(cond=shared, ref_mel=backwards, bos_token=151870)})
    torch.save(voices, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    (folder / "legacy.pt").chmod(0o644)
    with zipfile.ZipFile(folder / "float32.pt") as source, zipfile.ZipFile(folder / "deflated.pt", "w") as target:
        for item in source.namelist():
            target.writestr(zipfile.ZipInfo(item), source.read(item), zipfile.ZIP_DEFLATED)
    (folder / "expected.json").write_text(
        json.dumps(dict(cond=cond.flatten().tolist(), refMel=mel.flatten().tolist(), frames=3, bosToken=151870)) + "\n"
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for number, checkpoint in enumerate(CONFIGS):
        make(checkpoint, 100 + number)
    make_voice_files()
