#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# with-module.sh MODULE COMMAND...: run a test with another wgvia.ko or wireguard.ko than the
# installed one, or another wgvia.ko than the one with unit tests, to the first case that fails.

module=$1
shift
if [[ $1 == */kunit.sh ]]; then
	place=/build/kernel-$(uname -r | sed 's/.*-wgvia-//')/module-kunit/wgvia.ko
else
	place=$(modinfo -n "$(basename "$module" .ko)")
fi
mount --bind "$module" "$place" || exit
set -o pipefail
"$@" </dev/null | sed -u '/^not ok/q1'
