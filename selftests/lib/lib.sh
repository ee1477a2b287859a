# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the tests, a noun a file. Sourced; a test file then builds a topology, names its
# tests with test_add and ends with tests_run.

selftests=$(readlink -e "$(dirname "${BASH_SOURCE[0]}")/..")

# The folder of the Python packages lib and model
export PYTHONPATH=$selftests

export LC_ALL=C
export WG_HIDE_KEYS=never

# shellcheck source=ktap.sh
source "$selftests/lib/ktap.sh"
# shellcheck source=topology.sh
source "$selftests/lib/topology.sh"
# shellcheck source=device.sh
source "$selftests/lib/device.sh"
# shellcheck source=seen.sh
source "$selftests/lib/seen.sh"

[[ $EUID -eq 0 ]] || skip_all "needs root"
for tool in wg wgvia jq python3; do
	command -v "$tool" >/dev/null || skip_all "needs $tool"
done
[[ $(ip route help 2>&1) == *via-wgpeer* ]] || skip_all "needs an ip with via-wgpeer"

TMP=$(mktemp -d)
NETNS_SUFFIX=wgvia-$$
trap cleanup EXIT
trap 'exit $KSFT_FAIL' INT TERM HUP
