"""The three verbs: repair, diagnose, audit. Each reads like its description."""
