#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module's unit tests: they run when a module that carries them is loaded,
# which scripts/module-build has made beside the one that is installed.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

RESULTS=/sys/kernel/debug/kunit
# The kernel's name is the end of its release.
MODULE=/build/kernel-$(uname -r | sed 's/.*-wgvia-//')/module-kunit/wgvia.ko

cleanup_file()
{
	[[ ! -d /sys/module/wgvia ]] || rmmod wgvia
}

test_reset()
{
	:
}

suites()
{
	grep -rhoP --include='*.rs' '(?<=kunit_tests\()\w+' "$selftests"/../*.rs "$selftests"/../{net,policy} | sort
}

# those that the kernel knows of
known()
{
	(cd "$RESULTS" && compgen -G 'wgvia*' | sort)
}

# result SUITE NAME: what a test says of itself; it is there once
result()
{
	local said

	said=$(grep -E "^    (not )?ok [0-9]+ $2( |\$)" "$RESULTS/$1/results")
	[[ $said =~ ^\ +ok\ [0-9]+\ $2$ ]] ||
		fail "$(cat "$RESULTS/$1/results")"
}

# Each suite in the source has run, with as many results as it announced.
all_suites()
{
	local suite

	check_eq "suites" "$(suites)" "$(known)"
	for suite in $(known); do
		check_eq "results of $suite" \
			"$(sed -n 's/^    1\.\.//p' "$RESULTS/$suite/results")" \
			"$(grep -cE '^    (not )?ok ' "$RESULTS/$suite/results")"
	done
}

# Loading the module loads no tests.
installed()
{
	rmmod wgvia || fail "the module does not unload"
	modprobe wgvia || fail "the module does not load"
	check_eq "suites" "" "$(known)"
}

[[ -d /sys/kernel/debug/kunit ]] || mount -t debugfs none /sys/kernel/debug
[[ -d $RESULTS ]] || bail_out "the kernel has no KUnit"
modprobe wireguard || bail_out "no WireGuard"
insmod "$MODULE" || bail_out "the module does not load"

test_add "every suite has run" all_suites
for suite in $(suites); do
	while read -r name; do
		test_add "$suite: $name" result "$suite" "$name"
	done < <(sed -nE 's/^    (not )?ok [0-9]+ (\w+).*/\2/p' "$RESULTS/$suite/results")
done
test_add "the installed module has no tests" installed
tests_run
