"""The tiny configurations. Together they have every switch of the family in at least two positions.

See reference/README.md.
"""

from tokenizers import Tokenizer

from ..configs import NEW_ROPE, OLD_ROPE


def token_ids(tokenizer: Tokenizer) -> dict:
    def t(text: str) -> int:
        return tokenizer.token_to_id(text)

    beyond = tokenizer.get_vocab_size()  # the speech ids are not in the tokenizer, as in the published folders
    return dict(
        im_start=t("<|im_start|>"), im_end=t("<|im_end|>"), end=t("<|endoftext|>"), user=t("user"),
        audio=t("<|AUDIO|>"), image=t("<|IMAGE|>"), video=t("<|VIDEO|>"),
        audio_start=t("<|audio_bos|>"), audio_end=t("<|audio_eos|>"),
        vision_start=t("<|vision_bos|>"), vision_end=t("<|vision_eos|>"), vision_pad=t("<|vision_pad|>"),
        tts_pad=beyond, tts_start=beyond + 1, tts_end=beyond + 2, voices=[beyond + 3, beyond + 4],
    )  # fmt: skip


def rope(theta: float, section: list[int]) -> dict:
    return {"rope_type": "default", "type": "default", "mrope_section": section, "rope_theta": theta}


def media_ids(ids: dict) -> dict:
    return dict(
        audio_token_index=ids["audio"], image_token_index=ids["image"], video_token_index=ids["video"],
        audio_start_token_id=ids["audio_start"], audio_end_token_id=ids["audio_end"],
        vision_start_token_id=ids["vision_start"], vision_end_token_id=ids["vision_end"],
    )  # fmt: skip


def thinker(ids: dict, *, audio: dict, vision: dict, text: dict, tie: bool, rate: int = 25, chunk: int = 2) -> dict:
    return media_ids(ids) | dict(
        vision_token_id=ids["vision_pad"], user_token_id=ids["user"], position_id_per_seconds=rate,
        seconds_per_chunk=chunk, tie_word_embeddings=tie, bos_token_id=ids["im_start"], eos_token_id=ids["im_end"],
        pad_token_id=ids["end"], audio_config=audio, vision_config=vision,
        text_config=text | dict(tie_word_embeddings=tie),
    )  # fmt: skip


def talker(ids: dict, *, codes: int, hidden: int, text: dict, rate: int = 25, chunk: int = 2) -> dict:
    # Ids between the codes and the special ids stay unused, as in the published model.
    return media_ids(ids) | text | dict(
        vocab_size=codes + 32, embedding_size=hidden, position_id_per_seconds=rate, seconds_per_chunk=chunk,
        spatial_merge_size=2, tts_text_start_token_id=ids["tts_start"], tts_text_end_token_id=ids["tts_end"],
        tts_text_pad_token_id=ids["tts_pad"], tts_codec_pad_token_id=codes + 12, tts_codec_start_token_id=codes + 13,
        tts_codec_end_token_id=codes + 14, tts_codec_mask_token_id=codes + 16,
    )  # fmt: skip


def token2wav(*, codes: int, mel: int, dit: dict, bigvgan: dict) -> dict:
    """`num_embeds` counts one id less than the table has rows, as in the published model."""
    return dict(
        dit_config=dit | dict(num_embeds=codes - 1, mel_dim=mel),
        bigvgan_config=bigvgan | dict(mel_dim=mel, use_bias_at_final=False),
    )


def top(thinker_config: dict, talker_config: dict | None, token2wav_config: dict | None) -> dict:
    config = dict(enable_audio_output=talker_config is not None, thinker_config=thinker_config)
    if talker_config is not None:
        config |= dict(talker_config=talker_config, token2wav_config=token2wav_config)
    return config


def grouped(ids: dict, vocab: int) -> dict:
    """Grouped heads, untied, one full-attention block of three.

    Talker heads are wider than their share of the width, as in 7B.
    """
    text = dict(
        vocab_size=vocab, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, rope_parameters=rope(1_000_000, [2, 3, 3]),
        hidden_act="silu", rms_norm_eps=1e-6,
    )  # fmt: skip
    audio = dict(
        num_mel_bins=128, d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64, n_window=100,
        output_dim=64, max_source_positions=1500,
    )  # fmt: skip
    vision = dict(
        depth=3, hidden_size=40, hidden_act="silu", intermediate_size=76, num_heads=2, in_channels=3, patch_size=14,
        temporal_patch_size=2, spatial_merge_size=2, window_size=112, fullatt_block_indexes=[1], out_hidden_size=64,
        tokens_per_second=25,
    )  # fmt: skip
    talker_text = dict(
        hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
        head_dim=32, max_position_embeddings=4096, rope_parameters=rope(1_000_000, [4, 6, 6]), rms_norm_eps=1e-6,
    )  # fmt: skip
    dit = dict(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, head_dim=16, ff_mult=2, emb_dim=32, enc_emb_dim=16,
        enc_dim=24, enc_channels=[16, 16, 16, 16, 48], enc_kernel_sizes=[5, 3, 3, 3, 1], enc_dilations=[1, 2, 3, 4, 1],
        enc_attention_channels=16, enc_res2net_scale=2, enc_se_channels=16, repeats=2, block_size=24,
        look_ahead_layers=[1], look_backward_layers=[0, 2],
    )  # fmt: skip
    bigvgan = dict(
        upsample_initial_channel=32, resblock_kernel_sizes=[3, 7], resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]],
        upsample_rates=[5, 2], upsample_kernel_sizes=[11, 4],
    )  # fmt: skip
    return top(
        thinker(ids, audio=audio, vision=vision, text=text, tie=False),
        talker(ids, codes=64, hidden=64, text=talker_text),
        token2wav(codes=64, mel=40, dit=dit, bigvgan=bigvgan),
    )  # fmt: skip


def tied(ids: dict, vocab: int) -> dict:
    """Tied embeddings, one key head, sections without a width (as 3B's talker), small windows, 80 mel bands."""
    text = dict(
        vocab_size=vocab, hidden_size=96, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=1, max_position_embeddings=4096, rope_parameters=rope(100_000, [4, 2, 2]),
        hidden_act="silu", rms_norm_eps=1e-5,
    )  # fmt: skip
    audio = dict(
        num_mel_bins=80, d_model=48, encoder_layers=1, encoder_attention_heads=3, encoder_ffn_dim=64, n_window=50,
        output_dim=96, max_source_positions=300,
    )  # fmt: skip
    vision = dict(
        depth=4, hidden_size=32, hidden_act="silu", intermediate_size=40, num_heads=2, in_channels=3, patch_size=14,
        temporal_patch_size=2, spatial_merge_size=2, window_size=56, fullatt_block_indexes=[0, 3], out_hidden_size=96,
    )  # fmt: skip
    talker_text = dict(
        hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, max_position_embeddings=4096, rope_parameters=rope(1_000_000, [4, 4, 0]), rms_norm_eps=1e-5,
    )  # fmt: skip
    dit = dict(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, head_dim=16, ff_mult=1, emb_dim=16, enc_emb_dim=8,
        enc_dim=16, enc_channels=[24, 24, 24, 48], enc_kernel_sizes=[3, 3, 3, 1], enc_dilations=[1, 2, 3, 1],
        enc_attention_channels=8, enc_res2net_scale=3, enc_se_channels=12, repeats=2, block_size=12,
        look_ahead_layers=[0, 1], look_backward_layers=[2],
    )  # fmt: skip
    bigvgan = dict(
        upsample_initial_channel=16, resblock_kernel_sizes=[3, 5], resblock_dilation_sizes=[[1, 2, 3], [1, 3, 5]],
        upsample_rates=[4, 3], upsample_kernel_sizes=[8, 7],
    )  # fmt: skip
    return top(
        thinker(ids, audio=audio, vision=vision, text=text, tie=True),
        talker(ids, codes=96, hidden=96, text=talker_text),
        token2wav(codes=96, mel=20, dit=dit, bigvgan=bigvgan),
    )  # fmt: skip


def even(ids: dict, vocab: int) -> dict:
    """As many key heads as heads, no full-attention block, an odd number of positions per audio chunk.

    The position rates differ from those of the other configurations.
    """
    text = dict(
        vocab_size=vocab, hidden_size=32, intermediate_size=80, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=4096, rope_parameters=rope(10_000, [1, 4, 3]),
        hidden_act="silu", rms_norm_eps=1e-6,
    )  # fmt: skip
    audio = dict(
        num_mel_bins=128, d_model=32, encoder_layers=2, encoder_attention_heads=1, encoder_ffn_dim=48, n_window=75,
        output_dim=32, max_source_positions=1500,
    )  # fmt: skip
    vision = dict(
        depth=2, hidden_size=32, hidden_act="silu", intermediate_size=34, num_heads=1, in_channels=3, patch_size=14,
        temporal_patch_size=2, spatial_merge_size=2, window_size=84, fullatt_block_indexes=[], out_hidden_size=32,
    )  # fmt: skip
    talker_text = dict(
        hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        head_dim=16, max_position_embeddings=4096, rope_parameters=rope(10_000, [2, 3, 3]), rms_norm_eps=1e-6,
    )  # fmt: skip
    dit = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=1, head_dim=32, ff_mult=2, emb_dim=16, enc_emb_dim=8,
        enc_dim=8, enc_channels=[16, 16, 16, 16, 48], enc_kernel_sizes=[5, 3, 3, 3, 1], enc_dilations=[1, 2, 3, 4, 1],
        enc_attention_channels=8, enc_res2net_scale=2, enc_se_channels=8, repeats=2, block_size=24,
        look_ahead_layers=[1], look_backward_layers=[0, 1],
    )  # fmt: skip
    bigvgan = dict(
        upsample_initial_channel=16, resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3, 5]],
        upsample_rates=[2, 2], upsample_kernel_sizes=[4, 4],
    )  # fmt: skip
    return top(
        thinker(ids, audio=audio, vision=vision, text=text, tie=False, rate=13, chunk=1),
        talker(ids, codes=48, hidden=32, text=talker_text, rate=13, chunk=1),
        token2wav(codes=48, mel=16, dit=dit, bigvgan=bigvgan),
    )  # fmt: skip


def thinker_only(ids: dict, vocab: int) -> dict:
    """`enable_audio_output` off: a fine-tune without speech."""
    config = even(ids, vocab)
    del config["talker_config"], config["token2wav_config"]
    config["enable_audio_output"] = False
    config["thinker_config"]["vision_config"]["fullatt_block_indexes"] = [0, 1]
    return config


FIRST_RELEASE, CURRENT = "Qwen2_5OmniModel", "Qwen2_5OmniForConditionalGeneration"

CHECKPOINTS = {
    "tiny25-grouped": dict(
        build=grouped,
        dtype="bfloat16",
        merges=120,
        seed=31,
        rope=OLD_ROPE,
        architecture=FIRST_RELEASE,
        voices=["Chelsie", "Ethan"],
    ),
    "tiny25-tied": dict(
        build=tied,
        dtype="float16",
        merges=100,
        seed=32,
        rope=NEW_ROPE,
        architecture=CURRENT,
        shard="150KB",
        voices=["Ethan"],
    ),
    "tiny25-even": dict(
        build=even,
        dtype="float32",
        merges=80,
        seed=33,
        rope=NEW_ROPE,
        architecture=CURRENT,
        voices=["Chelsie", "Ethan"],
        ends=0.9,
    ),
    "tiny25-thinker": dict(
        build=thinker_only, dtype="bfloat16", merges=80, seed=34, rope=OLD_ROPE, architecture=CURRENT, voices=[]
    ),
}
