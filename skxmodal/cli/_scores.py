"""Recall beside chance, as tables and as JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

KS = (1, 5, 10)
DIRECTIONS = {
    "query_to_target": "text to image",
    "target_to_query": "image to text",
}


def scores_of(ranks: Any) -> dict[str, dict[str, Any]]:
    """Hit rates, median rank and gallery size, a direction.

    A K that is not below the gallery's size tells nothing and is None. Where hubness is
    corrected, the correction is named with its mode.
    """
    from skxmodal.metrics import hit_rate_at_k, median_rank

    return {
        DIRECTIONS[name]: {
            "queries": side.n_queries,
            "gallery": side.gallery_size,
            "median rank": float(median_rank(side)),
            **({"hubness": side.hubness} if side.hubness else {}),
            **{
                f"R@{k}": float(hit_rate_at_k(side, k))
                if k < side.gallery_size
                else None
                for k in KS
            },
        }
        for name, side in ranks.items()
    }


def chance_of(ranks: Any) -> dict[str, dict[str, float | None]]:
    """Hit rates of a gallery in random order."""
    from skxmodal.metrics._report import chance_of_hit

    return {
        DIRECTIONS[name]: {
            "gallery": side.gallery_size,
            **{
                f"R@{k}": chance_of_hit(side, k) if k < side.gallery_size else None
                for k in KS
            },
        }
        for name, side in ranks.items()
    }


def recall_table(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    """Table with a row for each map and three columns for each direction."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    arrows = {"text to image": "text → image", "image to text": "image → text"}
    for direction in DIRECTIONS.values():
        for k in KS:
            header = f"R@{k}" if k != KS[0] else f"{arrows[direction]} R@{k}"
            table.add_column(header, justify="right")
    for name, scores in rows.items():
        cells = [
            percent(scores[direction][f"R@{k}"])
            for direction in DIRECTIONS.values()
            for k in KS
        ]
        table.add_row(name, *cells, style="dim" if name == "chance" else None)
    return table


def percent(share: float | None) -> str:
    """A share as per cent with one decimal."""
    return "-" if share is None else f"{100 * share:.1f}"


def mean_scores(scores: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Mean of every figure over several splits."""
    import numpy as np

    return {
        direction: {
            name: float(np.mean([split[direction][name] for split in scores]))
            for name in scores[0][direction]
        }
        for direction in scores[0]
    }
