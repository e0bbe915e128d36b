"""Maps between two embedding spaces."""

from __future__ import annotations

from skxmodal.mappers._cca import CCAMapper
from skxmodal.mappers._gmlp import GMLPMapper
from skxmodal.mappers._least_squares import LeastSquaresMapper
from skxmodal.mappers._moments import Moments
from skxmodal.mappers._procrustes import ProcrustesMapper
from skxmodal.mappers._relative import RelativeMapper

__all__ = [
    "CCAMapper",
    "GMLPMapper",
    "LeastSquaresMapper",
    "Moments",
    "ProcrustesMapper",
    "RelativeMapper",
]

MAPPERS = {
    "cca": CCAMapper,
    "least_squares": LeastSquaresMapper,
    "procrustes": ProcrustesMapper,
    "relative": RelativeMapper,
}
