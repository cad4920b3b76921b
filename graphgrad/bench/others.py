"""Models that nothing was tuned for: what the main table shows must hold for them too."""

from __future__ import annotations

from typing import Any

from graphgrad.bench.workload import Step, Workload, arrays, classifier, labels, seeded, trainer


def gru(t: Any, compile: Any) -> Step:
    """A GRU, 48 to 96 features, 32 steps of 20 sequences."""
    net = seeded(t, t.nn.GRU(48, 96))
    sequence, wanted = map(t.from_numpy, arrays((32, 20, 48), (32, 20, 96)))
    optimizer = t.optim.Adam(net.parameters(), lr=1e-3)
    return trainer(optimizer, lambda: t.nn.functional.mse_loss(net(sequence)[0], wanted), compile)


def separable(t: Any, compile: Any) -> Step:
    """12 images of 32×32."""
    net = seeded(t, separable_net(t))
    (images,) = map(t.from_numpy, arrays((12, 3, 32, 32)))
    optimizer = t.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return classifier(t, net, optimizer, images, t.from_numpy(labels(12, 20)), compile)


def separable_net(t: Any) -> Any:
    """Depthwise 3×3 convolutions, each followed by one of 1×1."""
    nn = t.nn

    def block(inner: int, outer: int, stride: int) -> list[Any]:
        return [
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, outer, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU6(),
        ]

    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1),
        *block(24, 48, 1), *block(48, 96, 2), *block(96, 96, 1), *block(96, 192, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, 20),
    )  # fmt: skip


def vit(t: Any, compile: Any) -> Step:
    """16 images of 32×32."""
    net = seeded(t, vit_net(t))
    (images,) = map(t.from_numpy, arrays((16, 3, 32, 32)))
    optimizer = t.optim.Adam(net.parameters(), lr=1e-3)
    return classifier(t, net, optimizer, images, t.from_numpy(labels(16, 10)), compile)


def vit_net(t: Any) -> Any:
    """A vision transformer: patches of 4×4, three layers of 96 features."""
    nn = t.nn

    class Vit(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 96, 4, stride=4)
            self.places = nn.Parameter(t.zeros(64, 96))
            self.layers = nn.Sequential(
                *(
                    nn.TransformerEncoderLayer(
                        96, 4, 192, 0.0, "gelu", batch_first=True, norm_first=True
                    )
                    for _ in range(3)
                )
            )
            self.head = nn.Linear(96, 10)

        def forward(self, images: Any) -> Any:
            x = self.patches(images).flatten(2).transpose(1, 2) + self.places
            return self.head(self.layers(x).mean(1))

    return Vit()


def unet(t: Any, compile: Any) -> Step:
    """6 images of 48×48, and others that they should become."""
    net = seeded(t, unet_net(t))
    images, wanted = map(t.from_numpy, arrays((6, 3, 48, 48), (6, 3, 48, 48)))
    optimizer = t.optim.Adam(net.parameters(), lr=1e-3)
    return trainer(optimizer, lambda: t.nn.functional.mse_loss(net(images), wanted), compile)


def unet_net(t: Any) -> Any:
    """A U-Net of two levels."""
    nn = t.nn

    def twice(inner: int, outer: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(inner, outer, 3, padding=1), nn.GroupNorm(4, outer), nn.SiLU(),
            nn.Conv2d(outer, outer, 3, padding=1), nn.GroupNorm(4, outer), nn.SiLU(),
        )  # fmt: skip

    class UNet(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2, self.bottom = twice(3, 16), twice(16, 32), twice(32, 64)
            self.rise2, self.up2 = nn.ConvTranspose2d(64, 32, 2, stride=2), twice(64, 32)
            self.rise1, self.up1 = nn.ConvTranspose2d(32, 16, 2, stride=2), twice(32, 16)
            self.last = nn.Conv2d(16, 3, 1)

        def forward(self, x: Any) -> Any:
            one = self.down1(x)
            two = self.down2(nn.functional.max_pool2d(one, 2))
            y = self.bottom(nn.functional.max_pool2d(two, 2))
            y = self.up2(t.cat([self.rise2(y), two], 1))
            y = self.up1(t.cat([self.rise1(y), one], 1))
            return self.last(y)

    return UNet()


def vae(t: Any, compile: Any) -> Step:
    """A variational autoencoder, 784-400-20; its noise is an input, equal for everybody."""
    functional = t.nn.functional
    encoder, decoder = net = seeded(t, vae_net(t))
    images, noise = map(t.from_numpy, arrays((96, 784), (96, 20)))
    images = t.sigmoid(images)
    optimizer = t.optim.Adam(net.parameters(), lr=1e-3)

    def loss() -> Any:
        mean, log_variance = encoder(images).chunk(2, dim=1)
        shown = decoder(mean + noise * t.exp(0.5 * log_variance))
        error = functional.binary_cross_entropy_with_logits(shown, images, reduction="sum")
        distance = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()
        return (error + distance) / 96

    return trainer(optimizer, loss, compile)


def vae_net(t: Any) -> Any:
    """The encoder and the decoder."""
    nn = t.nn
    encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))
    return nn.ModuleList([encoder, decoder])


def gradient_penalty(t: Any, compile: Any) -> Step:
    """A critic whose slope is held near 1: the loss contains a gradient."""
    net = seeded(t, critic_net(t))
    real, fake, between = map(t.from_numpy, arrays((80, 32), (80, 32), (80, 32)))
    between.requires_grad_()
    optimizer = t.optim.Adam(net.parameters(), lr=1e-3)

    def loss() -> Any:
        (slope,) = t.autograd.grad(net(between).sum(), between, create_graph=True)
        penalty = (slope.square().sum(1).sqrt() - 1).square().mean()
        return net(fake).mean() - net(real).mean() + 10 * penalty

    return trainer(optimizer, loss, compile)


def critic_net(t: Any) -> Any:
    """A smooth perceptron with one result."""
    nn = t.nn
    return nn.Sequential(
        nn.Linear(32, 96), nn.Tanh(), nn.Linear(96, 96), nn.Tanh(), nn.Linear(96, 1)
    )


OTHERS: tuple[Workload, ...] = (
    Workload("GRU 48→96", gru),
    Workload("depthwise convolutions", separable),
    Workload("small ViT", vit),
    Workload("small U-Net", unet),
    Workload("VAE", vae),
    # Its compiler refuses gradients of gradients.
    Workload("gradient penalty", gradient_penalty, without=("torch.compile",)),
)
