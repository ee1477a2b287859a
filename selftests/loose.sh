#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The source filter "loose": what "device" accepts, and from any peer a source that
# is routed to the device and is no other peer's neighbour address. It is for meshes
# of routers, where the ways there and back differ.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

test_reset() { reset_sources loose; }

# check_loose SOURCE COUNTER PEER: the peer may send from it as under "device", all
# others because the source is routed to the device
check_loose()
{
	local i

	count_from_now
	for i in 1 2 3; do
		check_forge hub "p$i" wg0 "$1" "$hub_addr"
	done
	check_counters "$2=1" rx-loose=2
}

# There by one peer, back by another: what a mesh of routers does all day
any_peer()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_loose "$addr" rx-wgpeer p2
	check ip_hub route add "$prefix2" via "$peer3" dev hub
	check_loose "$addr2" rx-gateway p3
	check ip_hub route add "$prefix3" dev hub
	check_loose "$addr3" rx-onlink p1
	# Of what no table has, AllowedIPs know.
	check_source "$site_addr" rx-allowedips p1
}

# A neighbour's address is its own, and no route gives it to somebody else.
neighbours()
{
	family "$1"
	check_source "$peer2" rx-onlink p2
	check ip_hub route add "$host2" via "$peer3" dev hub
	count_from_now
	check_forge hub p2 wg0 "$peer2" "$hub_addr"
	check_forge hub p3 wg0 "$peer2" "$hub_addr"
	check_forge dropped p1 wg0 "$peer2" "$hub_addr"
	check_counters rx-neighbour=1 rx-gateway=1 rx-drop-peer=1
	check ip_hub route add "$all" dev hub via-wgpeer "${KEY[1]}"
	check_source "$peer3" rx-onlink p3
}

# Nobody may send from what belongs elsewhere, but whom "device" lets.
elsewhere()
{
	family "$1"
	add_other
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$longer" dev other
	check_loose "$addr" rx-wgpeer p2
	count_from_now
	check_forge hub p2 wg0 "$longer_addr" "$hub_addr"
	check_forge dropped p1 wg0 "$longer_addr" "$hub_addr"
	check_forge dropped p3 wg0 "$longer_addr" "$hub_addr"
	check_counters rx-wgpeer=1 rx-drop-peer=2
	# In another table too, which a rule names
	check ip_hub route del "$longer" dev other
	check_loose "$longer_addr" rx-wgpeer p2
	check ip_hub "-$f" route add "$longer" dev other table 100
	check_loose "$longer_addr" rx-wgpeer p2
	check rule add fwmark 7 table 100 pref 100
	count_from_now
	check_forge hub p2 wg0 "$longer_addr" "$hub_addr"
	check_forge dropped p1 wg0 "$longer_addr" "$hub_addr"
	check_counters rx-wgpeer=1 rx-drop-peer=1
	# With a lower metric elsewhere the device has none of it.
	check rule del pref 100
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[2]}" metric 20
	check_loose "$addr2" rx-wgpeer p2
	check ip_hub route add "$prefix2" dev other metric 10
	count_from_now
	check_forge hub p2 wg0 "$addr2" "$hub_addr"
	check_forge dropped p3 wg0 "$addr2" "$hub_addr"
	check_counters rx-wgpeer=1 rx-drop-peer=1
	# AnyIP: the addresses are the hub's.
	check ip_hub route add local "$longer" dev lo
	count_from_now
	check_forge hub p2 wg0 "$longer_addr" "$hub_addr"
	check_forge dropped p3 wg0 "$longer_addr" "$hub_addr"
	check_counters rx-wgpeer=1 rx-drop-peer=1
	check ip_hub route del local "$longer" dev lo table local
}

rejected()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add blackhole "$longer"
	check_loose "$addr" rx-wgpeer p2
	check_source "$longer_addr" rx-drop-noroute none
	check_source "$nobodys" rx-drop-peer none
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}"
	check_loose "$nobodys" rx-wgpeer p2
}

# One of several nexthops on the device is enough.
multipath()
{
	local other=203.0.114.9

	family "$1"
	[[ $f == 4 ]] || other=2001:db8:9::9
	add_other
	check ip_hub address add 203.0.114.1/24 dev other
	check ip_hub address add 2001:db8:9::1/64 dev other
	check ip_hub route add "$prefix" nexthop via "$other" dev other \
		nexthop dev hub via-wgpeer "${KEY[2]}"
	check_loose "$addr" rx-wgpeer p2
}

# In mode auto, only where a route names a peer.
auto()
{
	family "$1"
	set_mode auto
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix2" via "$peer3" dev hub
	check ip_hub route add "$prefix3" dev hub
	check_loose "$addr" rx-wgpeer p2
	check_source "$addr2" - p1
	check_source "$addr3" - p1
	check_source "$nobodys" - none
}

# within FAMILY: whatever the routes, what device accepts loose does, and what loose
# accepts none does
within()
{
	local filter source i verdicts=()

	family "$1"
	add_other
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$longer" dev other
	check ip_hub route add blackhole "$longest"
	check ip_hub route add "$prefix2" via "$peer3" dev hub
	check ip_hub route add "$host2" via "$peer3" dev hub
	for filter in device loose none; do
		set_filter "$filter"
		verdicts=()
		for source in "$addr" "$longer_addr" "$longest_addr" "$addr2" "$addr3" "$peer2" \
			"$nobodys" "$hub_addr" "$loopback"; do
			for i in 1 2 3; do
				forge "p$i" wg0 "$source" "$hub_addr"
				verdicts+=("$source/p$i=$REPLY")
			done
		done
		printf '%s\n' "${verdicts[@]}" | grep "=hub$" | sort >"$TMP/$filter"
	done
	check_eq "accepted by device and not by loose" "" "$(comm -23 "$TMP/device" "$TMP/loose")"
	check_eq "accepted by loose and not by none" "" "$(comm -23 "$TMP/loose" "$TMP/none")"
	check_eq "accepted by device, loose and none" "6 10 27" \
		"$(for filter in device loose none; do wc -l <"$TMP/$filter"; done | paste -sd ' ')"
}

for f in 4 6; do
	test_add "IPv$f: any peer may send what is routed to the device" any_peer $f
	test_add "IPv$f: a neighbour's address is no other's" neighbours $f
	test_add "IPv$f: what belongs elsewhere" elsewhere $f
	test_add "IPv$f: what is rejected or has no route" rejected $f
	test_add "IPv$f: one nexthop of several" multipath $f
	test_add "IPv$f: mode auto" auto $f
	test_add "IPv$f: device is within loose, and loose within none" within $f
done

setup_hub 3 lan
set_mode $MODE
set_filter loose
tests_run
