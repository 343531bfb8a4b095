"""A process of `vesalius.isolation` that answers as a script says."""

from collections.abc import Iterable


class ScriptedChild:
    """Starts and answers in order; errors are raised."""

    def __init__(self, answers: Iterable[bytes | Exception], starts: Iterable[Exception]) -> None:
        self.answers, self.starts = list(answers), list(starts)

    def start(self, due):
        if self.starts and (error := self.starts.pop(0)):
            raise error

    def ask(self, content, due):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self, grace=0.0):
        pass
