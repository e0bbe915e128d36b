"""Choice of a mapper and splits that keep pictures together."""

from skxmodal.metrics import LeakageWarning, check_leakage
from skxmodal.model_selection._search import MapperSearchCV
from skxmodal.model_selection._split import group_train_test_split

__all__ = [
    "LeakageWarning",
    "MapperSearchCV",
    "check_leakage",
    "group_train_test_split",
]
