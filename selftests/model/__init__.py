# SPDX-License-Identifier: GPL-2.0
"""The rule as a model, and random tables to hold it against the kernel."""
