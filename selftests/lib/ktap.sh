# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The cases of a test file, their results as KTAP, and what fails them. Sourced by lib.sh.

KSFT_FAIL=1
KSFT_SKIP=4

# A kernel that checks all that it does is several times as slow.
SLOW=1
! zcat /proc/config.gz 2>/dev/null | grep -qx CONFIG_KASAN=y || SLOW=5

# How long to wait for what must come: far longer than it takes.
WAIT_TIMEOUT_MS=$((20000 * SLOW))

# --- KTAP ------------------------------------------------------------------

TEST_NAMES=()
TEST_CALLS=()

# test_add NAME FUNCTION [ARG]... With a regular expression in the environment's ONLY, the
# cases whose names it matches run and no others.
test_add()
{
	[[ $1 =~ ${ONLY:-} ]] || return 0
	TEST_NAMES+=("$1")
	shift
	TEST_CALLS+=("${*@Q}")
}

skip_all()
{
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit $KSFT_SKIP
}

bail_out()
{
	echo "Bail out! $*"
	exit $KSFT_FAIL
}

# Diagnostics of the running test; it fails if there are any when it returns.
DIAGNOSTICS=()

fail()
{
	local line

	while IFS= read -r line; do
		DIAGNOSTICS+=("$line")
	done <<<"$*"
}

tests_run()
{
	local failed=0 i line

	echo "TAP version 13"
	[[ ${#TEST_NAMES[@]} -gt 0 ]] || bail_out "no case matches ONLY"
	echo "1..${#TEST_NAMES[@]}"
	for i in "${!TEST_NAMES[@]}"; do
		DIAGNOSTICS=()
		eval "${TEST_CALLS[i]}"
		test_reset
		for line in "${DIAGNOSTICS[@]}"; do
			echo "# $line" | names
		done
		if [[ ${#DIAGNOSTICS[@]} -eq 0 ]]; then
			echo "ok $((i + 1)) ${TEST_NAMES[i]}"
		else
			echo "not ok $((i + 1)) ${TEST_NAMES[i]}"
			failed=$((failed + 1))
		fi
	done
	echo "# Totals: pass:$((${#TEST_NAMES[@]} - failed)) fail:$failed xfail:0 xpass:0 skip:0 error:0"
	exit $((failed ? KSFT_FAIL : 0))
}

# Between two tests: as after the setup. A test file may add to it.
test_reset()
{
	reset_hub
}

# --- waiting ---------------------------------------------------------------

# busywait COMMAND...: until it succeeds; fails when it has not in good time
busywait()
{
	local end=$((${EPOCHREALTIME//[.,]/} / 1000 + WAIT_TIMEOUT_MS))

	until "$@"; do
		[[ $((${EPOCHREALTIME//[.,]/} / 1000)) -lt $end ]] || return 1
	done
}

# --- checks ----------------------------------------------------------------

# check_eq WHAT EXPECTED GOT
check_eq()
{
	local indent=$'\n'"            "

	[[ $2 == "$3" ]] || fail "$1
  expected: ${2//$'\n'/$indent}
  got:      ${3//$'\n'/$indent}"
}

# run_quietly COMMAND...: it without input; what it says, to the variable out of the caller
run_quietly()
{
	out=$("$@" 2>&1 </dev/null)
}

# check_says TEXT COMMAND...: succeeds, with this output and no other
check_says()
{
	local out text=$1
	shift

	run_quietly "$@"
	check_eq "exit status of: $*" 0 $?
	check_eq "output of: $*" "$text" "$out"
}

# check COMMAND...: succeeds, and says nothing
check()
{
	check_says "" "$@"
}

# check_warns TEXT COMMAND...: succeeds, and says this and nothing else
check_warns()
{
	local text=$1
	shift

	check_says "Warning: $text." "$@"
}

# check_fails TEXT COMMAND...: fails, with these very words (and no others)
check_fails()
{
	local out text=$1
	shift

	! run_quietly "$@" || fail "succeeded, and should have failed: $*"
	check_eq "error of: $*" "$text" "$out"
}

# add_and_del WORD... -- WORD...: two commands, to the arrays add and del of the caller
add_and_del()
{
	add=()
	while [[ $1 != -- ]]; do
		add+=("$1")
		shift
	done
	shift
	del=("$@")
}
