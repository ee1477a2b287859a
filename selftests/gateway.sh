#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A route with a plain gateway leads to the peer that the route to the gateway
# names, else to the one that has the gateway in its AllowedIPs; one level, never
# deeper. Without a gateway it is the destination's AllowedIPs.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

# kind KIND: 4 and 6 with a global gateway, 6ll with a link-local one, 46 and
# 46ll for IPv4 over an IPv6 gateway. The gateway is an address of peer 2,
# gateway3 one of peer 3, and "nowhere" is one of nobody.
kind()
{
	case $1 in
	4*) prefix=10.2.0.0/16 addr=10.2.0.1 hub_addr=10.0.0.254 nobodys=198.51.100.1 ;;
	6*) prefix=fd02::/48 addr=fd02::1 hub_addr=fd00::fe nobodys=2001:db8::1 ;;
	esac
	case $1 in
	4)
		gateway=10.0.0.2 gateway3=10.0.0.3 host=10.0.0.2/32 host3=10.0.0.3/32
		covering=10.0.0.0/30 nowhere=198.51.100.1 ;;
	6 | 46)
		gateway=fd00::2 gateway3=fd00::3 host=fd00::2/128 host3=fd00::3/128
		covering=fd00::/120 nowhere=2001:db8::1 ;;
	*ll)
		gateway=fe80::2 gateway3=fe80::3 host=fe80::2/128 host3=fe80::3/128
		covering=fe80::/120 nowhere=fe80::dead ;;
	esac
	via="via" via3="via $gateway3"
	[[ $1 != 46* ]] || via="via inet6"
	via="$via $gateway"
}

# add_gateway_route [WORD]...
# shellcheck disable=SC2086 # $via is two or three words
add_gateway_route()
{
	check ip_hub route add "$prefix" $via dev hub "$@"
}

# check_both_ways WAY PEER: packets go to the peer, and are taken from it alone
check_both_ways()
{
	local way=$1 peer=$2 others i

	count_from_now
	check_send "p$peer" hub "$addr"
	check_forge hub "p$peer" wg0 "$addr" "$hub_addr"
	for i in 1 2 3; do
		[[ $i == "$peer" ]] || check_forge dropped "p$i" wg0 "$addr" "$hub_addr"
	done
	check_counters "tx-$way=1" "rx-$way=1" rx-drop-peer=2
}

by_allowedips()
{
	kind "$1"
	add_gateway_route
	check_both_ways gateway-allowedips 2
	set_mode off
	check_send p1 hub "$addr"
}

by_host_route()
{
	kind "$1"
	add_gateway_route
	check ip_hub route add "$host" dev hub via-wgpeer "${KEY[3]}"
	check_both_ways gateway-wgpeer 3
	check ip_hub route del "$host" dev hub via-wgpeer "${KEY[3]}"
	check_both_ways gateway-allowedips 2
}

by_covering_route()
{
	kind "$1"
	add_gateway_route
	check ip_hub route add "$covering" dev hub via-wgpeer "${KEY[3]}"
	check_both_ways gateway-wgpeer 3
	check ip_hub route add "$host" dev hub
	check_both_ways gateway-allowedips 2
}

own_key_wins()
{
	kind "$1"
	add_gateway_route via-wgpeer "${KEY[3]}"
	check_both_ways wgpeer 3
	check ip_hub route add "$host" dev hub via-wgpeer "${KEY[1]}"
	check_both_ways wgpeer 3
}

# The route to the gateway has a gateway, to which a route names a peer: neither
# that gateway's AllowedIPs nor that peer count.
never_deeper()
{
	kind "$1"
	add_gateway_route
	check ip_hub route add "$host3" dev hub via-wgpeer "${KEY[1]}"
	# shellcheck disable=SC2086 # two words
	check ip_hub route add "$host" $via3 dev hub
	check_both_ways gateway-allowedips 2
	# shellcheck disable=SC2086 # two words
	check ip_hub route replace "$host" $via3 dev hub via-wgpeer "${KEY[3]}"
	check_both_ways gateway-wgpeer 3
}

# Routes to the gateway through other devices say nothing about this one.
other_device()
{
	kind "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	add_gateway_route
	check ip_hub route add "$host" dev other metric 1
	check_both_ways gateway-allowedips 2
	check ip_hub route add "$covering" dev hub via-wgpeer "${KEY[3]}"
	check_both_ways gateway-wgpeer 3
	check ip_hub link del other
}

no_peer()
{
	local i

	kind "$1"
	new_key 99
	# A gateway that no AllowedIPs have
	gateway=$nowhere
	via="${via% *} $nowhere"
	add_gateway_route onlink
	count_from_now
	check_send ENOKEY hub "$addr"
	for i in 1 2 3; do
		check_forge dropped "p$i" wg0 "$addr" "$hub_addr"
	done
	check_counters tx-drop-gateway=1 rx-drop-peer=3
	check ip_hub route del "$prefix"

	# A gateway to which the route names a peer that is not there
	kind "$1"
	add_gateway_route
	check_warns "$W1" ip_hub route add "$host" dev hub via-wgpeer "${KEY[99]}"
	count_from_now
	check_send ENOKEY hub "$addr"
	for i in 1 2 3; do
		check_forge dropped "p$i" wg0 "$addr" "$hub_addr"
	done
	check_counters tx-drop-gateway=1 rx-drop-peer=3
}

on_link()
{
	kind "$1"
	check ip_hub route add "$prefix" dev hub
	check_both_ways onlink 1
	check ip_hub "-$1" route add default dev hub
	count_from_now
	check_send ENOKEY hub "$nobodys"
	check_forge dropped p1 wg0 "$nobodys" "$hub_addr"
	check_counters tx-drop-onlink=1 rx-drop-peer=1
}

# Who sends may name the next hop itself, apart from where the packet is to go in
# the end: that next hop is a gateway, whatever the destination.
named_by_sender()
{
	kind "$1"
	check ip_hub route add "$prefix" dev hub
	count_from_now
	check_raw p2 hub "$gateway" "$hub_addr" "$addr"
	check_raw p2 hub "$gateway" "$hub_addr" "$nobodys"
	check_counters tx-gateway-allowedips=2
	count_from_now
	check_raw p1 hub "$addr" "$hub_addr" "$addr"
	check_counters tx-onlink=1
	check ip_hub route add "$host" dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_raw p3 hub "$gateway" "$hub_addr" "$addr"
	check_counters tx-wgpeer=1
}

for k in 4 6 6ll 46 46ll; do
	case $k in
	4) what="IPv4" ;;
	6) what="IPv6" ;;
	6ll) what="IPv6, link-local gateway" ;;
	46) what="IPv4 over IPv6" ;;
	46ll) what="IPv4 over IPv6, link-local gateway" ;;
	esac
	test_add "$what: AllowedIPs of the gateway" by_allowedips $k
	test_add "$what: the host route to the gateway names a peer" by_host_route $k
	test_add "$what: a shorter route to the gateway names a peer" by_covering_route $k
	test_add "$what: the route's own key wins over its gateway" own_key_wins $k
	test_add "$what: one level, never deeper" never_deeper $k
	test_add "$what: only routes to the gateway on the device count" other_device $k
	test_add "$what: the gateway has no peer" no_peer $k
done
test_add "IPv4: on-link" on_link 4
test_add "IPv6: on-link" on_link 6
test_add "IPv4: the sender names the next hop" named_by_sender 4
test_add "IPv6: the sender names the next hop" named_by_sender 6

setup_hub 3
set_mode $MODE
tests_run
