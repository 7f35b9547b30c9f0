"""The Markdown summary: numbers with intervals, and no markup from outside."""

from diagnose.report.summary import page
from diagnose.schema import Estimate, Report, Student, Teacher, Verdict, ZeroShot


def zero_shot(real, synthetic):
    return ZeroShot(
        real=Estimate(value=real, low=real - 0.02, high=real + 0.02, n=100),
        synthetic=Estimate(value=synthetic, low=synthetic - 0.02, high=synthetic + 0.02, n=100),
    )


def report(students, name="run"):
    return Report(
        name=name,
        created="2026-01-01",
        class_names=["a", "b"],
        teacher=Teacher(name="t", params=1_000_000, zero_shot=zero_shot(0.9, 0.85)),
        students=students,
        findings=[],
        factors=[],
        verdict=Verdict(label="no_gap", statement="None | fails."),
    )


def test_seeds_of_one_loss_share_a_row_whose_interval_covers_them():
    students = [
        Student(name=f"l2-{s}", params=300_000, zero_shot=zero_shot(0.70 + 0.01 * s, 0.8), loss="l2", seed=s, trained_on="synthetic")
        for s in range(3)
    ]

    text = page(report(students))

    row = next(line for line in text.splitlines() if line.startswith("| l2 "))
    # Mean 71.0; Student's t over 70, 71, 72 is 4.303 * 1 / sqrt(3) = 2.48, beside 2.0 for images: sqrt(2.48^2 + 2^2) = 3.19.
    assert "| 3 | 71.0 (67.8 to 74.2) |" in row
    assert text.count("| l2 ") == 1


def test_names_from_outside_make_no_markup_and_no_columns():
    text = page(report([Student(name="x|<b>", params=1, zero_shot=zero_shot(0.5, 0.5))], name="a|b"))

    assert "x\\|\\<b\\>" in text
    assert "None \\| fails." in text
