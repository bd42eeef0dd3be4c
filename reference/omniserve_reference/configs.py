"""The tiny configurations. Together they have every switch of the family in at least two positions; see README.md."""

from tokenizers import Tokenizer

NEW_ROPE, OLD_ROPE = "rope_parameters", "rope_scaling and rope_theta"


def token_ids(tokenizer: Tokenizer) -> dict:
    def t(text: str) -> int:
        return tokenizer.token_to_id(text)

    return dict(
        im_start=t("<|im_start|>"), im_end=t("<|im_end|>"),
        system=t("system"), user=t("user"), assistant=t("assistant"),
        tts_pad=t("<tts_pad>"), tts_bos=t("<tts_text_bos>"), tts_eos=t("<tts_text_eod>"),
        audio=t("<|audio_pad|>"), image=t("<|image_pad|>"), video=t("<|video_pad|>"),
        audio_start=t("<|audio_start|>"), audio_end=t("<|audio_end|>"),
        vision_start=t("<|vision_start|>"), vision_end=t("<|vision_end|>"),
    )  # fmt: skip


def multimodal_rope(theta: float, section: list[int]) -> dict:
    return {
        "rope_type": "default", "type": "default", "interleaved": True, "mrope_interleaved": True,
        "mrope_section": section, "rope_theta": theta,
    }  # fmt: skip


def plain_rope(theta: float) -> dict:
    return {"rope_type": "default", "rope_theta": theta}


def thinker(ids: dict, *, audio: dict, vision: dict, text: dict, tie: bool, ids_per_second: int) -> dict:
    return dict(
        audio_token_id=ids["audio"], image_token_id=ids["image"], video_token_id=ids["video"],
        audio_start_token_id=ids["audio_start"], audio_end_token_id=ids["audio_end"],
        vision_start_token_id=ids["vision_start"], vision_end_token_id=ids["vision_end"], user_token_id=ids["user"],
        position_id_per_seconds=ids_per_second, seconds_per_chunk=2, tie_word_embeddings=tie,
        audio_config=audio, vision_config=vision, text_config=text | dict(tie_word_embeddings=tie),
    )  # fmt: skip


def top(ids: dict, thinker_config: dict, talker_config: dict | None, code2wav_config: dict | None) -> dict:
    config = dict(
        architectures=["Qwen3OmniMoeForConditionalGeneration"], enable_audio_output=talker_config is not None,
        im_start_token_id=ids["im_start"], im_end_token_id=ids["im_end"], system_token_id=ids["system"],
        user_token_id=ids["user"], assistant_token_id=ids["assistant"], tts_pad_token_id=ids["tts_pad"],
        tts_bos_token_id=ids["tts_bos"], tts_eos_token_id=ids["tts_eos"], thinker_config=thinker_config,
    )  # fmt: skip
    if talker_config is not None:
        config |= dict(talker_config=talker_config, code2wav_config=code2wav_config)
    return config


def talker(ids: dict, *, codebook: int, groups: int, text: dict, predictor: dict, hidden: int, accept: int,
           speakers: list[str], ids_per_second: int) -> dict:  # fmt: skip
    first_special = codebook + 4  # some ids between the codes and the special ids stay unused, as in the real model
    vocab = codebook + 1024
    names = ["codec_pad_id", "codec_bos_id", "codec_eos_token_id", "codec_nothink_id", "codec_think_bos_id",
             "codec_think_eos_id"]  # fmt: skip
    special = {name: first_special + i for i, name in enumerate(names)}
    return special | dict(
        accept_hidden_layer=accept, num_code_groups=groups, thinker_hidden_size=hidden,
        audio_token_id=ids["audio"], image_token_id=ids["image"], video_token_id=ids["video"],
        audio_start_token_id=ids["audio_start"], audio_end_token_id=ids["audio_end"],
        vision_start_token_id=ids["vision_start"], position_id_per_seconds=ids_per_second, seconds_per_chunk=2,
        spatial_merge_size=2, speaker_id={name: first_special + 16 + i for i, name in enumerate(speakers)},
        text_config=text | dict(vocab_size=vocab),
        code_predictor_config=predictor | dict(vocab_size=codebook, num_code_groups=groups),
    )  # fmt: skip


def moe(ids: dict, vocab: int) -> dict:
    """All layers sparse, untied, full 1,920 samples per frame, bf16 in one file, the newer rope spelling."""
    text = dict(
        vocab_size=vocab, hidden_size=64, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, moe_intermediate_size=32, num_experts=8, num_experts_per_tok=2,
        norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], max_position_embeddings=4096,
        rope_parameters=multimodal_rope(1_000_000, [6, 5, 5]), hidden_act="silu", rms_norm_eps=1e-6,
    )  # fmt: skip
    audio = dict(
        num_mel_bins=128, d_model=64, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=128, n_window=50,
        n_window_infer=400, downsample_hidden_size=16, output_dim=64, max_source_positions=1500, conv_chunksize=500,
    )  # fmt: skip
    vision = dict(
        depth=3, hidden_size=64, hidden_act="gelu_pytorch_tanh", intermediate_size=96, num_heads=4, in_channels=3,
        patch_size=16, temporal_patch_size=2, spatial_merge_size=2, out_hidden_size=64, num_position_embeddings=64,
        deepstack_visual_indexes=[0, 1], image_size=128,
    )  # fmt: skip
    talker_text = dict(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, moe_intermediate_size=32, num_experts=8, num_experts_per_tok=2, norm_topk_prob=True,
        shared_expert_intermediate_size=64, max_position_embeddings=4096,
        rope_parameters=multimodal_rope(1_000_000, [4, 2, 2]), rms_norm_eps=1e-6,
    )  # fmt: skip
    predictor = dict(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, max_position_embeddings=256, rope_parameters=plain_rope(1_000_000), rms_norm_eps=1e-6,
    )  # fmt: skip
    code2wav = dict(
        codebook_size=64, hidden_size=64, num_attention_heads=4, num_key_value_heads=4, sliding_window=8,
        intermediate_size=96, num_hidden_layers=2, num_quantizers=4, upsample_rates=[8, 5, 4, 3],
        upsampling_ratios=[2, 2], decoder_dim=64, max_position_embeddings=4096, rms_norm_eps=1e-5,
        rope_parameters=plain_rope(10_000),
    )  # fmt: skip
    return top(
        ids,
        thinker(ids, audio=audio, vision=vision, text=text, tie=False, ids_per_second=13),
        talker(ids, codebook=64, groups=4, text=talker_text, predictor=predictor, hidden=64, accept=3,
               speakers=["ethan", "chelsie", "aiden"], ids_per_second=13),
        code2wav,
    )  # fmt: skip


def mixed(ids: dict, vocab: int) -> dict:
    """Dense and sparse layers, tied embeddings, attention biases, un-normalised routing, bf16 in shards, older rope."""
    text = dict(
        vocab_size=vocab, hidden_size=96, intermediate_size=128, num_hidden_layers=5, num_attention_heads=6,
        num_key_value_heads=1, head_dim=32, moe_intermediate_size=64, num_experts=6, num_experts_per_tok=3,
        norm_topk_prob=False, decoder_sparse_step=2, mlp_only_layers=[3], max_position_embeddings=4096,
        attention_bias=True, rope_parameters=multimodal_rope(100_000, [8, 4, 4]), hidden_act="silu",
        rms_norm_eps=1e-5,
    )  # fmt: skip
    audio = dict(
        num_mel_bins=80, d_model=32, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=64, n_window=52,
        n_window_infer=104, downsample_hidden_size=8, output_dim=96, max_source_positions=300, conv_chunksize=3,
    )  # fmt: skip
    vision = dict(
        depth=2, hidden_size=32, hidden_act="gelu", intermediate_size=64, num_heads=2, in_channels=3, patch_size=14,
        temporal_patch_size=2, spatial_merge_size=2, out_hidden_size=96, num_position_embeddings=25,
        deepstack_visual_indexes=[1], image_size=70,
    )  # fmt: skip
    talker_text = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2,
        head_dim=32, moe_intermediate_size=32, num_experts=5, num_experts_per_tok=3, norm_topk_prob=False,
        shared_expert_intermediate_size=32, max_position_embeddings=4096, attention_bias=True,
        rope_parameters=multimodal_rope(10_000, [8, 4, 4]), rms_norm_eps=1e-5,
    )  # fmt: skip
    predictor = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=1,
        head_dim=16, max_position_embeddings=256, attention_bias=True, rope_parameters=plain_rope(10_000),
        rms_norm_eps=1e-5,
    )  # fmt: skip
    code2wav = dict(
        codebook_size=96, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, sliding_window=5,
        intermediate_size=64, num_hidden_layers=3, num_quantizers=6, upsample_rates=[5, 4, 2],
        upsampling_ratios=[3], decoder_dim=32, max_position_embeddings=4096, rms_norm_eps=1e-6, attention_bias=True,
        rope_parameters=plain_rope(5_000),
    )  # fmt: skip
    return top(
        ids,
        thinker(ids, audio=audio, vision=vision, text=text, tie=True, ids_per_second=25),
        talker(ids, codebook=96, groups=6, text=talker_text, predictor=predictor, hidden=96, accept=1,
               speakers=["vivian", "ryan"], ids_per_second=25),
        code2wav,
    )  # fmt: skip


def dense(ids: dict, vocab: int) -> dict:
    """No experts in the thinker, no deepstack, one residual code, f16, fused expert tensors in the talker."""
    text = dict(
        vocab_size=vocab, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, moe_intermediate_size=32, num_experts=0, num_experts_per_tok=1,
        norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[0], max_position_embeddings=4096,
        rope_parameters=multimodal_rope(1_000_000, [24, 20, 20]), hidden_act="silu", rms_norm_eps=1e-6,
    )  # fmt: skip
    audio = dict(
        num_mel_bins=128, d_model=32, encoder_layers=1, encoder_attention_heads=1, encoder_ffn_dim=64, n_window=50,
        n_window_infer=800, downsample_hidden_size=8, output_dim=64, max_source_positions=1500, conv_chunksize=500,
    )  # fmt: skip
    vision = dict(
        depth=2, hidden_size=32, hidden_act="gelu_pytorch_tanh", intermediate_size=48, num_heads=1, in_channels=3,
        patch_size=16, temporal_patch_size=2, spatial_merge_size=2, out_hidden_size=64, num_position_embeddings=36,
        deepstack_visual_indexes=[], image_size=96,
    )  # fmt: skip
    talker_text = dict(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=1,
        head_dim=16, moe_intermediate_size=32, num_experts=4, num_experts_per_tok=1, norm_topk_prob=True,
        shared_expert_intermediate_size=96, max_position_embeddings=4096,
        rope_parameters=multimodal_rope(1_000_000, [24, 20, 20]), rms_norm_eps=1e-6,
    )  # fmt: skip
    predictor = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        head_dim=32, max_position_embeddings=256, rope_parameters=plain_rope(1_000_000), rms_norm_eps=1e-6,
    )  # fmt: skip
    code2wav = dict(
        codebook_size=32, hidden_size=32, num_attention_heads=1, num_key_value_heads=1, sliding_window=72,
        intermediate_size=32, num_hidden_layers=1, num_quantizers=2, upsample_rates=[6, 2],
        upsampling_ratios=[2, 3], decoder_dim=32, max_position_embeddings=4096, rms_norm_eps=1e-5,
        rope_parameters=plain_rope(10_000),
    )  # fmt: skip
    return top(
        ids,
        thinker(ids, audio=audio, vision=vision, text=text, tie=False, ids_per_second=13),
        talker(ids, codebook=32, groups=2, text=talker_text, predictor=predictor, hidden=64, accept=1,
               speakers=["ethan"], ids_per_second=13),
        code2wav,
    )  # fmt: skip


def thinker_only(ids: dict, vocab: int) -> dict:
    """`enable_audio_output` off: the published Thinking and Captioner folders' shape."""
    config = dense(ids, vocab)
    del config["talker_config"], config["code2wav_config"]
    config["enable_audio_output"] = False
    config["thinker_config"]["text_config"] |= dict(
        hidden_size=32, num_hidden_layers=1, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, mlp_only_layers=[], num_experts=4, num_experts_per_tok=2,
        rope_parameters=multimodal_rope(1_000_000, [4, 3, 1]),
    )  # fmt: skip
    config["thinker_config"]["audio_config"]["output_dim"] = 32
    config["thinker_config"]["vision_config"]["out_hidden_size"] = 32
    config["thinker_config"]["vision_config"]["deepstack_visual_indexes"] = [0]
    return config


CHECKPOINTS = {
    "tiny-moe": dict(build=moe, dtype="bfloat16", merges=180, seed=11, rope=NEW_ROPE),
    "tiny-mixed": dict(build=mixed, dtype="bfloat16", merges=150, seed=105, rope=OLD_ROPE, shard="250KB"),
    "tiny-dense": dict(build=dense, dtype="float16", merges=120, seed=13, rope=NEW_ROPE, fused=True),
    "tiny-thinker": dict(build=thinker_only, dtype="float32", merges=120, seed=14, rope=OLD_ROPE),
}
