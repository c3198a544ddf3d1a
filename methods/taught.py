"""What a method needs that learns from the predictions of another, trained network."""

from typing import Any

from methods.base import AnyModalitySegmenter
from usererror import UserError


class TaughtSegmenter(AnyModalitySegmenter):
    """A method whose training needs a teacher; evaluation, maps and costs never do.

    The suite hands over the network that `cell.teacher` names before the training starts. It is no
    part of the module: neither its weights nor its mode, memory or optimiser are the student's.
    """

    # options of the teacher's network that must be those of the student's
    shared_options: tuple[str, ...] = ("backbone", "head_width")
    _teacher: tuple[Any, ...] = ()

    def take_teacher(self, teacher: AnyModalitySegmenter) -> None:
        """Learn from a trained network of the same modalities, in the same order, and classes."""
        # as a list: their order counts
        pairs: list[tuple[str, Any, Any]] = [
            ("modalities", list(self.modalities.items()), list(teacher.modalities.items()))
        ]
        for name in ("num_classes", *self.shared_options):
            pairs.append((name, self.hparams.get(name), teacher.hparams.get(name)))
        for name, wanted, found in pairs:
            if wanted != found:
                problem = f"the teacher has {name} {found}, the student {wanted}"
                raise UserError(f"They do not fit: {problem}; give both the same.")
        teacher.requires_grad_(False)
        # in a tuple, where torch does not look for modules
        self._teacher = (teacher,)

    @property
    def teacher(self) -> AnyModalitySegmenter:
        """The teacher, in eval mode; a UserError without one."""
        if not self._teacher:
            name = type(self).__name__
            raise UserError(f"{name} learns from a teacher: name its METHOD with --cell.teacher.")
        teacher: AnyModalitySegmenter = self._teacher[0]
        return teacher.eval()

    def on_fit_start(self) -> None:
        """Bring the teacher to where the student is."""
        self.teacher.to(self.device)
