#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# with-module.sh MODULE COMMAND...: run a test with another wgvia.ko than the installed
# one, to the first case that fails.

module=$1
shift
mount --bind "$module" "$(modinfo -n wgvia)" || exit
set -o pipefail
"$@" </dev/null | sed -u '/^not ok/q1'
