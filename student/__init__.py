"""The embedded classifier (`TreeClassifier`): label paths with calibrated probabilities on a CPU."""

from student.tree import TreeClassifier, TreePredictions

__all__ = ["TreeClassifier", "TreePredictions"]
