"""A stand-in for the file that deepface downloads: its net, with weights at random."""

from __future__ import annotations

from pathlib import Path

FILE = Path(".deepface") / "weights" / "facial_expression_model_weights.onnx"


def write(home: Path) -> None:
    """Write it where deepface looks for it if DEEPFACE_HOME is `home`."""
    import torch
    from torch import nn

    class ChannelsFirst(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.permute(0, 3, 1, 2)

    net = nn.Sequential(
        ChannelsFirst(),
        nn.Conv2d(1, 64, 5), nn.ReLU(), nn.MaxPool2d(5, 2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.AvgPool2d(3, 2),
        nn.Conv2d(64, 128, 3), nn.ReLU(), nn.Conv2d(128, 128, 3), nn.ReLU(), nn.AvgPool2d(3, 2),
        nn.Flatten(), nn.Linear(128, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(),
        nn.Linear(1024, 7), nn.Softmax(1),
    )  # fmt: skip
    file = home / FILE
    file.parent.mkdir(parents=True)
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        net.eval(), (torch.zeros(2, 48, 48, 1),), file, dynamic_shapes=({0: batch},), verbose=False
    )
