"""Goldens of every stage and of greedy generation.

Run: python -m omniserve_reference.qwen2_5.make_model_goldens [name ...]

Token2wav's own goldens have another script; here it turns each conversation's codes into samples, from `media.noise`.
"""

import sys

import numpy as np
import torch

from .. import media
from ..golden_file import GoldenFile
from ..make_model_goldens import Capture, gap
from .configs import CHECKPOINTS
from .conversations import CONVERSATIONS, spoken
from .processing import load_model, load_processor, positions, run

AUDIO_FRAMES = [3, 4, 5, 7, 10, 99, 100, 150, 151, 199, 200, 201, 403, 1799, 6100]
GRIDS = [(1, 2, 2), (1, 4, 4), (1, 8, 8), (1, 6, 10), (1, 2, 18), (1, 16, 10), (1, 14, 26), (3, 4, 6), (2, 10, 18)]
CASES = {
    "tiny25-grouped": ["text", "image", "audio-short", "audio", "video-audio-longer", "mixed", "video-three-fps"],
    "tiny25-tied": ["text", "unicode", "images", "audios", "video-audio-slow", "mixed-video-audio"],
    "tiny25-even": ["text", "audio-long", "video-audio-rows", "video", "video-audio", "mixed-video-audio"],
    "tiny25-thinker": ["text", "images", "audio", "video-audio-shorter"],
}
TEXT_TOKENS, CODES = 12, 26
# Only every so many rows of long outputs are stored.
ROW_STEP = 5
LONG = 64


def rows_of(golden: GoldenFile, name: str, value: torch.Tensor, step: int) -> None:
    golden.put(name, value[::step])


def audio_encoder(golden: GoldenFile, model) -> None:
    config = model.config.thinker_config.audio_config
    golden.facts["audioEncoder"] = []
    for frames in AUDIO_FRAMES:
        mel = torch.from_numpy(media.log_mel(config.num_mel_bins, frames))
        out = model.thinker.model.audio_tower(mel, feature_lens=torch.tensor([frames])).last_hidden_state
        step = 1 if len(out) <= LONG else 23
        rows_of(golden, f"audio-encoder.{frames}", out, step)
        golden.facts["audioEncoder"].append({"frames": frames, "tokens": out.shape[0], "rowStep": step})
    # Several in one request: each equals its own single result.
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
        out = model.thinker.model.visual(patches, grid_thw=torch.tensor([grid])).pooler_output
        golden.put("vision-encoder." + "x".join(map(str, grid)), out)
        golden.facts["visionEncoder"].append({"grid": grid, "tokens": out.shape[0]})


def record_thinker(golden: GoldenFile, key: str, model, calls: list, result, prompt: int) -> dict:
    """Prefill and every step with the input of the thinker's decoder, encoder output included."""
    prefill = calls[0][1]
    golden.put(f"{key}.positions", prefill["position_ids"][-3:, 0], np.int32)
    ids = result.sequences[0, :prompt]
    config = model.config.thinker_config
    replaced = (ids == config.audio_token_id) | (ids == config.image_token_id) | (ids == config.video_token_id)
    if replaced.any():
        golden.put(f"{key}.features", prefill["inputs_embeds"][0][replaced])
    rows = sorted({0, prompt - 1, *range(0, prompt, 97)})
    hidden = calls[0][2].last_hidden_state[0]
    golden.put(f"{key}.prefill-logits", model.thinker.lm_head(hidden[rows]))
    golden.put(f"{key}.step-logits", torch.cat(result.logits))
    golden.put(f"{key}.tokens", result.sequences[0], np.int32)
    # The talker's addition to the embeddings: `lm_head`'s input states, of the prompt and of every later token.
    states = torch.cat([call[2].last_hidden_state[0] for call in calls])
    rows_of(golden, f"{key}.hidden", states, ROW_STEP)
    return {
        "promptTokens": prompt, "prefillRows": rows, "textTokens": result.sequences[0, prompt:].tolist(),
        "smallestTextGap": gap(torch.cat(result.logits)),
    }  # fmt: skip


class Talker:
    """Fixes and records the talker's `generate` during a `with`. Without it transformers 5.23

    - refuses the pixels that `generate` of the whole model passes to the talker;
    - drops an attention mask of ones, and the talker takes a missing mask for a later step: no media positions, no
      codec embeddings on the last two rows of its prompt (4.57 does both);
    - may sample ids that have no row in token2wav's table, and fails there.
    """

    def __init__(self, model):
        self.model, self.owner = model, model.talker

    def __enter__(self) -> "Talker":
        generate, prepare = self.owner.generate, self.owner.prepare_inputs_for_generation
        config, codes = self.model.config.talker_config, self.model.config.token2wav_config.dit_config.num_embeds + 1
        ends = (config.tts_codec_end_token_id, config.tts_codec_pad_token_id)
        self.suppressed = [i for i in range(codes, config.vocab_size) if i not in ends]

        def prepare_inputs(input_ids, inputs_embeds=None, **kwargs):
            inputs = prepare(input_ids, inputs_embeds=inputs_embeds, **kwargs)
            fed = inputs["input_ids"] if inputs.get("inputs_embeds") is None else inputs["inputs_embeds"]
            length = inputs["past_key_values"].get_seq_length() + fed.shape[1]
            inputs["attention_mask"] = torch.ones((1, length), dtype=torch.long)
            return inputs

        def generate_watched(**kwargs):
            kwargs = {k: v for k, v in kwargs.items() if k not in ("pixel_values", "pixel_values_videos")}
            kwargs["suppress_tokens"] = self.suppressed
            self.inputs = kwargs
            self.result = generate(**kwargs, return_dict_in_generate=True, output_logits=True, output_scores=True)
            return self.result.sequences

        self.owner.generate, self.owner.prepare_inputs_for_generation = generate_watched, prepare_inputs
        return self

    def __exit__(self, *_: object) -> None:
        del self.owner.generate, self.owner.prepare_inputs_for_generation


def record_speech(golden: GoldenFile, key: str, model, talker: Talker, rows: list, steps: list, wave, mel) -> dict:
    result = talker.result
    prompt = talker.inputs["input_ids"].shape[1]
    fed = [call[0][0][0] for call in rows]  # thinker width, before `thinker_to_talker_proj`
    rows_of(golden, f"{key}.talker-prefill", fed[0], ROW_STEP)
    golden.put(f"{key}.talker-prefill-last", fed[0][-2:])
    golden.put(f"{key}.talker-prefill-positions", steps[0][1]["position_ids"][-3:, 0], np.int32)
    golden.put(f"{key}.talker-logits", torch.cat(result.logits))
    if len(fed) > 1:
        golden.put(f"{key}.talker-steps", torch.cat(fed[1:]))
        golden.put(
            f"{key}.talker-step-positions",
            torch.cat([call[1]["position_ids"][-3:, 0] for call in steps[1:]], dim=1),
            np.int32,
        )
    ids = result.sequences[0, prompt:].tolist()
    config = model.config.talker_config
    ends = (config.tts_codec_end_token_id, config.tts_codec_pad_token_id)
    codes = ids[: next((i for i, code in enumerate(ids) if code in ends), len(ids))]
    golden.put_waveform(f"{key}.waveform", wave)
    golden.put(f"{key}.mel", mel[0])
    return {
        "smallestCodecGap": gap(torch.cat(result.scores)), "talkerPromptTokens": prompt, "talkerIds": ids,
        "codes": codes, "waveformPeak": float(wave.abs().max()),
    }  # fmt: skip


def conversation(golden: GoldenFile, model, processor, case: str, options: dict) -> None:
    messages = spoken(CONVERSATIONS[case]) if model.has_talker else CONVERSATIONS[case]
    processed = run(processor, messages)
    outputs = processed["outputs"]
    prompt = outputs["input_ids"].shape[1]
    eos = options.get("eos", model.config.thinker_config.eos_token_id)
    thinker_arguments = dict(
        use_audio_in_video=processed["use_audio_in_video"], thinker_max_new_tokens=TEXT_TOKENS,
        thinker_eos_token_id=eos, thinker_do_sample=False, thinker_output_logits=True,
    )  # fmt: skip
    name = options.get("name", case)
    key = f"case.{name}"
    facts: dict = {}
    with (
        Capture(model.thinker, "generate") as thinker,
        Capture(model.thinker.model.language_model, "forward") as decoder,
    ):
        if not model.has_talker:
            arguments = {k.removeprefix("thinker_"): v for k, v in thinker_arguments.items()}
            result = model.thinker.generate(**outputs, **arguments, return_dict_in_generate=True)
            facts = record_thinker(golden, key, model, decoder.calls, result, prompt)
        else:
            config = model.config.talker_config
            dit = model.token2wav.code2wav_dit_model
            with (
                Talker(model) as talker,
                Capture(model.talker.thinker_to_talker_proj, "forward") as rows,
                Capture(model.talker.model, "forward") as steps,
                Capture(dit, "sample") as sampled,
                FixedNoise(),
            ):
                _, wave = model.generate(
                    **outputs, **thinker_arguments, speaker=options["speaker"], talker_max_new_tokens=CODES,
                    talker_do_sample=False,
                    talker_eos_token_id=[config.tts_codec_pad_token_id, config.tts_codec_end_token_id],
                )  # fmt: skip
            facts = record_thinker(golden, key, model, decoder.calls, thinker.calls[0][2], prompt)
            facts |= record_speech(golden, key, model, talker, rows.calls, steps.calls, wave, sampled.calls[0][2])
            golden.facts["suppressed"] = [talker.suppressed[0], len(talker.suppressed)]
    _, next_position = positions(model, processed)
    golden.facts["cases"].append(
        {"name": name, "messages": messages, "useAudioInVideo": processed["use_audio_in_video"],
         "speaker": options.get("speaker"), "eosTokenId": eos, "maxTextTokens": TEXT_TOKENS, "maxCodes": CODES,
         "nextPosition": next_position, **facts,
         "text": processor.tokenizer.decode(facts["textTokens"], skip_special_tokens=True)}
    )  # fmt: skip


class FixedNoise:
    """Replaces torch.randn during a `with`; only the diffusion's first state is random there."""

    def __enter__(self) -> "FixedNoise":
        self.original = torch.randn

        def randn(size, **_):
            batch, frames, bands = size
            assert batch == 1
            return torch.from_numpy(media.noise(frames, bands, 1))[None]

        torch.randn = randn
        return self

    def __exit__(self, *_: object) -> None:
        torch.randn = self.original


def main(names: list[str]) -> None:
    for name in names:
        golden = GoldenFile(name)
        processor = load_processor(name)
        model = load_model(name)
        audio_encoder(golden, model)
        vision_encoder(golden, model)
        golden.facts["cases"] = []
        speakers = list(model.speaker_map) or [None]
        for index, case in enumerate(CASES[name]):
            conversation(golden, model, processor, case, {"speaker": speakers[index % len(speakers)]})
        # The same prompt again, ending when a later token of the free run comes for the first time.
        tokens = golden.facts["cases"][0]["textTokens"]
        eos = next((t for i, t in enumerate(tokens) if i >= 3 and t not in tokens[:i]), tokens[-1])
        conversation(
            golden, model, processor, CASES[name][0], {"speaker": speakers[0], "eos": eos, "name": "ends-early"}
        )
        for fact in golden.facts["cases"]:
            gaps = {k: v for k, v in fact.items() if k.startswith("smallest")}
            assert all(v > 1e-3 for v in gaps.values()), (
                f"{name} {fact['name']}: {gaps} leaves too little room; take another seed"
            )
        golden.save()
        for fact in golden.facts["cases"]:
            print(
                {
                    k: v
                    for k, v in fact.items()
                    if "mallest" in k or k in ("name", "textTokens", "talkerIds", "waveformPeak")
                }
            )


if __name__ == "__main__":
    main(sys.argv[1:] or list(CHECKPOINTS))
