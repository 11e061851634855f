"""What a task needs of its controller: somebody who reads, checks and proposes what it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from tacit.contracts import Cost, LeastSquares, Limit
from tacit.planning.signal_costs import SignalObjective
from tacit.planning.task import Task
from tacit.planning.task_limits import TaskError


def require_means(task: Task, limits: Sequence[Limit], objective: SignalObjective | None, *, has_proposals: bool) -> None:
    """Refuse a task that asks for more than a controller has.

    Args:
        task: What is wanted.
        limits: That are checked on the prediction.
        objective: Of goals on signals; None where nobody reads them.
        has_proposals: Whether somebody makes proposals.

    Raises:
        TaskError: A limit on states is not among `limits`, there are goals on signals and no objective, or proposals that nobody makes.
    """
    checked = [limit.name for limit in limits]
    for entry in task.state_limits:
        if entry.name not in checked:
            raise task.located(TaskError("nobody checks it: use a controller of a run that has readouts", *entry.key))
    if objective is None and task.goal is not None and task.goal.has_signals:
        raise task.located(TaskError("nobody reads signals: use a controller of a run that has readouts", "goal"))
    if task.plan.proposals and not has_proposals:
        raise TaskError("there is nobody to make proposals: leave them out, or use a controller of a run", "plan", "proposals")


def require_squares(task: Task, cost: Cost) -> None:
    """Refuse a cost that a planner which needs a sum of squares has no use for.

    Raises:
        TaskError: The cost is none.
    """
    if not isinstance(cost, LeastSquares):
        words = f"a Newton step needs a cost that is a sum of squares, not {type(cost).__name__}: use another planner or cost"
        raise task.located(TaskError(words, "plan", "planner"))
