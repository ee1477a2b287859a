#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Mode on: a route with a plain gateway leads to the neighbour that has the gateway's
# address, which is the peer with exactly this address in its AllowedIPs; prefixes
# and routes say nothing about that. Without a gateway it is the destination's
# AllowedIPs. Mode auto leaves both to AllowedIPs.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

# kind KIND: 4 and 6 with a global gateway, 6ll with a link-local one, 46 and
# 46ll for IPv4 over an IPv6 gateway. The gateway is the address of peer 2,
# "nowhere" is one of nobody, and "in_prefix" one that peer 1 has in a prefix.
kind()
{
	family "${1:0:1}"
	case $1 in
	4) host=10.0.0.2/32 covering=10.0.0.0/30 nowhere=198.51.100.1 in_prefix=10.0.0.77 ;;
	6 | 46)
		gateway=fd00::2 host=fd00::2/128 covering=fd00::/120
		nowhere=2001:db8::1 in_prefix=fd00::77 ;;
	*ll)
		gateway=fe80::2 host=fe80::2/128 covering=fe80::/120
		nowhere=fe80::dead in_prefix=fe80::77 ;;
	esac
	via=via
	[[ $1 != 46* ]] || via="via inet6"
}

# add_gateway_route GATEWAY [WORD]...
add_gateway_route()
{
	# shellcheck disable=SC2086 # $via is one or two words
	check ip_hub route add "$prefix" $via "$1" dev hub "${@:2}"
}

# check_both_ways WAY PEER: packets go to the peer, and are taken from it alone
check_both_ways()
{
	count_from_now
	check_send "p$2" hub "$addr"
	check_counters "tx-$1=1"
	check_source "$addr" "rx-$1" "p$2"
}

# check_no_way: packets go to nobody, and nobody may send
check_no_way()
{
	count_from_now
	check_send ENOKEY hub "$addr"
	check_send "$unreachable" lan "$addr"
	check_counters tx-drop-gateway=2
	check_source "$addr" rx-drop-peer none
}

neighbour()
{
	kind "$1"
	add_gateway_route "$gateway"
	check_both_ways gateway 2
	set_mode auto
	count_from_now
	check_send p1 hub "$addr"
	check_counters
	check_source "$addr" - p1
}

# No route to the gateway says who has its address.
route_to_gateway()
{
	kind "$1"
	add_gateway_route "$gateway"
	check ip_hub route add "$host" dev hub via-wgpeer "${KEY[3]}"
	check_both_ways gateway 2
	check ip_hub route replace "$host" dev hub
	check_both_ways gateway 2
	check ip_hub route del "$host"
	check ip_hub route add "$covering" dev hub via-wgpeer "${KEY[3]}"
	check_both_ways gateway 2
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$host" dev other metric 1
	check_both_ways gateway 2
	check ip_hub link del other
}

own_key_wins()
{
	kind "$1"
	add_gateway_route "$gateway" via-wgpeer "${KEY[3]}"
	check_both_ways wgpeer 3
	set_mode auto
	check_both_ways wgpeer 3
}

# A prefix of AllowedIPs has many addresses, and is no answer to who has one.
no_neighbour()
{
	kind "$1"
	add_gateway_route "$nowhere" onlink
	check_no_way
	check in_hub wg set hub peer "${KEY[1]}" allowed-ips "+0.0.0.0/0,+::/0"
	check_no_way
	check ip_hub route del "$prefix"
	add_gateway_route "$in_prefix" onlink
	check_no_way
	# A host entry is one.
	check in_hub wg set hub peer "${KEY[3]}" allowed-ips "+$in_prefix"
	check_both_ways gateway 3
	add_peer 1
	add_peer 3
}

# The neighbour goes and comes, and its address moves to another peer.
neighbour_moves()
{
	local i

	kind "$1"
	add_gateway_route "$gateway"
	check remove_peer 2
	count_from_now
	check_send ENOKEY hub "$addr"
	for i in 1 3; do
		check_forge dropped "p$i" wg0 "$addr" "$hub_addr"
	done
	check_counters tx-drop-gateway=1 rx-drop-peer=2
	check add_peer 2
	check_both_ways gateway 2
	check in_hub wg set hub peer "${KEY[3]}" allowed-ips "+$gateway"
	check_both_ways gateway 3
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips "+$gateway"
	check_both_ways gateway 2
	add_peer 3
}

on_link()
{
	kind "$1"
	check ip_hub route add "$prefix" dev hub
	check_both_ways onlink 1
	check ip_hub "-$1" route add default dev hub
	count_from_now
	check_send ENOKEY hub "$nobodys"
	check_send "$unreachable" lan "$nobodys"
	check_counters tx-drop-onlink=2
	check_source "$nobodys" rx-drop-peer none
	set_mode auto
	count_from_now
	check_send p1 hub "$addr"
	check_send ENOKEY hub "$nobodys"
	check_counters
	check_source "$addr" - p1
	check_source "$nobodys" - none
}

# A daemon that copies routes to AllowedIPs writes the prefix of a route to the peer with the gateway,
# takes it away with the route, and does it again after wg syncconf.
nothing_copied()
{
	local before

	kind "$1"
	in_hub wg showconf hub >"$TMP/conf"
	before=$(in_hub wg show hub allowed-ips)
	add_gateway_route "$gateway"
	check_both_ways gateway 2
	check in_hub wg syncconf hub "$TMP/conf"
	check_both_ways gateway 2
	check ip_hub route replace "$prefix" via "$peer3" dev hub
	check_both_ways gateway 3
	check ip_hub route del "$prefix"
	check_source "$addr" rx-allowedips p1
	check_eq "AllowedIPs" "$before" "$(in_hub wg show hub allowed-ips)"
}

# A sender may name the next hop itself, apart from where the packet is to go in
# the end: that next hop is a gateway, whatever the destination.
named_by_sender()
{
	kind "$1"
	check ip_hub route add "$prefix" dev hub
	count_from_now
	check_raw p2 hub "$gateway" "$hub_addr" "$addr"
	check_raw p2 hub "$gateway" "$hub_addr" "$nobodys"
	check_counters tx-gateway=2
	count_from_now
	check_raw p1 hub "$addr" "$hub_addr" "$addr"
	check_counters tx-onlink=1
	check ip_hub route add "$host" dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_raw p3 hub "$gateway" "$hub_addr" "$addr"
	check_counters tx-wgpeer=1
	set_mode auto
	count_from_now
	check_raw p3 hub "$gateway" "$hub_addr" "$addr"
	check_counters tx-wgpeer=1
	check ip_hub route del "$host"
	count_from_now
	check_raw p1 hub "$gateway" "$hub_addr" "$addr"
	check_counters
}

for k in 4 6 6ll 46 46ll; do
	case $k in
	4) what="IPv4" ;;
	6) what="IPv6" ;;
	6ll) what="IPv6, link-local gateway" ;;
	46) what="IPv4 over IPv6" ;;
	46ll) what="IPv4 over IPv6, link-local gateway" ;;
	esac
	test_add "$what: the neighbour with the gateway's address" neighbour $k
	test_add "$what: routes to the gateway do not count" route_to_gateway $k
	test_add "$what: the route's own key wins over its gateway" own_key_wins $k
	test_add "$what: nobody has the gateway's address" no_neighbour $k
	test_add "$what: the gateway's address goes, comes and moves" neighbour_moves $k
done
test_add "IPv4: on-link" on_link 4
test_add "IPv6: on-link" on_link 6
test_add "IPv4: routes need no copy in AllowedIPs" nothing_copied 4
test_add "IPv6: routes need no copy in AllowedIPs" nothing_copied 6
test_add "IPv4: the sender names the next hop" named_by_sender 4
test_add "IPv6: the sender names the next hop" named_by_sender 6

setup_hub 3 lan
set_mode $MODE
tests_run
