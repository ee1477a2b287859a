# SPDX-License-Identifier: GPL-2.0
"""Notifications: what causes them, and those who listen."""
