"""Adam over stacked members, by torch's fused kernel."""

import torch
from torch import Tensor

from emt.training.optimizer import MemberOptimizer


class MemberAdam(MemberOptimizer):
    """Adam (Kingma & Ba 2015), member by member; parameters as in `MemberOptimizer`."""

    BETAS = (0.9, 0.999)
    SLOTS = ("mean", "square")

    def _descend(
        self, rate: float, parameters: list[Tensor], gradients: list[Tensor], *slots: list[Tensor]
    ) -> None:
        means, squares = slots
        # Members that move have all done as many steps.
        steps = torch.full((), self.steps.max().item(), device=parameters[0].device)
        torch._fused_adam_(
            parameters,
            gradients,
            means,
            squares,
            [],
            [steps] * len(parameters),
            lr=rate,
            beta1=self.BETAS[0],
            beta2=self.BETAS[1],
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )
