#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# with-module.sh MODULE COMMAND...: run it with another wgvia.ko than the installed one.

module=$1
shift
mount --bind "$module" "$(modinfo -n wgvia)" || exit
exec "$@"
