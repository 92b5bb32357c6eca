"""The model of a run's last epoch as a checkpoint: `last.py run/ last_epoch.pt`.

`best.pt` holds the epoch with the best accuracy, `last.pt` what `--resume` needs; with `--ema` the
weights written here are the averaged ones.
"""

from pathlib import Path

import torch
import typer

from fer_train import checkpoint

PREFIX = "deployable.net."


def main(run: Path, output: Path) -> None:
    """Write the checkpoint OUTPUT from RUN's last.pt, described as its best.pt is."""
    best = checkpoint.load(run / "best.pt")
    state = torch.load(run / "last.pt", map_location="cpu", weights_only=True)["state_dict"]
    weights = {
        name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)
    }
    best.net().load_state_dict(weights)
    checkpoint.save(output, best.spec, weights)
    typer.echo(f"{output}: the model of the last epoch")


if __name__ == "__main__":
    typer.run(main)
