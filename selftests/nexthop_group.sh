#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Groups of nexthop objects that name a peer.

# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

MODE=auto

family()
{
	f=$1
	if [[ $1 == 4 ]]; then
		prefix=10.2.0.0/16 addr=10.2.0.1 gateway=10.0.0.2 hub_addr=10.0.0.254
	else
		prefix=fd02::/48 addr=fd02::1 gateway=fd00::2 hub_addr=fd00::fe
	fi
}

nexthop() { ip_hub "-$f" nexthop "$@"; }

# group FAMILY [WORD]...: a group of a type
group()
{
	family "$1"
	shift
	check nexthop add id 1 dev hub via-wgpeer "${KEY[1]}"
	check nexthop add id 2 dev hub via-wgpeer "${KEY[2]}"
	check nexthop add id 3 dev hub via-wgpeer "${KEY[3]}"
	check ip_hub nexthop add id 10 group 2/3 "$@"
	check ip_hub route add "$prefix" nhid 10
	check_eq "nexthops of the route" "K2 K3" "$(ip_hub "-$f" -j route show "$prefix" |
		jq -r '[.[0].nexthops[].via_wgpeer] | join(" ")' | names)"
	check_spread p2 p3
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=2 rx-drop-peer=1
	check nexthop replace id 3 dev hub via-wgpeer "${KEY[1]}"
	check_spread p1 p2
	check_forge hub p1 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check nexthop del id 3
	check_spread p2
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check ip_hub nexthop replace id 10 group 1/2 "$@"
	check_spread p1 p2
}

# A member that names no peer, and one on another device
mixed_group()
{
	family "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check nexthop add id 1 dev hub via-wgpeer "${KEY[3]}"
	check nexthop add id 2 via "$gateway" dev hub
	check nexthop add id 3 dev other
	check ip_hub nexthop add id 10 group 1/2/3
	check ip_hub route add "$prefix" nhid 10
	count_from_now
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=1 rx-gateway-allowedips=1 rx-drop-peer=1
	check ip_hub link del other
	check_spread p2 p3
}

for f in 4 6; do
	test_add "IPv$f: a group" group $f
	test_add "IPv$f: a resilient group" group $f type resilient buckets 32 idle_timer 0
	test_add "IPv$f: a group of all kinds" mixed_group $f
done

setup_hub 3
set_mode $MODE
in_hub sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1
tests_run
