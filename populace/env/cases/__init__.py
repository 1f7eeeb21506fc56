"""Scored cases: hidden facts that come to light by question, examination or test, one answer, a score."""
