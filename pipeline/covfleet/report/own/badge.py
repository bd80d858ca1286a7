"""The SVG badge: the figure, or the verdict if there is no figure to show."""

from __future__ import annotations

from decimal import Decimal

from covfleet.model import Totals, Verdict, floor_percent

_COLOURS = ((90, "#2f855a"), (75, "#4d7c0f"), (60, "#a16207"), (0, "#c2410c"))
"""Colours by minimum percentage; each has a contrast of at least 4.5 with white text."""
_GREY, _WARNING = "#57606a", "#9a3412"
_NARROW, _WIDE = frozenset("iljtfr.:,!| "), frozenset("mwMW%")


def badge(totals: Totals, verdict: Verdict) -> str:
    """Return a badge as SVG: the total to one decimal, rounded down; no figure for partial data."""
    percent = floor_percent(totals.total, 1)
    if verdict == "complete":
        return _svg(f"{percent}%", _colour(percent))
    if verdict == "unverified":
        return _svg(f"{percent}% unverified", _GREY)
    return _svg(verdict, _WARNING)


def _colour(percent: Decimal) -> str:
    return next(colour for least, colour in _COLOURS if percent >= least)


def _width(text: str) -> int:
    """Estimate the width in pixels at 11 px; ``textLength`` then enforces it for every font."""
    return round(sum(3.9 if char in _NARROW else 10.5 if char in _WIDE else 6.9 for char in text))


def _svg(message: str, colour: str) -> str:
    label = "coverage"
    left, right = _width(label) + 12, _width(message) + 12
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" \
aria-label="{label}: {message}">
  <title>{label}: {message}</title>
  <rect width="{left + right}" height="20" rx="4" fill="{colour}"/>
  <path d="M4 0H{left}V20H4a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z" fill="#3d444d"/>
  <g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11" text-anchor="middle">
    <text x="{left / 2:g}" y="14" textLength="{left - 12}">{label}</text>
    <text x="{left + right / 2:g}" y="14" textLength="{right - 12}">{message}</text>
  </g>
</svg>
"""
