"""What a run's goal policy suggests, as its model imagines it. Dimensions: B batch, D latent."""

from __future__ import annotations

from torch import Tensor

from tacit.contracts import Proposal
from tacit.models.ensemble import MeanPolicy, Model, Policy, apart
from tacit.models.heads import GoalPolicy
from tacit.models.imagination import following
from tacit.models.jepa import JEPA
from tacit.planning import ImaginedDetours, ImaginedPolicy, SharedOut


def imagined_policy(model: Model, policy: Policy, goal: Tensor) -> Proposal:
    """The policy's own way to the goal's latent (B, D), and ways that stray from it; of an ensemble, a share of each member's."""
    if isinstance(model, JEPA):
        follow = following(model, policy) if isinstance(policy, GoalPolicy) else None
        return ImaginedPolicy(model=model, policy=policy.distribution, goal=goal, follow=follow)
    count, heads = len(model.members), policy.heads() if isinstance(policy, MeanPolicy) else ()
    each = zip(model.models(), heads, apart(goal, count), strict=True)
    return SharedOut(parts=tuple(imagined_policy(*member) for member in each), apart=lambda latents: apart(latents, count))


def imagined_detours(model: Model, policy: Policy, goal: Tensor) -> Proposal:
    """The policy's own way to the goal's latent (B, D), and short detours from it; of an ensemble, by what its members say together."""
    follow = following(model, policy) if isinstance(model, JEPA) and isinstance(policy, GoalPolicy) else None
    return ImaginedDetours(model=model, policy=policy.distribution, goal=goal, follow=follow)
