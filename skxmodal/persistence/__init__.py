"""Fitted estimators on disk: a JSON manifest and safetensors, never a pickle."""

from skxmodal.persistence._errors import PersistenceError
from skxmodal.persistence._model_folder import load, save
from skxmodal.persistence._registry import register

__all__ = ["PersistenceError", "load", "register", "save"]
