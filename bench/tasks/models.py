"""Models by name: small ones defined here, and every classification model of torchvision.

A new model is an entry of MODELS; the name of one with an embedding is also in `optimizers.EMBEDDED`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError

# 235,000 parameters: about 1 ms per step of 64 digits on two cores.
MLP_WIDTHS = (448, 448)
CNN_CHANNELS = (32, 64)
# 70,000 weights in an embedding, whose gradients may be sparse, and 5,000 in matrices and biases.
EMBEDDING_WIDTH = 64
GREYS = 17  # levels of a pixel of the digits


def build(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The model of this name for inputs of this shape, with fresh random weights.

    Raises UsageError for an unknown name, and for a model that cannot take such inputs.
    """
    is_text = len(shape) == 1
    if is_text != (name == "transformer"):
        raise UsageError(
            f"model {name!r} does not fit the data: 'transformer' reads text, every other model reads images"
        )
    if name in MODELS:
        return MODELS[name](shape, classes)
    return from_torchvision(name, shape, classes)


def mlp(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A multi-layer perceptron on the flattened image."""
    size, layers = torch.Size(shape).numel(), nn.ModuleList([nn.Flatten()])
    for width in MLP_WIDTHS:
        layers.extend([nn.Linear(size, width), nn.ReLU()])
        size = width
    return nn.Sequential(*layers, nn.Linear(size, classes))


def cnn(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Two convolutions with batch norm, pooled to one value a channel."""
    channels, layers = shape[0], []
    for width in CNN_CHANNELS:
        layers += [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class EmbeddingMLP(nn.Module):
    """A perceptron on the sum of embeddings, one for each pixel and grey level.

    It has every kind of parameter that optimizers distinguish: an embedding, matrices of hidden layers, and biases.
    """

    first: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = EMBEDDING_WIDTH) -> None:
        super().__init__()
        pixels = torch.Size(shape).numel()
        self.embedding = nn.EmbeddingBag(pixels * GREYS, width, mode="sum")
        nn.init.normal_(self.embedding.weight, std=pixels**-0.5)  # for a sum with variance one
        self.layers = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))
        self.register_buffer("first", torch.arange(pixels) * GREYS, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        greys = (images.flatten(1) * (GREYS - 1)).round().clamp(0, GREYS - 1).long()
        scores: Tensor = self.layers(self.embedding(greys + self.first))
        return scores


class Transformer(nn.Module):
    """A small causal transformer over characters.

    It maps codes of shape (batch, length) to scores of shape (batch, characters, length): the classes are dimension 1,
    as cross-entropy expects.
    """

    def __init__(
        self, characters: int, length: int, width: int = 64, heads: int = 4, layers: int = 2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, characters)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length), persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        hidden = self.embedding(codes) + self.position
        hidden = self.blocks(hidden, mask=self.mask, is_causal=True)
        scores: Tensor = self.head(hidden)
        return scores.transpose(1, 2)


def reduced_vit(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Torchvision's vision transformer with the layout of vit_b_16, a third of its depth and width."""
    from torchvision.models import VisionTransformer

    check_images("vit_b_16_reduced", shape)
    model: nn.Module = VisionTransformer(
        image_size=shape[1],
        patch_size=16,
        num_layers=4,
        num_heads=4,
        hidden_dim=256,
        mlp_dim=1024,
        num_classes=classes,
    )
    return model


def from_torchvision(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A classification model of torchvision by name."""
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, [*MODELS, *known], n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "and any classification model of torchvision"
        raise UsageError(f"unknown model {name!r}; there are {', '.join(MODELS)}; {hint}")
    check_images(name, shape)
    options: dict[str, Any] = {}
    if name.startswith("vit_"):
        options["image_size"] = shape[1]
    if name in ("googlenet", "inception_v3"):
        # Auxiliary heads make the outputs a tuple, and their own initialisation takes half a minute.
        options |= {"aux_logits": False, "init_weights": False}
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    return model


def check_images(name: str, shape: tuple[int, ...]) -> None:
    """Raises UsageError if images do not fit: torchvision's models need three channels, its vision transformers whole
    patches.
    """
    channels, height, _ = shape
    if channels != 3:
        raise UsageError(
            f"model {name!r} takes images of 3 channels, the data has {channels}; choose mlp or cnn, "
            f"or dataset fake-images or cifar10"
        )
    patch = int(name.split("_")[2]) if name.startswith("vit_") else 1  # vit_b_16: patches of 16 pixels
    if height % patch:
        raise UsageError(
            f"model {name!r} takes images of a multiple of {patch} pixels, the data has {height}; "
            f"choose another image_size or model"
        )


MODELS: Mapping[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "embedding-mlp": EmbeddingMLP,
    "transformer": lambda shape, characters: Transformer(characters, length=shape[0]),
    "vit_b_16_reduced": reduced_vit,
}
