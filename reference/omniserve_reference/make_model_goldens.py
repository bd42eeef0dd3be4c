"""Goldens of every stage and of greedy generation. Run: python -m omniserve_reference.make_model_goldens [name ...]"""

import sys

import numpy as np
import torch
from transformers import Qwen3OmniMoeForConditionalGeneration

from . import media
from .configs import CHECKPOINTS
from .conversations import CONVERSATIONS
from .golden_file import GoldenFile
from .processing import CHECKPOINTS as FOLDERS
from .processing import load_processor, positions, run

AUDIO_FRAMES = [1, 7, 30, 99, 100, 101, 250, 836, 3500]
GRIDS = [(1, 2, 2), (1, 4, 4), (1, 6, 10), (1, 2, 18), (3, 4, 6)]
CODE_FRAMES = {"tiny-moe": [1, 2, 5, 30, 61], "tiny-mixed": [1, 2, 7, 40, 331], "tiny-dense": [1, 3, 80, 310]}
CASES = {
    "tiny-moe": [
        "text",
        "image",
        "images",
        "audio-short",
        "audio",
        "video-audio",
        "mixed",
        "video-three-fps",
        "video-wide",
    ],
    "tiny-mixed": ["text", "unicode", "images", "audio", "video-audio-longer", "mixed-video-audio", "video-three-fps"],
    "tiny-dense": ["text", "image", "audio-long", "mixed"],
    "tiny-thinker": ["text", "images", "audio"],
}
TEXT_TOKENS, FRAMES = 12, 14
# Only every so many rows of the hidden states are stored, to keep the fixtures small.
HIDDEN_STEP = 5


class Capture:
    """Replaces a method during a `with` and records its input and output."""

    def __init__(self, owner: object, name: str, extra: dict | None = None):
        self.owner, self.name, self.extra, self.calls = owner, name, extra or {}, []

    def __enter__(self) -> "Capture":
        original = getattr(self.owner, self.name)

        def wrapped(*args, **kwargs):
            result = original(*args, **kwargs, **self.extra)
            self.calls.append((args, kwargs, result))
            return result

        setattr(self.owner, self.name, wrapped)
        return self

    def __exit__(self, *_: object) -> None:
        delattr(self.owner, self.name)


def gap(logits: torch.Tensor) -> float:
    """Smallest distance between best and second best over rows: how far an implementation may be off."""
    best = logits.topk(2, dim=-1).values
    return float((best[..., 0] - best[..., 1]).min())


def audio_encoder(golden: GoldenFile, model) -> None:
    config = model.config.thinker_config.audio_config
    golden.facts["audioEncoder"] = []
    for frames in AUDIO_FRAMES:
        mel = torch.from_numpy(media.log_mel(config.num_mel_bins, frames))
        out = model.thinker.model.audio_tower(mel, feature_lens=torch.tensor([frames])).last_hidden_state
        golden.put(f"audio-encoder.{frames}", out)
        golden.facts["audioEncoder"].append({"frames": frames, "tokens": out.shape[0]})
    # Two audio inputs in one request: the shorter one's only chunk is padded to the longer one's chunk.
    lengths = [30, 130]
    mel = torch.cat([torch.from_numpy(media.log_mel(config.num_mel_bins, n)) for n in lengths], dim=1)
    out = model.thinker.model.audio_tower(mel, feature_lens=torch.tensor(lengths)).last_hidden_state
    golden.put("audio-encoder.pair", out)
    golden.facts["audioEncoderPair"] = lengths


def vision_encoder(golden: GoldenFile, model) -> None:
    config = model.config.thinker_config.vision_config
    size = config.in_channels * config.temporal_patch_size * config.patch_size**2
    golden.facts["visionEncoder"] = []
    for grid in GRIDS:
        patches = torch.from_numpy(media.patches(int(np.prod(grid)), size))
        out = model.thinker.model.visual(patches, grid_thw=torch.tensor([grid]))
        key = "vision-encoder." + "x".join(map(str, grid))
        golden.put(key, out.pooler_output)
        for index, feature in enumerate(out.deepstack_features):
            golden.put(f"{key}.deepstack.{index}", feature)
        golden.facts["visionEncoder"].append({"grid": grid, "tokens": out.pooler_output.shape[0]})


def code2wav(golden: GoldenFile, model, name: str) -> None:
    config = model.config.code2wav_config
    golden.facts["code2wav"] = []
    for frames in CODE_FRAMES[name]:
        codes = torch.from_numpy(media.codes(config.num_quantizers, frames, config.codebook_size))[None]
        wave = model.code2wav(codes)[0, 0]
        golden.put_waveform(f"code2wav.{frames}", wave)
        golden.facts["code2wav"].append(
            {"frames": frames, "samples": wave.numel(), "rms": float(wave.pow(2).mean().sqrt()) if wave.numel() else 0}
        )


def record_thinker(golden: GoldenFile, key: str, model, calls: list, result, prompt: int) -> dict:
    """Prefill and every step with the input of the thinker's decoder, encoder output included."""
    prefill = calls[0][1]
    golden.put(f"{key}.positions", prefill["position_ids"][-3:, 0])
    if prefill.get("visual_pos_masks") is not None:
        for index, feature in enumerate(prefill["deepstack_visual_embeds"] or []):
            golden.put(f"{key}.deepstack.{index}", feature)
    ids = result.sequences[0, :prompt]
    config = model.config.thinker_config
    replaced = (ids == config.audio_token_id) | (ids == config.image_token_id) | (ids == config.video_token_id)
    if replaced.any():
        golden.put(f"{key}.features", prefill["inputs_embeds"][0][replaced])
    rows = sorted({0, prompt - 1, *range(0, prompt, 37)})
    hidden = calls[0][2].last_hidden_state[0]
    golden.put(f"{key}.prefill-logits", model.thinker.lm_head(hidden[rows]))
    golden.put(f"{key}.step-logits", torch.cat(result.logits))
    golden.put(f"{key}.tokens", result.sequences[0], np.int32)
    return {
        "promptTokens": prompt, "prefillRows": rows, "textTokens": result.sequences[0, prompt:].tolist(),
        "smallestTextGap": gap(torch.cat(result.logits)),
    }  # fmt: skip


def record_speech(
    golden: GoldenFile, key: str, model, thinker_result, talker, talker_calls, predictors, result
) -> dict:
    accept = model.config.talker_config.accept_hidden_layer
    hidden = torch.cat([step[accept] for step in thinker_result.hidden_states], dim=1)[0]
    golden.put(f"{key}.accept-hidden", hidden[::HIDDEN_STEP])
    kwargs, outcome = talker.calls[0][1], talker.calls[0][2]
    golden.put(f"{key}.talker-prefill", kwargs["inputs_embeds"][0])
    golden.put(f"{key}.talker-prefill-positions", talker_calls[0][1]["position_ids"][-3:, 0])
    golden.put(f"{key}.trailing-text", kwargs["trailing_text_hidden"][0])
    # The last 1,024 ids are never sampled but for the end token; a few of their logits are stored.
    kept = model.config.code2wav_config.codebook_size + 32
    golden.put(f"{key}.talker-logits", torch.cat(outcome.logits)[:, :kept])
    golden.put(f"{key}.talker-hidden", torch.cat([call[2].last_hidden_state[:, -1] for call in talker_calls]))
    if len(talker_calls) > 1:
        golden.put(f"{key}.talker-steps", torch.cat([call[1]["inputs_embeds"][0] for call in talker_calls[1:]]))
        golden.put(
            f"{key}.talker-step-positions",
            torch.cat([call[1]["position_ids"][-3:, 0] for call in talker_calls[1:]], dim=1),
        )
    facts = {
        "smallestCodecGap": gap(torch.cat(outcome.scores)), "talkerPromptTokens": kwargs["inputs_embeds"].shape[1],
        "talkerIds": outcome.sequences[0].tolist(),
    }  # fmt: skip
    if predictors.calls:
        residual = torch.stack([torch.stack(call[2].logits, dim=1)[0] for call in predictors.calls])
        golden.put(f"{key}.predictor-logits", residual)  # [frames, groups - 1, codebook]
        facts["smallestResidualGap"] = gap(residual)
        codes = torch.stack([hid[-1] for hid in outcome.hidden_states if hid[-1] is not None], dim=1)[0]
        facts["codes"] = codes.tolist()  # [frames, groups]
        golden.put_waveform(f"{key}.waveform", result[1][0, 0])
    return facts


def conversation(golden: GoldenFile, model, processor, case: str, options: dict) -> None:
    processed = run(processor, CONVERSATIONS[case], model.config)
    outputs = processed["outputs"]
    prompt = outputs["input_ids"].shape[1]
    eos = options.get("eos", model.config.im_end_token_id)
    arguments = dict(outputs) | dict(
        use_audio_in_video=processed["use_audio_in_video"], thinker_max_new_tokens=TEXT_TOKENS,
        thinker_eos_token_id=eos, thinker_do_sample=False, thinker_output_logits=True,
        thinker_return_dict_in_generate=True, return_audio=model.has_talker,
    )  # fmt: skip
    name = options.get("name", case)
    key = f"case.{name}"
    with (
        Capture(model.thinker, "generate") as thinker,
        Capture(model.thinker.model.language_model, "forward") as decoder,
    ):
        if not model.has_talker:
            result = model.generate(**arguments)
            facts = record_thinker(golden, key, model, decoder.calls, result, prompt)
        else:
            # `get_rope_index` of the talker reads the audio encoder's window from a configuration that lacks it.
            model.talker.config.audio_config = model.config.thinker_config.audio_config
            with (
                Capture(model.talker, "generate") as talker,
                Capture(model.talker.model, "forward") as talker_calls,
                Capture(model.talker.code_predictor, "generate", {"output_logits": True}) as predictors,
            ):
                result = model.generate(
                    **arguments, speaker=options["speaker"], talker_max_new_tokens=FRAMES + 1, talker_do_sample=False,
                    talker_output_logits=True, talker_output_scores=True,
                )  # fmt: skip
            thinker_result = thinker.calls[0][2]
            facts = record_thinker(golden, key, model, decoder.calls, thinker_result, prompt)
            facts |= record_speech(golden, key, model, thinker_result, talker, talker_calls.calls, predictors, result)
    _, next_position = positions(model, processed)
    golden.facts["cases"].append(
        {"name": name, "messages": CONVERSATIONS[case], "useAudioInVideo": processed["use_audio_in_video"],
         "speaker": options.get("speaker"), "eosTokenId": eos, "maxTextTokens": TEXT_TOKENS,
         "maxTalkerTokens": FRAMES + 1, "nextPosition": next_position, **facts,
         "text": processor.tokenizer.decode(facts["textTokens"], skip_special_tokens=True)}
    )  # fmt: skip


def main(names: list[str]) -> None:
    for name in names:
        golden = GoldenFile(name)
        processor = load_processor(name)
        model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(
            FOLDERS / name, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        audio_encoder(golden, model)
        vision_encoder(golden, model)
        if model.has_talker:
            code2wav(golden, model, name)
        golden.facts["cases"] = []
        speakers = list(model.config.talker_config.speaker_id) if model.has_talker else [None]
        for index, case in enumerate(CASES[name]):
            conversation(golden, model, processor, case, {"speaker": speakers[index % len(speakers)]})
        # The same prompt again, ending when the fourth distinct token of the free run comes.
        tokens = golden.facts["cases"][0]["textTokens"]
        eos = next((t for i, t in enumerate(tokens) if i >= 3 and t not in tokens[:i]), tokens[-1])
        conversation(
            golden, model, processor, CASES[name][0], {"speaker": speakers[0], "eos": eos, "name": "ends-early"}
        )
        golden.save()
        for fact in golden.facts["cases"]:
            print({k: v for k, v in fact.items() if "mallest" in k or k in ("name", "text", "textTokens")})
        print([f["rms"] for f in golden.facts.get("code2wav", [])])


if __name__ == "__main__":
    main(sys.argv[1:] or list(CHECKPOINTS))
