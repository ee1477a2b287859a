#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Beside tracers of the functions that the module replaces on a stock kernel, packets go
# where routes say, and the tracers see them; the module is loaded and unloaded under them.
# way: stock

# shellcheck source=../lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

MODE=on
TRACING=/sys/kernel/tracing

# untrace: no tracer, which test_reset does too
untrace()
{
	echo nop >"$TRACING/current_tracer"
	echo >"$TRACING/set_ftrace_filter"
	[[ ! -e $TRACING/events/kprobes ]] || echo 0 >"$TRACING/events/kprobes/enable"
	echo >"$TRACING/kprobe_events"
	echo >"$TRACING/trace"
}

test_reset()
{
	untrace
	[[ -e /sys/module/wgvia ]] || modprobe wgvia
	reset_hub
}

# Both directions, by a gateway of each family
routed()
{
	check_send p2 hub 10.2.0.1
	check_send p2 hub fd02::1
	check_forge hub p2 wg0 10.2.0.1 10.0.0.254
	check_forge dropped p1 wg0 10.2.0.1 10.0.0.254
}

add_routes()
{
	ip_hub route add 10.2.0.0/16 via 10.0.0.2 dev hub
	ip_hub route add fd02::/48 via fd00::2 dev hub
}

# traced FUNCTION: the trace has it
traced() { grep -q "$1" "$TRACING/trace" || fail "the trace has no $1"; }

# reloaded: the module goes and comes, without its routes deciding meanwhile
reloaded()
{
	check rmmod wgvia
	check_send p1 hub 10.2.0.1
	check modprobe wgvia
	set_mode on
	routed
}

tracer()
{
	add_routes
	echo 'wg_allowedips_lookup_*' >"$TRACING/set_ftrace_filter"
	echo "$1" >"$TRACING/current_tracer" || fail "no tracer $1"
	routed
	traced wg_allowedips_lookup_dst
	traced wg_allowedips_lookup_src
	reloaded
}

kprobes()
{
	add_routes
	echo 'p:wgvia_in wg_allowedips_lookup_dst' >"$TRACING/kprobe_events"
	# shellcheck disable=SC2016 # for the kernel
	echo 'r:wgvia_out wg_allowedips_lookup_dst ret=$retval' >>"$TRACING/kprobe_events"
	echo 1 >"$TRACING/events/kprobes/enable"
	routed
	traced wgvia_in
	traced wgvia_out
	reloaded
}

# In and out, each time under packets of all peers, which all arrive: by the route or by AllowedIPs
under_load()
{
	local i pid sent received

	add_routes
	# Not by in_hub: $! is to be the ping.
	nsenter --net="/run/netns/$hub" ping -qnf -i 0.01 -w 600 10.0.0.2 >"$TMP/ping" 2>&1 &
	pid=$!
	for i in 1 2 3 4 5; do
		check rmmod wgvia
		add_peer 3
		remove_peer 3
		check modprobe wgvia
		add_peer 3
	done
	kill -INT "$pid"
	wait "$pid"
	# The last may be on its way.
	read -r sent received < <(sed -nE 's/^([0-9]+) packets.*, ([0-9]+) received.*/\1 \2/p' "$TMP/ping")
	((sent > 0 && sent - received <= 1)) || fail "$(<"$TMP/ping")"
}

test_add "the function tracer" tracer function
test_add "the function graph tracer" tracer function_graph
test_add "kprobes" kprobes
test_add "loaded and unloaded under packets" under_load

mountpoint -q "$TRACING" || mount -t tracefs tracefs "$TRACING"
setup_hub 3
test_reset
tests_run
