"""Campaigns that ``scripts/torture`` runs against the whole product."""
