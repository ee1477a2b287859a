#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Babel by babeld and by BIRD, whose hellos are multicast: five routers, a ring with a chord,
# on one device in each router and on a device for each peer.
#
# Neither counts the round trip time here, which both do on tunnels by default: on a busy machine it
# is beyond what they allow, a way over one hop costs as much as one over two then, and chance decides.

# shellcheck source=mesh.sh
source "$(dirname "$0")/mesh.sh"

# intervals HELLO UPDATE: in seconds
intervals()
{
	BABEL_DEVICE="type tunnel enable-timestamps false split-horizon false hello-interval $1 update-interval $2"
	BIRD_DEVICE="type tunnel; rtt cost 0; hello interval $1 s; update interval $2 s;"
}

start_babeld() { babeld "$1" "$2"; }

start_bird()
{
	bird "$1" "$2" "protocol babel {
		ipv4 { import all; export where source ~ [ RTS_DEVICE, RTS_BABEL ]; };
		ipv6 { import all; export where source ~ [ RTS_DEVICE, RTS_BABEL ]; };
		interface \"wg*\" { $BIRD_DEVICE };
	}"
}

start_mixed() { if (($2 % 2)); then start_bird "$@"; else start_babeld "$@"; fi; }

both()
{
	local MESHES="o m"

	intervals 2 8
	go_through babeld || return
	check_allowed_ips o
}

# The links that are left make a tree: all ways are symmetric then, which the filter wants.
mixed()
{
	intervals 1 4
	wgvia_set o filter loose
	start_all o mixed
	check_direct o "the direct ways are used" || logs o
	cut o 1-3 4-5
	check_reach o "all reach all after two links were cut" || logs o
	wgvia_set o filter device
	check_reach o "and with filter device"
	check_allowed_ips o
}

test_reset() { reset_pair; }

mesh_pair
wgvia_set o mode on filter loose multicast on
test_add "babeld on one device and on a device for each peer" both
test_add "BIRD and babeld on one device, with filter device when its links are a tree" mixed

tests_run
