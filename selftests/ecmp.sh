#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Multipath routes: flows are spread by weight and stay on their peer, and a
# source is accepted from the peer of every nexthop.

# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

MODE=auto

family()
{
	if [[ $1 == 4 ]]; then
		prefix=10.2.0.0/16 addr=10.2.0.1 gateway=10.0.0.2 hub_addr=10.0.0.254
	else
		prefix=fd02::/48 prefix2=fd03::/48 addr=fd02::1 gateway=fd00::2 hub_addr=fd00::fe
	fi
}

# peers FAMILY: of the nexthops of the route to the prefix
peers()
{
	ip_hub "-$1" -j route show "$prefix" |
		jq -r '[.[0] | .nexthops // [.] | .[] | .via_wgpeer // .gateway // .via.host // .dev] | join(" ")' |
		names
}

# weights FAMILY NAME: of the flows that it sends
weights()
{
	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" weight 3 \
		nexthop dev hub via-wgpeer "${KEY[3]}" weight 1
	check_three_to_one "$2" "$addr"
}

flows_stay()
{
	local first flow i

	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	for flow in a b c d; do
		packets open "$flow" hub "$addr"
		packets again "$flow"
		first=$REPLY
		for i in {1..5}; do
			packets again "$flow"
			check_eq "peer of flow $flow" "$first" "$REPLY"
		done
		packets close "$flow"
	done
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
	check_eq "nexthops" "$gateway K3 $other" "$(peers "$1")"
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_counters rx-gateway-allowedips=1 rx-wgpeer=1 rx-drop-peer=1
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

ipv4_commands()
{
	family 4
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[1]}" \
		nexthop dev hub via-wgpeer "${KEY[2]}"
	check_eq "nexthops" "K1 K2" "$(peers 4)"
	check ip_hub route replace "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after replace" "K2 K3" "$(peers 4)"
	# As with gateways: all nexthops as they are, or it is another route.
	check_fails "RTNETLINK answers: No such process" ip_hub route del "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check_eq "nexthops" "K2 K3" "$(peers 4)"
	check ip_hub route del "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "routes" "" "$(routes 4)"
}

ipv6_commands()
{
	local dev_only="Error: Device only routes can not be added for IPv6 using the multipath API."

	family 6
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route append "$prefix" via "$gateway" dev hub
	check_eq "nexthops after append" "K1 K2 $gateway" "$(peers 6)"
	check ip_hub route del "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check_eq "nexthops after del of K1" "K2 $gateway" "$(peers 6)"
	check ip_hub route append "$prefix" nexthop dev hub via-wgpeer "${KEY[1]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after append of two" "K2 $gateway K1 K3" "$(peers 6)"
	check ip_hub route del "$prefix" via "$gateway" dev hub
	check_eq "nexthops after del of the gateway" "K2 K1 K3" "$(peers 6)"
	check ip_hub route del "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after del of two" K1 "$(peers 6)"
	check ip_hub route replace "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after replace" "K2 K3" "$(peers 6)"
	check_show "nexthops after all this" .nexthops 2
	check ip_hub route del "$prefix"
	check_fails "$dev_only" ip_hub route add "$prefix" nexthop dev hub \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "routes" "" "$(routes 6)"
	check_show "nexthops without routes" .nexthops 0
}

# One nexthop of several that is there already: the others do not come either.
# What is rolled back has been told of: that it is gone again has to be told too.
ipv6_half_told()
{
	local pid

	family 6
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[1]}"
	nsenter --net="/run/netns/$hub" ip -6 monitor route >"$TMP/monitor" 2>&1 &
	pid=$!
	busywait listens_to_groups "$pid" || fail "ip monitor does not listen"
	check_fails "RTNETLINK answers: File exists" ip_hub route append "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[3]}"
	busywait grep -q "^$prefix2" "$TMP/monitor" || fail "no notification of the route after"
	kill "$pid"
	wait "$pid" 2>/dev/null
	check_eq "what was told last" "Deleted $prefix via-wgpeer K2 dev hub" \
		"$(names <"$TMP/monitor" | grep -v "^$prefix2" | tail -n 1 | sed -E 's/ +/ /g; s/(dev hub) .*/\1/')"
}

ipv6_half_done()
{
	family 6
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check_fails "RTNETLINK answers: File exists" ip_hub route append "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check_eq "nexthops after append" K1 "$(peers 6)"
	check_fails "RTNETLINK answers: File exists" ip_hub route add "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after add" K1 "$(peers 6)"
	check_fails "RTNETLINK answers: File exists" ip_hub route replace "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[2]}"
	check_eq "nexthops after replace" K1 "$(peers 6)"
	check_show "nexthops" .nexthops 1
	check_send p1 hub "$addr"
	# What is rolled back is what was added, not an older one with the same key.
	check ip_hub route append "$prefix" via "$gateway" dev hub via-wgpeer "${KEY[2]}"
	check_fails "RTNETLINK answers: File exists" ip_hub route append "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check_eq "nexthops after the second append" "K1 K2" "$(peers 6)"
	check_show "nexthops" .nexthops 2
}

for f in 4 6; do
	test_add "IPv$f: flows are spread by weight" weights $f hub
	test_add "IPv$f: forwarded flows are spread by weight" weights $f lan
	test_add "IPv$f: a flow stays on its peer" flows_stay $f
	test_add "IPv$f: the peer of each nexthop may send" every_member_may_send $f
	test_add "IPv$f: gateways and other devices beside" mixed $f
	test_add "IPv$f: an absent peer" absent_member $f
done
test_add "IPv4: replace and del" ipv4_commands
test_add "IPv6: append, replace and del of single nexthops" ipv6_commands
test_add "IPv6: what fails is not half done" ipv6_half_done
test_add "IPv6: what fails is told to be undone" ipv6_half_told

setup_hub 3 lan
set_mode $MODE
in_hub sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1
tests_run
