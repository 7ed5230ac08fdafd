"""timm's families: one of every file of `timm.models` that can be made small."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import torch
from torch import nn

from families.family import CLASSES, Family, images, spread

LIBRARY = "timm"


def _built(family: str, name: str, options: dict[str, Any]) -> nn.Module:
    """A registered network, or a class of the family's file."""
    import timm

    options = {"num_classes": CLASSES} | options
    stages = options.pop("cut", None)
    if timm.is_model(name):
        return spread(_cut(timm.create_model(name, **options), stages))
    file = importlib.import_module(f"timm.models.{family}")
    blocks = {
        key: getattr(file, options[key]) for key in ("block", "token_mixers") if key in options
    }
    return spread(getattr(file, name)(**(options | blocks)))


@torch.no_grad()
def _cut(network: Any, stages: tuple[str, int] | None) -> nn.Module:
    """With the first of its stages alone, and a head of their width."""
    if stages is None:
        return network
    where, kept = stages
    setattr(network, where, getattr(network, where)[:kept])
    width = network.eval().forward_features(torch.zeros(1, 3, 64, 64)).shape[1]
    network.num_features = network.head_hidden_size = width
    network.reset_classifier(CLASSES)
    return network


_ROWS: list[tuple[str, str, dict[str, Any], int]] = [
    (
        "beit",
        "beit_base_patch16_224",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    ("byoanet", "eca_botnext26ts_256", {"cut": ("stages", 1)}, 32),
    ("byobnet", "test_byobnet", {"img_size": 32}, 32),
    ("cait", "cait_xxs24_224", {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32}, 32),
    (
        "coat",
        "coat_tiny",
        {
            "embed_dims": (16, 16, 16, 16),
            "serial_depths": (1, 1, 1, 1),
            "parallel_depth": 1,
            "img_size": 32,
        },
        32,
    ),
    ("convit", "convit_tiny", {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32}, 32),
    ("convmixer", "ConvMixer", {"dim": 16, "depth": 2}, 32),
    ("convnext", "test_convnext", {"depths": (1, 1, 1, 1), "dims": (16, 32, 48, 64)}, 32),
    (
        "cpubone",
        "CPUBone",
        {"width_list": (8, 8, 16, 16, 32), "depth_list": (1, 1, 1, 1, 1), "head_widths": (16, 16)},
        32,
    ),
    (
        "crossvit",
        "crossvit_tiny_240",
        {"depth": ((1, 1, 0),), "embed_dim": (16, 32), "num_heads": (2, 2)},
        240,
    ),
    ("csatv2", "csatv2", {"depths": (1, 1), "dims": (64, 64, 64, 64)}, 32),
    ("cspnet", "cs3darknet_focus_s", {}, 32),
    ("cspnext", "cspnext_tiny", {"depths": (1, 1, 1, 1), "channels": (16, 32, 48, 64)}, 32),
    ("davit", "davit_tiny", {"depths": (1, 1), "embed_dims": (16, 32), "num_heads": (1, 2)}, 32),
    (
        "deepseek_vit",
        "deepseek_vit_412m",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 224},
        224,
    ),
    (
        "deit",
        "deit_tiny_distilled_patch16_224",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    ("densenet", "densenet121", {"cut": ("features", 5)}, 32),
    ("dla", "dla34", {"levels": (1, 1, 1, 1, 1, 1), "channels": (8, 8, 8, 16, 16, 16)}, 32),
    ("dpn", "dpn48b", {"cut": ("features", 3)}, 32),
    ("edgenext", "edgenext_xx_small", {"depths": (1, 1, 1, 1), "dims": (16, 32, 48, 64)}, 32),
    (
        "efficientformer",
        "efficientformer_l1",
        {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "img_size": 224},
        224,
    ),
    (
        "efficientformer_v2",
        "efficientformerv2_s0",
        {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "img_size": 32},
        32,
    ),
    ("efficientnet", "test_efficientnet", {}, 32),
    ("efficientvim", "efficientvim_m1", {"depths": (1, 1, 1), "embed_dim": (32, 48, 64)}, 32),
    (
        "efficientvit_mit",
        "efficientvit_b0",
        {"head_widths": (16, 16), "depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16, 16)},
        32,
    ),
    (
        "efficientvit_msra",
        "efficientvit_m0",
        {"embed_dim": (16, 32, 48), "depth": (1, 1, 1), "num_heads": (1, 2, 2), "img_size": 32},
        32,
    ),
    (
        "eva",
        "eva02_tiny_patch14_224",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    ("fasternet", "fasternet_t0", {"depths": (1, 1, 1, 1), "embed_dim": 8, "feature_dim": 32}, 32),
    ("fastvit", "fastvit_t8", {"layers": (1, 1, 1, 1), "embed_dims": (64, 64, 64, 64)}, 32),
    (
        "focalnet",
        "FocalNet",
        {"embed_dim": 16, "depths": (1, 1), "focal_levels": (2, 2), "focal_windows": (3, 3)},
        32,
    ),
    ("gcvit", "gcvit_xxtiny", {"img_size": 32}, 32),
    ("ghostnet", "ghostnet_050", {}, 32),
    ("hardcorenas", "hardcorenas_a", {}, 32),
    (
        "hiera",
        "hiera_tiny_224",
        {"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 1, 1), "img_size": 32},
        32,
    ),
    (
        "hieradet_sam2",
        "sam2_hiera_tiny",
        {"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 1, 1), "global_att_blocks": ()},
        32,
    ),
    ("iformer", "iformer_t", {"dims": (16, 32, 48, 64)}, 32),
    ("inception_next", "inception_next_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}, 32),
    ("inception_v4", "inception_v4", {"cut": ("features", 4)}, 64),
    ("lcnetv2", "LCNetV2", {"scale": 0.1, "depths": (1, 1, 1, 1), "head_hidden_size": 32}, 32),
    ("levit", "levit_128s", {"embed_dim": (32, 48, 64), "num_heads": 2, "img_size": 32}, 32),
    (
        "lowformer",
        "LowFormer",
        {"width_list": (8, 8, 16, 16, 32), "depth_list": (1, 1, 1, 1, 1), "head_widths": (16, 16)},
        32,
    ),
    ("mambaout", "test_mambaout", {"depths": (1, 1, 1, 1), "dims": (16, 32, 48, 64)}, 32),
    ("maxxvit", "test_coatnet", {"img_size": 32}, 32),
    (
        "metaformer",
        "MetaFormer",
        {"depths": (1, 1), "dims": (16, 32), "token_mixers": "Pooling"},
        32,
    ),
    ("mlp_mixer", "MlpMixer", {"num_blocks": 2, "embed_dim": 16, "img_size": 32}, 32),
    ("mobilenetv3", "lcnet_035", {}, 32),
    ("mobilevit", "mobilevit_xxs", {"img_size": 32}, 32),
    ("mvitv2", "mvitv2_tiny", {"img_size": 32}, 32),
    (
        "nest",
        "Nest",
        {
            "img_size": 32,
            "patch_size": 4,
            "num_levels": 2,
            "embed_dims": (16, 32),
            "num_heads": (1, 2),
            "depths": (1, 1),
        },
        32,
    ),
    (
        "nextvit",
        "NextViT",
        {"in_chans": 3, "stem_chs": (8, 8, 8), "depths": (1, 1, 5, 1), "drop_path_rate": 0.0},
        32,
    ),
    ("nfnet", "test_nfnet", {}, 32),
    (
        "pit",
        "pit_ti_224",
        {"base_dims": (8, 8, 8), "depth": (1, 1, 1), "heads": (1, 2, 2), "img_size": 32},
        32,
    ),
    (
        "pvt_v2",
        "pvt_v2_b0",
        {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 2, 2)},
        32,
    ),
    (
        "qwen3_vit",
        "qwen3_vit_88m",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    ("rdnet", "rdnet_tiny", {"num_blocks_list": (1, 1, 1, 1, 1, 1, 1)}, 32),
    ("regnet", "regnetx_002", {}, 32),
    ("repghost", "repghostnet_050", {}, 32),
    ("repvit", "repvit_m1", {"embed_dim": (16, 32, 48, 64), "img_size": 32}, 32),
    ("res2net", "res2net50_14w_8s", {"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 64)}, 32),
    ("resnest", "resnest14d", {"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 64)}, 32),
    ("resnet", "test_resnet", {"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 64)}, 32),
    ("resnetv2", "resnetv2_18", {"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 64)}, 32),
    ("rexnet", "rexnet_100", {"cut": ("features", 6)}, 32),
    ("selecsls", "selecsls42", {}, 32),
    (
        "senet",
        "SENet",
        {
            "block": "SEResNetBlock",
            "layers": (1, 1, 1, 1),
            "groups": 1,
            "reduction": 4,
            "inplanes": 8,
        },
        32,
    ),
    (
        "sequencer",
        "sequencer2d_s",
        {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "img_size": 32},
        32,
    ),
    (
        "shvit",
        "shvit_s1",
        {"depth": (1, 1, 1), "embed_dim": (16, 32, 48), "partial_dim": (4, 8, 12)},
        32,
    ),
    ("sknet", "skresnet18", {"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 64)}, 32),
    ("starnet", "starnet_s1", {"depths": (1, 1, 1, 1), "base_dim": 8}, 32),
    (
        "swiftformer",
        "swiftformer_xs",
        {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "img_size": 32},
        32,
    ),
    (
        "swin_transformer",
        "swin_tiny_patch4_window7_224",
        {"depths": (1, 1, 1, 1), "embed_dim": 16, "num_heads": (1, 2, 2, 2), "img_size": 32},
        32,
    ),
    (
        "swin_transformer_v2",
        "swinv2_tiny_window8_256",
        {"depths": (1, 1, 1, 1), "embed_dim": 16, "num_heads": (1, 2, 2, 2), "img_size": 32},
        32,
    ),
    (
        "swin_transformer_v2_cr",
        "swinv2_cr_tiny_224",
        {"depths": (1, 1, 1, 1), "embed_dim": 16, "num_heads": (1, 2, 2, 2), "img_size": 32},
        32,
    ),
    (
        "tiny_vit",
        "tiny_vit_5m_224",
        {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 2, 2)},
        32,
    ),
    ("tnt", "tnt_s_legacy_patch16_224", {"depth": 1, "embed_dim": 48, "img_size": 32}, 32),
    ("tresnet", "tresnet_m", {"cut": ("body", 2)}, 32),
    (
        "twins",
        "twins_svt_small",
        {
            "depths": (1, 1, 1, 1),
            "embed_dims": (16, 32, 48, 64),
            "num_heads": (1, 2, 2, 2),
            "img_size": 32,
        },
        32,
    ),
    (
        "visformer",
        "visformer_tiny",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    (
        "vision_transformer",
        "test_vit",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    (
        "vision_transformer_hybrid",
        "vit_tiny_r_s16_p8_224",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    (
        "vision_transformer_relpos",
        "test_vit_relpos",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    (
        "vision_transformer_sam",
        "samvit_base_patch16_224",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
    ("vitamin", "vitamin_small_224", {"depth": 1, "img_size": 32}, 32),
    (
        "volo",
        "VOLO",
        {
            "layers": (1, 1, 1, 1),
            "img_size": 32,
            "embed_dims": (16, 32, 32, 32),
            "num_heads": (1, 2, 2, 2),
            "downsamples": (True, False, False, False),
            "outlook_attention": (True, False, False, False),
            "post_layers": ("ca", "ca"),
        },
        32,
    ),
    ("vovnet", "ese_vovnet19b_slim_dw", {"cut": ("stages", 2)}, 32),
    ("xception_aligned", "xception41p", {"cut": ("blocks", 2)}, 32),
    (
        "xcit",
        "xcit_nano_12_p8_224",
        {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32},
        32,
    ),
]
"""File of `timm.models`, name of the network there, what makes it small, and side of its images."""

FAMILIES = [
    Family(LIBRARY, family, partial(_built, family, name, options), images(side))
    for family, name, options, side in _ROWS
]
