"""The plan of a run: parameters, bytes, peak memory, time and disk, for this machine and for named ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from honed.errors import UsageError
from honed.planning.duration import ModelWork, model_work, plan_stages
from honed.planning.machines import Machine
from honed.planning.memory import Disk, Facts, Memory, plan_disk, plan_memory
from honed.planning.rehearsal import Parameters, Rehearsal, Specialist
from honed.planning.remedies import Remedy, remedies
from honed.planning.shapes import BaseShape
from honed.planning.workload import Workload, training_passes
from honed.tasks.image_classification import PIXELS_FRAC


@dataclass(frozen=True)
class PlanRequest:
    """What is to be planned.

    cache_frac, gate, keep_texts : as in the configuration.    notes : what had to be assumed.
    """

    base: BaseShape
    specialist: Specialist
    workload: Workload
    cache_frac: float = 0.5
    gate: bool = True
    keep_texts: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachinePlan:
    """The run on one machine.

    stages_s : seconds of each stage if no fold stops early; None if the machine cannot be estimated, or too small.
    fits : whether the peak is within the machine's memory.    remedies : if it is not.
    """

    machine: Machine
    memory: Memory
    stages_s: dict[str, float] | None
    fits: bool
    remedies: tuple[Remedy, ...]

    @property
    def seconds(self) -> float | None:
        """The whole run."""
        return None if self.stages_s is None else sum(self.stages_s.values())

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "machine": self.machine.name,
            "is_measured": self.machine.is_measured,
            "memory_bytes": self.machine.memory_bytes,
            "fits": self.fits,
            "peak_bytes": self.memory.device_bytes,
            "peak_by_item": self.memory.device,
            "host_peak_bytes": self.memory.host_bytes,
            "host_peak_by_item": self.memory.host,
            "seconds": self.seconds,
            "seconds_by_stage": self.stages_s,
            "remedies": [vars(remedy) for remedy in self.remedies],
        }


@dataclass(frozen=True)
class Plan:
    """Everything that is known of a run before it.    facts : what memory and disk follow from."""

    request: PlanRequest
    parameters: Parameters
    facts: Facts
    work: ModelWork
    disk: Disk
    machines: tuple[MachinePlan, ...]

    @property
    def flop(self) -> float:
        """Floating-point operations in products of matrices, of the whole run."""
        work = self.work
        return sum(part.flop for part in (work.trunk, work.features, work.train, work.gate))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        request, parameters, workload = self.request, self.parameters, self.request.workload
        return {
            "base": request.base.name,
            "method": request.specialist.method,
            "n_layers": request.base.n_layers,
            "depth": self.facts.depth,
            "precision": request.specialist.dtype,
            "parameters": {
                "base": parameters.base,
                "active": parameters.active,
                "adapter": parameters.adapter,
                "head": parameters.head,
                "trained": parameters.trained,
                "frac": parameters.trained / parameters.base,
            },
            "bytes": {
                "base": self.facts.base_bytes,
                "slot": self.facts.slot_bytes,
                "trunk_cache": self.facts.trunk_bytes,
            },
            "rows": workload.rows,
            "tokens_per_row": float(workload.lengths.mean()),
            "image_size": workload.images.size if workload.images else None,
            "n_views": workload.n_views,
            "n_classes": workload.n_classes,
            "n_slots": workload.n_slots,
            "flop": self.flop,
            "disk": {
                "kept_bytes": self.disk.kept_bytes,
                "peak_bytes": self.disk.peak_bytes,
                "kept": self.disk.kept,
                "during": self.disk.during,
            },
            "machines": [machine.to_json() for machine in self.machines],
            "notes": list(request.notes),
        }


def make_plan(request: PlanRequest, machines: Sequence[Machine]) -> Plan:
    """Rehearse the run and say what it will need on each machine; the first one decides about disk.

    Raises UsageError if no machine is named, the depth does not fit the base, or the method cannot be rehearsed.
    """
    from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

    if not machines:
        raise UsageError("No machine to plan for was named.")
    workload, specialist = request.workload, request.specialist
    try:
        rehearsal = Rehearsal(request.base, specialist, workload.n_slots)
        work = model_work(rehearsal, workload)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise UsageError(
            f"Method {specialist.method!r} on base {request.base.name!r} cannot be planned.",
            cause=f"What it computes depends on the values of weights or tokens, which a plan does not have: {error}",
            remedy="Plan another method, or measure a short run: `honed fit` writes memory and time to metrics.json.",
        ) from error
    passes, _ = training_passes(workload, rehearsal.n_slots)

    def train_peak_at(depth: int) -> float:
        return rehearsal.train(passes.largest, workload.train_share, depth).peak_bytes

    capabilities = rehearsal.method.capabilities
    facts = Facts(
        parameters=rehearsal.parameters,
        workload=workload,
        hidden_size=request.base.hidden_size,
        depth=rehearsal.depth,
        itemsize=rehearsal.dtype.itemsize,
        stacks=capabilities.stacks,
        touches_base=capabilities.touches_base,
        train_peak=work.train_peak,
        score_peak=work.score_peak,
        n_pooled=rehearsal.n_pooled,
    )
    planned = partial(_on_machine, request, work, train_peak_at)
    results = [planned(facts, machine) for machine in machines]
    disk = plan_disk(results[0][1], keeps_texts=request.keep_texts)
    return Plan(request, rehearsal.parameters, results[0][1], work, disk, tuple(plan for plan, _ in results))


def _on_machine(
    request: PlanRequest, work: ModelWork, train_peak_at: Callable[[int], float], facts: Facts, machine: Machine
) -> tuple[MachinePlan, Facts]:
    import psutil

    stages = plan_stages(work, facts, machine, dtype=request.specialist.dtype, opens_gate=request.gate)
    free = psutil.virtual_memory().available if machine.is_gpu else machine.memory_bytes - facts.base_bytes
    facts = replace(
        facts,
        trunk_in_ram=facts.trunk_bytes <= request.cache_frac * free,
        pixels_in_ram=facts.pixel_bytes <= PIXELS_FRAC * free,
        lasts_s=stages["train"] if stages else facts.lasts_s,
    )
    memory = plan_memory(facts, is_gpu=machine.is_gpu)
    fits = memory.device_bytes <= machine.memory_bytes
    offered = () if fits else remedies(facts, machine, request.specialist.dtype, train_peak_at)
    return MachinePlan(machine, memory, stages, fits, offered), facts
