"""Audits: which claims outlive perturbations, what an outcome is sensitive to, what a target leaves open."""
