#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The hub as a router: from peer to peer through the one device, between a peer and a
# LAN, and the ICMP errors that go back to either.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

test_reset()
{
	reset_hub
	set_filter device
}

# routes_start FILTER FAMILY: prefix2 is peer 2's, and prefix3 peer 3's; prefix leads nowhere.
routes_start()
{
	family "$2"
	set_filter "$1"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix3" dev hub via-wgpeer "${KEY[3]}"
	count_from_now
}

peer_to_peer()
{
	routes_start "$@"
	check_ping_from p2 "$addr2" "$addr3" p3
	check_counters rx-wgpeer=2 tx-wgpeer=2
	count_from_now
	check_ping_from p3 "$addr3" "$addr2" p2
	check_counters rx-wgpeer=2 tx-wgpeer=2
	# The next packet goes by the route that there is then, from a peer too.
	check ip_hub route replace "$prefix3" dev hub via-wgpeer "${KEY[1]}"
	check in_peer 1 ip address add "$addr3/$bits" dev lo
	check_ping_from p2 "$addr2" "$addr3" p1
	check in_peer 1 ip address del "$addr3/$bits" dev lo
	# Nobody may send from the prefix of another.
	count_from_now
	check_forge dropped p2 wg0 "$addr3" "$addr2"
	check_forge dropped p3 wg0 "$addr2" "$addr3"
	check_forge dropped p1 wg0 "$addr2" "$addr3"
	check_counters rx-drop-peer=3
}

peer_and_lan()
{
	routes_start "$@"
	check_ping_from p2 "$addr2" "$lan_addr" lan
	check_ping_from lan "$lan_addr" "$addr2" p2
	check_counters rx-wgpeer=2 tx-wgpeer=2
	count_from_now
	check_forge dropped p3 wg0 "$addr2" "$lan_addr"
	check_counters rx-drop-peer=1
	# An address of the LAN is no peer's.
	count_from_now
	check_forge dropped p2 wg0 "$lan_addr" "$addr3"
	check_counters "$([[ $1 == strict ]] && echo rx-drop-device || echo rx-drop-peer)=1"
}

# check_error_at_peer TEXT DST [OPTION]...: a ping of peer 2 has this error for its answer, which
# ends it, and which only a packet through the tunnel can be
check_error_at_peer()
{
	local out text=$1
	shift

	out=$(in_peer 2 ping -n -c 1 -i 1000 -w $((10 * SLOW)) -I "$addr2" "$@" 2>&1) &&
		fail "ping from p2 to $* is answered"
	[[ $out == *"From $hub_addr icmp_seq=1 $text"* ]] ||
		fail "ping from p2 to $*: wants \"$text\", got: $out"
}

# The error goes back by the route to the sender, in the tunnel if the sender is a peer.
errors()
{
	new_key 99
	routes_start "$@"
	check_warns "$NO_PEER_YET" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[99]}"
	count_from_now
	check_error_at_peer "$ping_unreachable" "$addr"
	check_counters rx-wgpeer=1 tx-drop-wgpeer=1 tx-wgpeer=1
	count_from_now
	check_send "$unreachable" lan "$addr"
	check_counters tx-drop-wgpeer=1

	# The same of an address that nobody has, and of such a gateway
	check ip_hub route add "$nobodys" dev hub
	count_from_now
	check_error_at_peer "$ping_unreachable" "$nobodys"
	check_counters rx-wgpeer=1 tx-drop-onlink=1 tx-wgpeer=1
	count_from_now
	check_send "$unreachable" lan "$nobodys"
	check_counters tx-drop-onlink=1
	check ip_hub route replace "$prefix" via "$nobodys" dev hub onlink
	count_from_now
	check_error_at_peer "$ping_unreachable" "$addr"
	check_counters rx-wgpeer=1 tx-drop-gateway=1 tx-wgpeer=1
	count_from_now
	check_send "$unreachable" lan "$addr"
	check_counters tx-drop-gateway=1

	# Errors for packets whose hop limit ends, on which traceroute relies
	count_from_now
	check_error_at_peer "$ping_exceeded" "$addr3" -t 1
	check_counters rx-wgpeer=1 tx-wgpeer=1
}

# redirected NAME: ICMPv6 redirects that it has got
redirected()
{
	# shellcheck disable=SC2016 # fields of awk
	in_ns "${!1}" nstat -asz Icmp6InRedirects | awk '!/^#/ { print $2 }'
}

# A hub that has a link-local address tells both peers that the other one is on-link, as
# with WireGuard alone, in a packet more each. They go on as before.
redirects()
{
	local before2 before3

	routes_start device 6
	# Not the addresses of before, for which there is a limit
	addr2=fd03::9 addr3=fd04::9
	check in_peer 2 ip address add "$addr2/128" dev lo
	check in_peer 3 ip address add "$addr3/128" dev lo
	check ip_hub address add fe80::fe/64 dev hub
	before2=$(redirected p2) before3=$(redirected p3)
	check_ping_from p2 "$addr2" "$addr3" p3
	check_counters rx-wgpeer=2 tx-wgpeer=4
	check_eq "redirects that p2 and p3 get" "1 1" \
		"$(($(redirected p2) - before2)) $(($(redirected p3) - before3))"
	check_ping_from p2 "$addr2" "$addr3" p3
	check ip_hub address del fe80::fe/64 dev hub
	check in_peer 2 ip address del "$addr2/128" dev lo
	check in_peer 3 ip address del "$addr3/128" dev lo
}

# Ethernet in GRE: the 14 bytes of the inner frame's header put the outer IP header at an
# address that four does not divide, on its way into the device and out of it.
unaligned()
{
	local kind=gretap

	routes_start device "$1"
	[[ $f == 4 ]] || kind=ip6gretap
	check ip -n "$lan" link add tunnel type "$kind" local "$lan_addr" remote "$addr2"
	check ip -n "$p2" link add tunnel type "$kind" local "$addr2" remote "$lan_addr"
	check ip -n "$lan" address add 172.16.0.1/24 dev tunnel
	check ip -n "$p2" address add 172.16.0.2/24 dev tunnel
	check ip -n "$lan" link set tunnel addrgenmode none up
	check ip -n "$p2" link set tunnel addrgenmode none up
	check_ping_from lan 172.16.0.1 172.16.0.2 p2
	# ARP, asked and answered, and the ping
	check_moved_alone rx_wgpeer tx_wgpeer
	check ip -n "$lan" link del tunnel
	check ip -n "$p2" link del tunnel
}

# check_moved_alone COUNTER...: these have moved, however much, and no other
check_moved_alone()
{
	local moved

	# shellcheck disable=SC2016 # variables of jq
	moved=$(in_hub wgvia show -j hub | jq -r --argjson before "$COUNTED" '
		$before[0].counters as $before
		| [.[0].counters | to_entries[] | select(.value != $before[.key]).key] | sort | join(" ")')
	check_eq "counters that have moved" "$*" "$moved"
}

for f in 4 6; do
	for filter in device strict; do
		test_add "IPv$f: $filter: from peer to peer" peer_to_peer $filter $f
		test_add "IPv$f: $filter: between a peer and a LAN" peer_and_lan $filter $f
		test_add "IPv$f: $filter: errors go back to a peer and to a LAN" errors $filter $f
	done
	test_add "IPv$f: IP headers that are not aligned" unaligned $f
done
test_add "IPv6: a hub with a link-local address sends redirects" redirects

setup_hub 3 lan
for i in 2 3; do
	ns=p$i
	ip -n "${!ns}" -batch - <<-END
		address add 10.$((i + 1)).0.1/32 dev lo
		address add fd0$((i + 1))::1/128 dev lo
	END
done
# One packet for each that is forwarded: see redirects()
check ip_hub address del fe80::fe/64 dev hub
in_hub sysctl -qw net.ipv6.conf.hub.force_forwarding=1
set_mode $MODE
tests_run
