#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Babel by babeld, whose hellos are multicast: five routers, a ring with a chord, on one device in
# each router and on a device for each peer.
#
# It does not count the round trip time here, as it does on tunnels by default: on a busy machine that
# is beyond what it allows, a way over one hop costs as much as one over two then, and chance decides.

# shellcheck source=mesh.sh
source "$(dirname "$0")/mesh.sh"

BABEL_DEVICE="type tunnel enable-timestamps false split-horizon false hello-interval 2 update-interval 8"

start_babeld() { babeld "$1" "$2"; }

# The two meshes go through the same at the same time, so that they have the same share of the machine.
both()
{
	local MESHES="o m"

	each probe_direct
	each start_all babeld
	check_each "the direct ways are used" || return
	each cut 1-3 4-5
	each probe reach "$PATIENCE"
	check_each "all reach all after two links were cut" || return
	each heal
	each probe_direct
	check_each "the direct ways are used again after they healed" || return
	check_allowed_ips o
	note "one device takes $((100 * SUM[o] / SUM[m])) % of the time that a device for each peer takes"
}

test_reset()
{
	local l

	for l in o m; do
		heal "$l"
		stop_daemons "$l" 1 2 3 4 5
	done
}

mesh_pair
wgvia_set o mode on filter loose multicast on
test_add "babeld on one device and on a device for each peer" both

tests_run
