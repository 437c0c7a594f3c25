"""What a model hands out to be trained besides its outputs.

A module sows it into the collection ``AUXILIARY``: ``self.sow(AUXILIARY, "student", logits_UxC)``. The train step
alone collects it, for ``Model.auxiliary_losses``; in all other uses of the model it is dropped.
"""

AUXILIARY = "auxiliary"
