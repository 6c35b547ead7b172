"""Operate: doctor, status, the tracking server, reports from a store."""
