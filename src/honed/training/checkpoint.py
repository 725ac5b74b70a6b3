"""Checkpoints: a killed run continues from the last one to the same result.

Everything random is a function of (seed, epoch, step), so a checkpoint is tensors, curves and a position. A checkpoint
is written beside the old one and then renamed over it: a kill at any moment leaves a whole one.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from honed.errors import RunFolderError
from honed.training.loop import Position, SlotRun
from honed.training.stack import Stack

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class CheckpointFolder:
    """Writes checkpoints of a loop into `folder`, at most one every `every_s` seconds, and reads the last one back.

    fingerprint : of config and data; a checkpoint of another run is refused.
    """

    def __init__(self, folder: Path, stack: Stack, fingerprint: str, every_s: float = 30.0) -> None:
        self.folder, self.stack, self.fingerprint, self.every_s = folder, stack, fingerprint, every_s
        self._last_s = time.monotonic()

    def __call__(self, runs: Sequence[SlotRun], position: Position) -> None:
        """Write a checkpoint if the last one is old enough."""
        if time.monotonic() - self._last_s >= self.every_s:
            self.write(runs, position)
            self._last_s = time.monotonic()

    def write(self, runs: Sequence[SlotRun], position: Position) -> None:
        """Write a checkpoint now."""
        from safetensors.torch import save_file

        tensors: dict[str, torch.Tensor] = {}
        state: dict[str, object] = {
            "fingerprint": self.fingerprint,
            "position": vars(position),
            "slots": {
                run.plan.name: {
                    "attempt": run.attempt,
                    "status": run.status,
                    "step_losses": run.step_losses,
                    "curve": run.curve,
                    "snapshots": sorted(run.snapshots),
                }
                for run in runs
            },
        }
        for run in runs:
            name = run.plan.name
            tensors |= {f"{name}/now/{k}": v for k, v in self.stack.slot_state(run.plan.slot).items()}
            for epoch, snapshot in run.snapshots.items():
                tensors |= {f"{name}/snapshot {epoch}/{k}": v for k, v in snapshot.items()}
            for i, moments in run.optimizer.state_dict()["state"].items():
                tensors |= {f"{name}/optimizer {i}/{m}": moments[m].cpu() for m in _MOMENTS}
        partial = self.folder.with_name(self.folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, partial / "tensors.safetensors")
        (partial / "state.json").write_text(json.dumps(state), encoding="utf-8")
        old = self.folder.with_name(self.folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(old)
        partial.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def restore(self, runs: Sequence[SlotRun]) -> Position | None:
        """Put the last checkpoint into `runs` and the stack; None if there is none.

        Raises RunFolderError if it belongs to another run or is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        old = self.folder.with_name(self.folder.name + ".old")
        if not self.folder.exists() and old.exists():
            old.rename(self.folder)  # killed between the two renames of `write`
        if not self.folder.exists():
            return None
        remedy = f"Delete {self.folder} to start training from the beginning."
        try:
            state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
            fingerprint, slots, position = state["fingerprint"], state["slots"], Position(**state["position"])
            tensors = load_file(self.folder / "tensors.safetensors")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise RunFolderError(f"The checkpoint {self.folder} is damaged: {error}", remedy=remedy) from error
        if fingerprint != self.fingerprint:
            raise RunFolderError(
                f"The checkpoint {self.folder} belongs to another configuration or other data.",
                cause="The config or the data file changed since the run was interrupted.",
                remedy=remedy,
            )
        for run in runs:
            self._restore_run(run, slots[run.plan.name], tensors)
        return position

    def _restore_run(self, run: SlotRun, saved: dict[str, object], tensors: dict[str, torch.Tensor]) -> None:
        def part(prefix: str) -> dict[str, torch.Tensor]:
            prefix = f"{run.plan.name}/{prefix}/"
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        run.attempt, run.status = saved["attempt"], saved["status"]  # type: ignore[assignment]
        run.step_losses, run.curve = saved["step_losses"], saved["curve"]  # type: ignore[assignment]
        run.snapshots = {epoch: part(f"snapshot {epoch}") for epoch in saved["snapshots"]}  # type: ignore[attr-defined]
        self.stack.load_slot_state(run.plan.slot, part("now"))
        optimizer = run.optimizer.state_dict()
        n_parameters = sum(len(group["params"]) for group in optimizer["param_groups"])
        moments = {i: part(f"optimizer {i}") for i in range(n_parameters)}
        optimizer["state"] = {i: m for i, m in moments.items() if m}
        run.optimizer.load_state_dict(optimizer)
