"""timm's families: one of every file of `timm.models` that can be made small."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from families.family import CLASSES, Family, images, spread

LIBRARY = "timm"


def _built(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    return spread(timm.create_model(name, num_classes=CLASSES, **options))


_ROWS: list[tuple[str, str, dict[str, Any], int]] = [
    ("beit", "beit_base_patch16_224", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("byoanet", "eca_botnext26ts_256", {'img_size': 32}, 32),
    ("byobnet", "test_byobnet", {'img_size': 32}, 32),
    ("cait", "cait_xxs24_224", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("coat", "coat_tiny", {'embed_dims': (64, 64, 64, 64), 'img_size': 32}, 32),
    ("convit", "convit_tiny", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("convmixer", "convmixer_768_32", {}, 32),
    ("convnext", "test_convnext", {'depths': (1, 1, 1, 1), 'dims': (16, 32, 48, 64)}, 32),
    ("cpubone", "cpubone_nano", {}, 32),
    ("csatv2", "csatv2", {'depths': (1, 1), 'dims': (64, 64, 64, 64)}, 32),
    ("cspnet", "cs3darknet_focus_s", {}, 32),
    ("cspnext", "cspnext_tiny", {'depths': (1, 1, 1, 1), 'channels': (16, 32, 48, 64)}, 32),
    ("davit", "davit_tiny", {'depths': (1, 1, 1, 1), 'embed_dims': (16, 32, 48, 64), 'num_heads': (1, 2, 2, 2)}, 32),
    ("deepseek_vit", "deepseek_vit_412m", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 224}, 224),
    ("deit", "deit_tiny_distilled_patch16_224", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("densenet", "densenet121", {}, 32),
    ("dla", "dla46_c", {}, 32),
    ("dpn", "dpn48b", {}, 32),
    ("edgenext", "edgenext_xx_small", {'depths': (1, 1, 1, 1), 'dims': (16, 32, 48, 64)}, 32),
    ("efficientformer", "efficientformer_l1", {'depths': (1, 1, 1, 1), 'embed_dims': (16, 32, 48, 64), 'img_size': 224}, 224),
    ("efficientformer_v2", "efficientformerv2_s0", {'depths': (1, 1, 1, 1), 'embed_dims': (16, 32, 48, 64), 'img_size': 32}, 32),
    ("efficientnet", "test_efficientnet", {}, 32),
    ("efficientvim", "efficientvim_m1", {'depths': (1, 1, 1), 'embed_dim': (32, 48, 64)}, 32),
    ("efficientvit_mit", "efficientvit_b0", {'depths': (1, 1, 1, 1), 'widths': (16, 32, 48, 64)}, 32),
    ("efficientvit_msra", "efficientvit_m0", {'embed_dim': (32, 48, 64), 'num_heads': (1, 2, 2, 2), 'img_size': 32}, 32),
    ("eva", "eva02_tiny_patch14_224", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("fasternet", "fasternet_t0", {'depths': (1, 1, 1, 1), 'embed_dim': 16}, 32),
    ("fastvit", "fastvit_t8", {'layers': (1, 1, 1, 1), 'embed_dims': (64, 64, 64, 64)}, 32),
    ("focalnet", "focalnet_tiny_srf", {}, 32),
    ("gcvit", "gcvit_xxtiny", {'img_size': 32}, 32),
    ("ghostnet", "ghostnet_050", {}, 32),
    ("hardcorenas", "hardcorenas_a", {}, 32),
    ("hgnet", "hgnetv2_b0", {}, 32),
    ("hiera", "hiera_tiny_224", {'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("hieradet_sam2", "sam2_hiera_tiny", {'embed_dim': 16, 'num_heads': 2}, 32),
    ("hrnet", "hrnet_w18_small", {}, 32),
    ("iformer", "iformer_t", {'dims': (16, 32, 48, 64)}, 32),
    ("inception_next", "inception_next_atto", {'depths': (1, 1, 1, 1), 'dims': (16, 32, 48, 64)}, 32),
    ("inception_resnet_v2", "inception_resnet_v2", {}, 128),
    ("inception_v3", "inception_v3", {}, 128),
    ("inception_v4", "inception_v4", {}, 128),
    ("lcnetv2", "lcnetv2_small", {'depths': (1, 1, 1, 1)}, 32),
    ("levit", "levit_128s", {'embed_dim': (32, 48, 64), 'num_heads': 2, 'img_size': 32}, 32),
    ("lowformer", "lowformer_b0", {}, 32),
    ("mambaout", "test_mambaout", {'depths': (1, 1, 1, 1), 'dims': (16, 32, 48, 64)}, 32),
    ("maxxvit", "test_coatnet", {'img_size': 32}, 32),
    ("metaformer", "caformer_s18", {}, 32),
    ("mlp_mixer", "gmlp_ti16_224", {'img_size': 32}, 32),
    ("mobilenetv3", "lcnet_035", {}, 32),
    ("mobilevit", "mobilevit_xxs", {'img_size': 32}, 32),
    ("mvitv2", "mvitv2_tiny", {'img_size': 32}, 32),
    ("nest", "nest_tiny", {'img_size': 32}, 32),
    ("nextvit", "nextvit_small", {}, 32),
    ("nfnet", "test_nfnet", {}, 32),
    ("pit", "pit_ti_224", {'base_dims': (64, 64, 64, 64), 'img_size': 32}, 32),
    ("pvt_v2", "pvt_v2_b0", {'depths': (1, 1, 1, 1), 'embed_dims': (16, 32, 48, 64), 'num_heads': (1, 2, 2, 2)}, 32),
    ("qwen3_vit", "qwen3_vit_88m", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("rdnet", "rdnet_tiny", {}, 32),
    ("regnet", "regnetx_002", {}, 32),
    ("repghost", "repghostnet_050", {}, 32),
    ("repvit", "repvit_m1", {'embed_dim': (16, 32, 48, 64), 'img_size': 32}, 32),
    ("res2net", "res2net50_14w_8s", {'layers': (1, 1, 1, 1), 'channels': (16, 32, 48, 64)}, 32),
    ("resnest", "resnest14d", {'layers': (1, 1, 1, 1), 'channels': (16, 32, 48, 64)}, 32),
    ("resnet", "test_resnet", {'layers': (1, 1, 1, 1), 'channels': (16, 32, 48, 64)}, 32),
    ("resnetv2", "resnetv2_18", {'layers': (1, 1, 1, 1), 'channels': (16, 32, 48, 64)}, 32),
    ("rexnet", "rexnet_100", {}, 32),
    ("selecsls", "selecsls42", {}, 32),
    ("senet", "legacy_seresnet18", {'layers': (1, 1, 1, 1)}, 32),
    ("sequencer", "sequencer2d_s", {'layers': (1, 1, 1, 1), 'embed_dims': (16, 32, 48, 64), 'img_size': 32}, 32),
    ("shvit", "shvit_s1", {}, 32),
    ("sknet", "skresnet18", {'layers': (1, 1, 1, 1), 'channels': (16, 32, 48, 64)}, 32),
    ("starnet", "starnet_s1", {'depths': (1, 1, 1, 1)}, 32),
    ("swiftformer", "swiftformer_xs", {'layers': (1, 1, 1, 1), 'embed_dims': (16, 32, 48, 64), 'img_size': 32}, 32),
    ("swin_transformer", "swin_tiny_patch4_window7_224", {'depths': (1, 1, 1, 1), 'embed_dim': 16, 'num_heads': (1, 2, 2, 2), 'img_size': 32}, 32),
    ("swin_transformer_v2", "swinv2_tiny_window8_256", {'depths': (1, 1, 1, 1), 'embed_dim': 16, 'num_heads': (1, 2, 2, 2), 'img_size': 32}, 32),
    ("swin_transformer_v2_cr", "swinv2_cr_tiny_224", {'depths': (1, 1, 1, 1), 'embed_dim': 16, 'num_heads': (1, 2, 2, 2), 'img_size': 32}, 32),
    ("tiny_vit", "tiny_vit_5m_224", {'depths': (1, 1, 1, 1), 'embed_dims': (16, 32, 48, 64), 'num_heads': (1, 2, 2, 2)}, 32),
    ("tnt", "tnt_s_legacy_patch16_224", {'depth': 1, 'embed_dim': 48, 'img_size': 32}, 32),
    ("tresnet", "tresnet_m", {'layers': (1, 1, 1, 1)}, 32),
    ("twins", "twins_svt_small", {'depths': (1, 1, 1, 1), 'embed_dims': (16, 32, 48, 64), 'num_heads': (1, 2, 2, 2), 'img_size': 32}, 32),
    ("visformer", "visformer_tiny", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("vision_transformer", "test_vit", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("vision_transformer_hybrid", "vit_tiny_r_s16_p8_224", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("vision_transformer_relpos", "test_vit_relpos", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("vision_transformer_sam", "samvit_base_patch16_224", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
    ("vitamin", "vitamin_small_224", {'depth': 1, 'img_size': 32}, 32),
    ("volo", "volo_d1_224", {'img_size': 32}, 32),
    ("vovnet", "ese_vovnet19b_slim_dw", {}, 32),
    ("xception", "legacy_xception", {}, 32),
    ("xception_aligned", "xception41p", {}, 32),
    ("xcit", "xcit_nano_12_p8_224", {'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'img_size': 32}, 32),
]
"""File of `timm.models`, name of the network there, what makes it small, and side of its images."""

FAMILIES = [
    Family(LIBRARY, family, partial(_built, name, options), images(side))
    for family, name, options, side in _ROWS
]
