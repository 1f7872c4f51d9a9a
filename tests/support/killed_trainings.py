"""A training that ends in the middle of an epoch, in the process of the test."""


class Killed(BaseException):
    """The end of a process, as far as the loop sees it."""


class KillsAfter:
    def __init__(self, epoch: int):
        self.epoch = epoch

    def inspected(self, split, seen, images):
        pass

    def stepped(self, step):
        if step.epoch > self.epoch:
            raise Killed

    def finished_epoch(self, entry):
        pass
