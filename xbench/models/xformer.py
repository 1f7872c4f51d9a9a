"""XFormer: a light CNN–ViT hybrid whose attention is an argument.

Paper: "Lightweight Vision Transformer with Cross Feature Attention", Zhao et al., arXiv 2207.07268. The paper gives
channels, widths and the total of parameters; the depth of each stage, the block frame and the head are reconstructed
from MobileViT (arXiv 2110.02178) and checked against that total (5.5 M stated, 5.48 M here).
"""

import math

from torch import Tensor, nn

from xbench.attention.spec import AttentionSpec, parse_attention
from xbench.errors import UserError
from xbench.models.layers import AttentionLike, ConvNormAct, MV3Block, XFBlock
from xbench.models.sizes import find_size

STEM_CHANNELS = 16


class XFormer(nn.Module):
    """XFormer classifier: [B, in_chans, H, W] → [B, num_classes], for any H and W of at least 32.

    Args:
        attn: the attention of every XF layer: a spec string such as "xfa:rank=4", or a class.
        size: "s" (the paper's), "xs" or "xxs"; "s:se=0" is without squeeze-and-excitation.
        patch_size: side p of the patches whose equal positions attend to one another.
        num_heads: heads of every attention.
        num_classes: outputs of the classifier; 0 leaves the pooled features.
        in_chans: channels of the image.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last stage; earlier ones grow to it linearly.

    Raises:
        UserError: unknown size or attention, a patch size below 1, or widths that the attention refuses.
    """

    def __init__(
        self,
        attn: AttentionLike = "xfa",
        *,
        size: str = "s",
        patch_size: int = 2,
        num_heads: int = 4,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        widths = find_size(size)
        if not isinstance(patch_size, int) or patch_size < 1:
            raise UserError(f"patch size must be a whole number of at least 1, not {patch_size}.")
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = widths.head
        self.feature_info: list[dict[str, str | int]] = []

        self.stem = ConvNormAct(in_chans, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.Sequential()
        spec = parse_attention(attn) if isinstance(attn, str) else attn
        with_attention = [i for i, stage in enumerate(widths.stages) if stage.depth]
        in_chs, reduction = STEM_CHANNELS, 2
        for i, stage in enumerate(widths.stages):
            drop_path = drop_path_rate * i / (len(widths.stages) - 1)
            blocks = nn.Sequential()
            for stride in (stage.stride, *[1] * (stage.repeats - 1)):
                blocks.append(
                    MV3Block(
                        in_chs,
                        stage.channels,
                        stride=stride,
                        exp_ratio=widths.exp_ratio,
                        drop_path=drop_path,
                        squeeze_excite=widths.squeeze_excite,
                    )
                )
                in_chs = stage.channels
            if stage.depth:
                if isinstance(spec, AttentionSpec):
                    attn = spec.at_stage(with_attention.index(i), len(with_attention))
                blocks.append(
                    XFBlock(
                        stage.channels,
                        embed_dim=stage.embed_dim,
                        depth=stage.depth,
                        attn=attn,
                        qkv_dim=widths.qkv_dim,
                        num_heads=num_heads,
                        mlp_ratio=stage.mlp_ratio,
                        patch_size=patch_size,
                        drop_path=drop_path,
                    )
                )
            self.stages.append(blocks)
            reduction *= stage.stride
            self.feature_info.append({"module": f"stages.{i}", "num_chs": stage.channels, "reduction": reduction})
        self.final_conv = ConvNormAct(in_chs, widths.head, 1)
        self.head = ClassifierHead(widths.head, num_classes, drop_rate)
        self.apply(init_weights)

    def forward_features(self, x: Tensor) -> Tensor:
        """[B, in_chans, H, W] → [B, head, ⌈H / 32⌉, ⌈W / 32⌉]."""
        return self.final_conv(self.stages(self.stem(x)))

    def forward_head(self, x: Tensor) -> Tensor:
        """[B, head, h, w] → [B, num_classes]."""
        return self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, in_chans, H, W]
        return self.forward_head(self.forward_features(x))


class ClassifierHead(nn.Module):
    """Average, dropout and a linear layer: [B, chs, h, w] → [B, num_classes], or [B, chs] without classes."""

    def __init__(self, chs: int, num_classes: int, drop_rate: float):
        super().__init__()
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(chs, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, chs, h, w]
        return self.fc(self.drop(x.mean(dim=(2, 3))))


def init_weights(module: nn.Module) -> None:
    """Convolutions by fan-out as timm does, linear layers by fan-in, the same for every attention.

    Linear layers by LeCun et al., "Efficient BackProp" (1998): deviation 1/√fan-in. The fixed 0.02 of larger
    transformers would leave queries and keys of 40 to 144 channels so short that attention long stays an average.

    A module with an ``init_weights()`` of its own has the last word on its children (``apply`` visits those first).
    """
    if isinstance(module, nn.Conv2d):
        fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    init_weights = getattr(module, "init_weights", None)
    if init_weights is not None:
        init_weights()
