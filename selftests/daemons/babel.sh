#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Babel by babeld and by BIRD, whose hellos are multicast: five routers, a ring with a chord,
# on one device in each router and on a device for each peer.

# shellcheck source=mesh.sh
source "$(dirname "$0")/mesh.sh"

BABEL_DEVICE="type tunnel split-horizon false hello-interval 2 update-interval 8"

# start LETTER DAEMON N...
start()
{
	local n

	for n in "${@:3}"; do
		"start_$2" "$1" "$n"
	done
}

start_babeld() { babeld "$1" "$2"; }

start_bird()
{
	bird "$1" "$2" "protocol babel {
		ipv4 { import all; export where source ~ [ RTS_DEVICE, RTS_BABEL ]; };
		ipv6 { import all; export where source ~ [ RTS_DEVICE, RTS_BABEL ]; };
		interface \"wg*\" { type tunnel; hello interval 2 s; update interval 8 s; };
	}"
}

each() { local l; for l in $MESHES; do "$1" "$l" "${@:2}"; done; }

# The times of each mesh, added up
declare -A SUM=()

# check_both WHAT: what both meshes were asked for
check_both()
{
	local l

	for l in $MESHES; do
		check_probed "$l" "${FORM[$l]}: $1" || logs "$l"
		SUM[$l]=$((${SUM[$l]:-0} + ${TOOK:-0}))
	done
}

# both DAEMON: the two meshes go through the same at the same time, so that they have the same
# share of a busy machine.
# shellcheck disable=SC2031 # indices, not variables
both()
{
	SUM=()
	each probe_direct
	each start "$1" 1 2 3 4 5
	check_both "the direct ways are used"
	each cut 1-3 4-5
	each probe reach "$PATIENCE"
	check_both "all reach all after two links were cut"
	each heal
	each probe_direct
	check_both "the direct ways are used again after they healed"
	check_allowed_ips o
	note "in all: ${SUM[o]} ms with one device, ${SUM[m]} ms with a device for each peer"
}

# The goal: at most one and a half times as long
# shellcheck disable=SC2031 # indices, not variables
babeld_both()
{
	both babeld
	((2 * SUM[o] <= 3 * SUM[m])) ||
		fail "one device takes ${SUM[o]} ms, a device for each peer ${SUM[m]} ms"
}

# one DAEMON FILTER
one()
{
	local MESHES=o

	wgvia_set o filter "$2"
	each probe_direct
	each start "$1" 1 2 3 4 5
	check_both "the direct ways are used"
	check_allowed_ips o
}

test_reset()
{
	each heal
	each stop_daemons 1 2 3 4 5
	wgvia_set o filter loose
}

MESHES="o m"
for l in $MESHES; do
	if [[ $l == o ]]; then mesh o one 5; else mesh m many 5; fi
	# shellcheck disable=SC2086 # a word each
	add_links "$l" $RING
done
wgvia_set o mode on filter loose multicast on
test_add "babeld on one device and on a device for each peer" babeld_both
test_add "BIRD's Babel on one device and on a device for each peer" both bird
test_add "BIRD's Babel, filter device" one bird device

tests_run
