"""Training: one function, ``fit``, driven by one dataclass, ``TrainConfig``."""
