"""transformers' families of images, videos, texts and sound that have a head for classes."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from families.family import CLASSES, Family, images, named, noise, spread, tokens

LIBRARY = "transformers"

_BASE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
_TEXT = _BASE | {
    "vocab_size": 60,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "max_position_embeddings": 32,
}
_DECODER = _TEXT | {"num_key_value_heads": 2}
_LAYERS = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 60}
_LAYERS |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
_LAYERS |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 32}
_BART = _LAYERS | {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_T5 = {"vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
_T5 |= {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
_GPT = {"vocab_size": 60, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
_GPT |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_XLM = {"vocab_size": 60, "n_words": 60, "emb_dim": 16, "n_layers": 1, "n_heads": 2}
_XLM |= {"pad_index": 1, "pad_token_id": 1, "eos_index": 2, "bos_index": 0}
_MOE = _DECODER | {"num_local_experts": 2, "num_experts_per_tok": 1}

_TEXTS: list[tuple[str, dict[str, Any]]] = [
    ("Albert", _TEXT | {"embedding_size": 8}),
    ("Arcee", _DECODER),
    ("Bart", _BART),
    ("Bert", _TEXT),
    ("BigBird", _TEXT | {"attention_type": "original_full"}),
    ("BioGpt", _TEXT),
    ("Bloom", {"vocab_size": 60, "hidden_size": 16, "n_layer": 2, "n_head": 2, "pad_token_id": 1}),
    ("Camembert", _TEXT),
    ("ConvBert", _TEXT | {"embedding_size": 16}),
    ("CTRL", {"vocab_size": 60, "n_embd": 16, "dff": 32, "n_layer": 1, "n_head": 2,
              "n_positions": 32, "pad_token_id": 1}),
    ("Deberta", _TEXT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"],
                         "pooler_hidden_size": 16}),
    ("DebertaV2", _TEXT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"],
                           "pooler_hidden_size": 16}),
    ("DistilBert", {"vocab_size": 60, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32,
                    "pad_token_id": 1}),
    ("Electra", _TEXT | {"embedding_size": 8}),
    ("Ernie", _TEXT),
    ("Esm", _TEXT | {"mask_token_id": 4}),
    ("Falcon", _TEXT),
    ("Flaubert", _XLM),
    ("FNet", _TEXT),
    ("Funnel", {"vocab_size": 60, "block_sizes": [1, 1], "d_model": 16, "n_head": 2, "d_head": 8,
                "d_inner": 32, "pad_token_id": 1}),
    ("Gemma", _DECODER | {"head_dim": 8}),
    ("Gemma2", _DECODER | {"head_dim": 8}),
    ("Glm", _DECODER | {"head_dim": 8}),
    ("GPT2", _GPT),
    ("GPTBigCode", _GPT),
    ("GPTNeo", _TEXT | {"num_layers": 2, "num_heads": 2, "attention_types": [[["global"], 2]]}),
    ("GPTNeoX", _TEXT),
    ("GPTJ", _GPT | {"rotary_dim": 4}),
    ("IBert", _TEXT),
    ("LayoutLM", _TEXT),
    ("Llama", _DECODER),
    ("Longformer", _TEXT | {"attention_window": 8, "sep_token_id": 2}),
    ("MBart", _BART),
    ("MegatronBert", _TEXT),
    ("Mistral", _DECODER),
    ("Mixtral", _MOE),
    ("MobileBert", _TEXT | {"embedding_size": 16, "intra_bottleneck_size": 16,
                            "true_hidden_size": 16}),
    ("ModernBert", _TEXT | {"cls_token_id": 0, "sep_token_id": 2}),
    ("MPNet", _TEXT),
    ("Mpt", {"vocab_size": 60, "d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 32,
             "pad_token_id": 1}),
    ("MT5", _T5),
    ("Nemotron", _DECODER),
    ("Nystromformer", _TEXT | {"segment_means_seq_len": 8, "num_landmarks": 8}),
    ("Olmo2", _DECODER),
    ("OpenAIGPT", _GPT),
    ("OPT", _TEXT | {"ffn_dim": 32, "word_embed_proj_dim": 16}),
    ("Phi", _DECODER),
    ("Phi3", _DECODER),
    ("Qwen2", _DECODER),
    ("Qwen2Moe", _DECODER | {"moe_intermediate_size": 16, "num_experts": 2,
                             "shared_expert_intermediate_size": 16, "num_experts_per_tok": 1}),
    ("Qwen3", _DECODER | {"head_dim": 8}),
    ("RemBert", _TEXT | {"input_embedding_size": 8, "output_embedding_size": 8}),
    ("Roberta", _TEXT),
    ("RoFormer", _TEXT | {"embedding_size": 16}),
    ("SqueezeBert", _TEXT | {"embedding_size": 16, "q_groups": 2, "k_groups": 2, "v_groups": 2,
                             "intermediate_groups": 2, "output_groups": 2,
                             "post_attention_groups": 1}),
    ("StableLm", _DECODER),
    ("Starcoder2", _DECODER),
    ("T5", _T5),
    ("XLM", _XLM),
    ("XLMRoberta", _TEXT),
    ("XLNet", {"vocab_size": 60, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32,
               "pad_token_id": 1}),
]  # fmt: skip
"""Name of the family, and what makes it small; in some libraries of old they are not there."""

_SMALL = _BASE | {"image_size": 32, "patch_size": 8}
_CONVOLUTIONS = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
_WINDOWS = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1],
            "num_heads": [2, 2], "window_size": 4}  # fmt: skip
_STAGES = {"num_encoder_blocks": 2, "depths": [1, 1], "hidden_sizes": [8, 16],
           "num_attention_heads": [1, 2], "sr_ratios": [2, 1]}  # fmt: skip

_IMAGES: list[tuple[str, dict[str, Any], int]] = [
    ("Beit", _SMALL, 32),
    ("Bit", _CONVOLUTIONS | {"embedding_size": 32, "hidden_sizes": [32, 64],
                             "num_groups": 4}, 32),
    ("ConvNext", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}, 32),
    ("ConvNextV2", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}, 32),
    ("Cvt", {"embed_dim": [16, 16, 32], "depth": [1, 2, 3], "num_heads": [1, 1, 2]}, 32),
    ("Data2VecVision", _SMALL, 32),
    ("DeiT", _SMALL, 32),
    ("Dinov2", _SMALL, 32),
    ("EfficientNet", {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320,
                      "image_size": 32}, 32),
    ("FocalNet", _WINDOWS | {"hidden_sizes": [16, 32], "focal_levels": [2, 2],
                             "focal_windows": [3, 3]}, 32),
    ("Hiera", {"embed_dim": 8, "image_size": [32, 32], "depths": [1, 1], "num_heads": [1, 2],
               "query_stride": [2, 2], "masked_unit_size": [4, 4], "num_query_pool": 1}, 32),
    ("Levit", {"image_size": 64, "hidden_sizes": [16, 32, 48], "num_attention_heads": [2, 2, 2],
               "depths": [1, 1, 1], "key_dim": [8, 8, 8]}, 64),
    ("MobileNetV1", {"depth_multiplier": 0.25, "min_depth": 4}, 32),
    ("MobileNetV2", {"depth_multiplier": 0.25, "finegrained_output": False}, 32),
    ("MobileViT", {"image_size": 32, "hidden_sizes": [16, 16, 16],
                   "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16]}, 32),
    ("PoolFormer", {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}, 32),
    ("Pvt", _STAGES | {"image_size": 32, "num_encoder_blocks": 4, "depths": [1, 1, 1, 1],
                       "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2],
                       "sequence_reduction_ratios": [2, 2, 1, 1]}, 32),
    ("RegNet", _CONVOLUTIONS | {"groups_width": 8}, 32),
    ("ResNet", _CONVOLUTIONS, 32),
    ("Segformer", _STAGES | {"num_encoder_blocks": 2, "decoder_hidden_size": 16,
                             "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2]}, 32),
    ("SwiftFormer", {"image_size": 32, "depths": [1, 1, 1, 1], "embed_dims": [8, 16, 24, 32]}, 32),
    ("Swin", _WINDOWS, 32),
    ("Swinv2", _WINDOWS, 32),
    ("ViT", _SMALL, 32),
    ("ViTMSN", _SMALL, 32),
]  # fmt: skip

_WAVES = _BASE | {
    "conv_dim": (8, 8), "conv_stride": (4, 4), "conv_kernel": (8, 4), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8,
    "vocab_size": 32,
}  # fmt: skip
_SOUNDS: list[tuple[str, dict[str, Any]]] = [
    ("Data2VecAudio", _WAVES | {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 3}),
    ("Hubert", _WAVES),
    ("SEW", _WAVES | {"squeeze_factor": 2}),
    ("UniSpeech", _WAVES),
    ("Wav2Vec2", _WAVES),
    ("Wav2Vec2Conformer", _WAVES),
    ("WavLM", _WAVES),
]


def _built(family: str, task: str, options: dict[str, Any]) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{family}Config")(num_labels=CLASSES, **options)
    network = spread(getattr(transformers, f"{family}For{task}Classification")(config))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):  # or nothing would come through a deep one
            nn.init.kaiming_normal_(module.weight)
    return network


def _clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPForImageClassification

    text = _TEXT | {"projection_dim": 16}
    config = CLIPConfig(text_config=text, vision_config=_SMALL | {"projection_dim": 16})
    config.num_labels = CLASSES
    return CLIPForImageClassification(config)


def _siglip() -> nn.Module:
    from transformers import SiglipConfig, SiglipForImageClassification

    config = SiglipConfig(text_config=_TEXT, vision_config=_SMALL)
    config.num_labels = CLASSES
    return SiglipForImageClassification(config)


def _timm() -> nn.Module:
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    config = TimmWrapperConfig(architecture="test_resnet", num_labels=CLASSES)
    return TimmWrapperForImageClassification(config)


def _ended(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Texts that end with their last token, as some heads read only what stands there."""
    ids_NT = torch.randint(3, 50, (n, 8), generator=generator)
    ids_NT[:, -1] = 2
    return {"input_ids": ids_NT, "attention_mask": torch.ones_like(ids_NT)}


_TO_THE_END = {"Bart", "MBart", "T5", "MT5"}
_AST = _BASE | {"max_length": 32, "num_mel_bins": 16, "patch_size": 8, "frequency_stride": 8}
_WHISPER = _LAYERS | {"num_mel_bins": 16, "max_source_positions": 16, "pad_token_id": 1}
_VIDEO = _SMALL | {"num_frames": 4, "tubelet_size": 2}
_CLIP = named("pixel_values", noise(4, 3, 32, 32))


def _family(name: str, task: str, options: dict[str, Any], inputs: Any) -> Family:
    return Family(LIBRARY, name, functools.partial(_built, name, task, options), inputs)


FAMILIES = [
    *(
        _family(name, "Sequence", options, _ended if name in _TO_THE_END else tokens())
        for name, options in _TEXTS
    ),
    *(
        _family(name, "Image", options, named("pixel_values", images(side)))
        for name, options, side in _IMAGES
    ),
    Family(LIBRARY, "CLIP", _clip, named("pixel_values", images(32))),
    Family(LIBRARY, "TimmWrapper", _timm, named("pixel_values", images(32))),
    Family(LIBRARY, "SigLIP", _siglip, named("pixel_values", images(32))),
    _family("Timesformer", "Video", _VIDEO, _CLIP),
    _family("VideoMAE", "Video", _VIDEO, _CLIP),
    _family("Vivit", "Video", _VIDEO | {"tubelet_size": [2, 8, 8]}, _CLIP),
    *(
        _family(name, "Sequence", options, named("input_values", noise(400)))
        for name, options in _SOUNDS
    ),
    _family("AST", "Audio", _AST, named("input_values", noise(32, 16))),
    _family("Whisper", "Audio", _WHISPER, named("input_features", noise(16, 32))),
]
