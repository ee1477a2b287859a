#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Multipath routes: flows are spread by weight and stay on their peer, and a
# source is accepted from the peer of every nexthop.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

# weights FAMILY NAME: of the flows that it sends
weights()
{
	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" weight 3 \
		nexthop dev hub via-wgpeer "${KEY[3]}" weight 1
	check_three_to_one "$2" "$addr"
}

# check_flows_stay NAME [OPTION]...: 20 flows that it sends, by turns, each always to
# the same of these: $ways
check_flows_stay()
{
	local first=() flow i

	for flow in {0..47}; do
		packets open "$flow" "$1" "$addr" "${@:2}"
		packets again "$flow"
		first[flow]=$REPLY
	done
	check_eq "ways of the flows" "$ways" "$(distinct "${first[@]}")"
	for i in 1 2; do
		for flow in {47..0}; do
			packets again "$flow"
			check_eq "flow $flow" "${first[flow]}" "$REPLY"
		done
	done
	for flow in {0..47}; do
		packets close "$flow"
	done
}

# flows_stay FAMILY NAME [OPTION]...
flows_stay()
{
	local ways="p2 p3"

	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_flows_stay "${@:2}"
	check_counters tx-wgpeer=144
}

# The same addresses and ports, each time from another socket. (What comes from a connected
# socket of the same machine brings along a hash that the socket has chosen at random, and the
# kernel uses that.)
same_flow_stays()
{
	local first=() i port

	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	for port in {40000..40019}; do
		send "$2" "$addr" connect=no sport="$port"
		first[port]=$REPLY
	done
	check_eq "peers of the flows" "p2 p3" "$(distinct "${first[@]}")"
	for i in 1 2; do
		for port in {40019..40000}; do
			check_send "${first[port]}" "$2" "$addr" connect=no sport="$port"
		done
	done
}

# By addresses alone: a pair of them has one peer, whatever the ports. (The flow label of IPv6
# counts too, and is another for each socket where it is not turned off.)
by_addresses()
{
	local first=() i

	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	in_hub sysctl -qw "net.ipv$1.fib_multipath_hash_policy=0"
	in_ns "$lan" sysctl -qw net.ipv6.auto_flowlabels=0
	for i in {1..20}; do
		send "$2" "${addr%1}$i" connect=no
		first[i]=$REPLY
	done
	check_eq "peers of the addresses" "p2 p3" "$(distinct "${first[@]}")"
	for i in {1..20}; do
		packets spread 3 "$2" "${addr%1}$i" connect=no
		check_eq "what is sent to address $i" "${first[i]}=3" "$REPLY"
	done
	in_ns "$lan" sysctl -qw net.ipv6.auto_flowlabels=1
	in_hub sysctl -qw "net.ipv$1.fib_multipath_hash_policy=1"
}

every_member_may_send()
{
	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" weight 100 \
		nexthop dev hub via-wgpeer "${KEY[3]}" weight 1
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=2 rx-drop-peer=1
}

# A gateway, and another device, which gives no one a permit
mixed()
{
	family "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub address add 192.168.1.1/24 dev other
	check ip_hub address add fd99::1/64 dev other
	local other=192.168.1.2
	[[ $1 == 4 ]] || other=fd99::2
	check ip_hub route add "$prefix" nexthop via "$gateway" dev hub \
		nexthop dev hub via-wgpeer "${KEY[3]}" nexthop via "$other" dev other
	check_eq "nexthops" "$gateway K3 $other" "$(nexthops "$1")"
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_counters rx-gateway=1 rx-wgpeer=1 rx-drop-peer=1
	check ip_hub route del "$prefix"
	check ip_hub link del other
}

# A key, a gateway and another device, which leads to the namespace lan: 90 flows take all
# of the three ways.
mixed_ways()
{
	local local=192.168.1.1/24 other=192.168.1.2/24 ways="lan p2 p3"

	family "$1"
	set_mode on
	[[ $1 == 4 ]] || local=fd99::1/64 other=fd99::2/64
	check ip_hub link add other type veth peer name other netns "$lan"
	check ip -n "$lan" link set other up
	check ip -n "$lan" address add "$other" dev other
	check ip_hub link set other up
	check ip_hub address add "$local" dev other
	check ip_hub route add "$prefix" nexthop via "$gateway" dev hub \
		nexthop dev hub via-wgpeer "${KEY[3]}" nexthop via "${other%/*}" dev other
	count_from_now
	packets spread 90 "$2" "$addr" connect=no
	check_eq "ways of the flows" "lan p2 p3" "$(spread_over)"
	check_eq "flows" 90 $(($(share p2) + $(share p3) + $(share lan)))
	check_counters tx-gateway="$(share p2)" tx-wgpeer="$(share p3)"
	check_flows_stay "$2" connect=no
	check ip_hub route del "$prefix"
	check ip_hub link del other
}

# The flows of an absent peer get ENOKEY, the others go on.
absent_member()
{
	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check remove_peer 3
	packets spread 40 hub "$addr"
	check_eq "flows" 40 $(($(share p2) + $(share ENOKEY)))
	[[ $(share p2) -gt 0 && $(share ENOKEY) -gt 0 ]] || fail "flows go to: $REPLY"
	check add_peer 3
	packets spread 40 hub "$addr"
	[[ $(share p2) -gt 0 && $(share p3) -gt 0 ]] || fail "flows go to: $REPLY"
}

for f in 4 6; do
	test_add "IPv$f: flows are spread by weight" weights $f hub
	test_add "IPv$f: forwarded flows are spread by weight" weights $f lan
	test_add "IPv$f: a flow stays on its peer" flows_stay $f hub
	test_add "IPv$f: a flow without a route of its own stays" flows_stay $f hub connect=no
	test_add "IPv$f: a forwarded flow stays" flows_stay $f lan
	test_add "IPv$f: a flow from many sockets stays" same_flow_stays $f hub
	test_add "IPv$f: a forwarded flow from many sockets stays" same_flow_stays $f lan
	test_add "IPv$f: flows by addresses" by_addresses $f hub
	test_add "IPv$f: forwarded flows by addresses" by_addresses $f lan
	test_add "IPv$f: a peer, a gateway and another device" mixed_ways $f hub
	test_add "IPv$f: a peer, a gateway and another device, forwarded" mixed_ways $f lan
	test_add "IPv$f: the peer of each nexthop may send" every_member_may_send $f
	test_add "IPv$f: gateways and other devices beside" mixed $f
	test_add "IPv$f: an absent peer" absent_member $f
done

setup_hub 3 lan
set_mode $MODE
in_hub sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1
tests_run
