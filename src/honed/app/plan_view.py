"""`honed plan` on the terminal: what the run is made of, what it needs on each machine, and what would make it fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from honed.app.console import out, printable

if TYPE_CHECKING:
    from rich.table import Table

    from honed.planning.plan import MachinePlan, Plan

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def show_plan(plan: Plan) -> None:
    """Print a plan."""
    console = out()
    request, parameters, workload = plan.request, plan.parameters, plan.request.workload
    console.print()
    facts = {
        "Base": f"{request.base.name}: {count(parameters.base)} parameters"
        + (f", {count(parameters.active)} of them for one token" if parameters.active < parameters.base else "")
        + f", {size(plan.facts.base_bytes)} in {request.specialist.dtype}",
        "Trains": f"{request.specialist.method} in {plan.facts.depth} of {request.base.n_layers} layers: "
        f"{count(parameters.trained)} parameters ({parameters.trained / parameters.base:.2g} of the base), "
        f"{size(plan.facts.slot_bytes)}, for each of {workload.n_slots} slots",
        "Data": f"{workload.rows:,} rows of {workload.lengths.mean():.0f} tokens, {workload.n_classes} classes, "
        f"{workload.folds} folds, at most {workload.epochs} epochs",
        "Work": f"{plan.flop:.3g} FLOP; cached hidden states {size(plan.facts.trunk_bytes)}",
        "Disk": f"{size(plan.disk.kept_bytes)} in the run folder, {size(plan.disk.peak_bytes)} at most while it runs",
    }
    for name, text in facts.items():
        console.print(f"{name:<7} {printable(text)}", markup=False, soft_wrap=True)
    for note in request.notes:
        console.print(f"Note    {printable(note)}", markup=False, soft_wrap=True, style="dim")
    console.print(_machines(plan))
    console.print(_items(plan.machines[0]))
    for machine in plan.machines:
        if not machine.fits:
            console.print(_remedies(machine))
    if any(not machine.machine.is_measured for machine in plan.machines):
        console.print(
            "Named GPUs: an estimate from data sheets, not measured. On them the computer's own memory counts too.",
            style="dim",
        )


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as one JSON object; bytes, seconds and numbers without units."""
    return plan.to_json()


def size(n_bytes: float) -> str:
    """Bytes for people, in powers of 1000."""
    unit = 0
    while abs(n_bytes) >= 999.5 and unit < len(_UNITS) - 1:
        n_bytes, unit = n_bytes / 1000, unit + 1
    return f"{n_bytes:.0f} B" if unit == 0 else f"{n_bytes:.3g} {_UNITS[unit]}"


def count(n: float) -> str:
    """A number for people."""
    for limit, suffix in ((1e12, " T"), (1e9, " B"), (1e6, " M")):
        if n >= limit:
            return f"{n / limit:.3g}{suffix}"
    return f"{n:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return "not estimated"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 72 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def _machines(plan: Plan) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("", "memory", "peak", "computer's own", "fits", "time"):
        table.add_column(header, justify="left" if header in {"", "fits"} else "right")
    for machine in plan.machines:
        table.add_row(
            printable(machine.machine.name),
            size(machine.machine.memory_bytes),
            size(machine.memory.device_bytes),
            size(machine.memory.host_bytes) if machine.machine.is_gpu else "",
            "yes" if machine.fits else "no",
            duration(machine.seconds) + ("" if machine.fits or machine.seconds is None else ", if it fitted"),
        )
    return table


def _items(machine: MachinePlan) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=printable(machine.machine.name), title_justify="left")
    for header in ("peak memory", "", "time", ""):
        table.add_column(header, justify="left" if header else "right")
    items = [(name, size(n)) for name, n in machine.memory.device.items() if n]
    stages = [(name, duration(seconds)) for name, seconds in (machine.stages_s or {}).items()]
    for i in range(max(len(items), len(stages))):
        table.add_row(*(items[i] if i < len(items) else ("", "")), *(stages[i] if i < len(stages) else ("", "")))
    return table


def _remedies(machine: MachinePlan) -> Table:
    from rich import box
    from rich.table import Table

    title = f"What would make it fit {machine.machine.name} ({size(machine.machine.memory_bytes)})"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=printable(title), title_justify="left")
    for header in ("alternative", "peak", "fits", "honed", "how"):
        table.add_column(header, justify="right" if header == "peak" else "left")
    for remedy in machine.remedies:
        table.add_row(remedy.name, size(remedy.bytes), "yes" if remedy.fits else "no", remedy.status, remedy.how)
    return table
