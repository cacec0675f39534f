"""Strict JSON with the documented keys."""

from __future__ import annotations

import json
import re

import numpy as np

from tumortwin.board import BoardReport, record, record_of


def strict(text: str) -> dict:
    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def test_keys_are_those_documented(report: BoardReport) -> None:
    documented = re.findall(r"^([a-z_]+(?:, [a-z_]+)*)  ", record.__doc__, flags=re.MULTILINE)
    assert sorted(record_of(report)) == sorted(key for line in documented for key in line.split(", "))


def test_record_is_strict_json_and_holds_the_numbers(report: BoardReport) -> None:
    data = strict(json.dumps(record_of(report), allow_nan=False))
    assert data["research_use"] == "Research use only, not for clinical decisions"
    rho = next(p for p in data["parameters"] if p["name"] == "proliferation_rate")
    assert (rho["value"], rho["low"], rho["high"], rho["unit"]) == (0.0261, 0.0204, 0.0334, "1/day")
    assert all(p["unit"] and p["source"] for p in data["parameters"])
    fixed = next(p for p in data["parameters"] if p["name"] == "alpha_beta")
    assert fixed["low"] is None
    standard = next(s for s in data["schedules"] if s["name"] == "60 Gy / 30")
    assert standard["outcomes"]["progression_days"] == {"median": 158, "low": 118, "high": None}
    assert standard["organs"][0]["met"] is True
    assert data["inputs"]["files"] == dict(report.sources)
    assert data["scans"][-1]["role"] == "held out"
    assert {"what", "where", "action", "severity"} == set(data["findings"][0])
    assert np.isclose(data["scores"][0]["error_ml"], 48.1 - 52.3)
