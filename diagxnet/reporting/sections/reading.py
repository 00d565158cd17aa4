"""How the report's figures are to be read."""

from collections.abc import Mapping

from diagxnet.reporting.page import Html, element
from diagxnet.reporting.section import Material, Section


def content(material: Material, figures: Mapping[str, Html]) -> list[Html]:
    lines = (
        "Every figure is measured on test, which no training, stopping, threshold or calibration has seen, but for "
        "those that are called val's. How often runs were compared by these figures, no program can know: each time "
        "makes test a little more a part of the training.",
        "Intervals are meant to hold the true value in 95 of 100 test sets like this one: a bootstrap over patients "
        "(all images of a patient are drawn together), on the logit scale, with Student's quantile for the number of "
        "patients of the rarer class.",
        "Differences are paired: both models are scored on the same resamples. Where the interval holds 0, the two are "
        "not distinguishable on this test set, however the numbers look.",
        "AUROC 0.5 and AUPRC equal to the prevalence are what guessing reaches.",
        "The Brier score is 0 at best. ECE (10 bins of equal width) is above 0 by chance alone, the more so in a small "
        "test set, and ranks no models. Probabilities are calibrated on val.",
        "Test labels come with the data set; where they were read off reports by a program, the figures measure "
        "agreement with that program, not with the patient.",
    )
    return [element("ul", *(element("li", line) for line in lines))]


SECTION = Section("How to read this", content)
