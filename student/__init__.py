"""The embedded classifier (`TreeClassifier`): label paths with calibrated probabilities on a CPU."""

from student.answers import TreePredictions
from student.tree import TreeClassifier

__all__ = ["TreeClassifier", "TreePredictions"]
