#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The recipes of docs/recipes.md do what the page says of them: the blocks of the
# page are run as they stand there.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"
# shellcheck source=lib/recipes.sh
source "$(dirname "$0")/lib/recipes.sh"

# check_may_send PEER SOURCE DST: it may send from this address, and no other may
check_may_send()
{
	local i

	for i in 1 2 3; do
		if [[ $i == "$1" ]]; then
			check_forge hub "p$i" wg0 "$2" "$3"
		else
			check_forge dropped "p$i" wg0 "$2" "$3"
		fi
	done
}

has_route() { [[ -n $(ip_hub route show "$@") ]]; }
has_no_route() { ! has_route "$@"; }

# unreachable PORT: the peer whose socket has this port gets nothing any more
unreachable()
{
	ip netns exec "$ul" nft "table ip gone {
		chain input {
			type filter hook input priority 0
			udp dport $1 drop
		}
	}"
}

reachable() { ip netns exec "$ul" nft delete table ip gone; }

failover()
{
	local watch

	recipe failover
	check_send p1 hub 10.1.0.1
	check_may_send 1 10.1.0.1 10.0.0.254

	# In a process group of its own, to end all of it
	set -m
	recipe failover-watch &
	watch=$!
	set +m
	check unreachable 51821
	busywait has_no_route 10.1.0.0/16 metric 10 || fail "peer 1 is gone, and its route is not"
	check_send p2 hub 10.1.0.1
	check_may_send 2 10.1.0.1 10.0.0.254

	check reachable
	busywait has_route 10.1.0.0/16 metric 10 || fail "peer 1 is back, and its route is not"
	check_send p1 hub 10.1.0.1
	check_may_send 1 10.1.0.1 10.0.0.254
	kill -- -"$watch"
	wait "$watch" 2>/dev/null

	check remove_peer 1
	check_send ENOKEY hub 10.1.0.1
	check add_peer 1
	check_send p1 hub 10.1.0.1
}

ecmp()
{
	local i

	recipe ecmp
	check_spread 10.1.0.1 p1 p2
	check_spread fd01::1 p1 p2
	for i in 1 2; do
		check_forge hub "p$i" wg0 10.1.0.1 10.0.0.254
		check_forge hub "p$i" wg0 fd01::1 fd00::fe
	done
	check_forge dropped p3 wg0 10.1.0.1 10.0.0.254
	check_forge dropped p3 wg0 fd01::1 fd00::fe

	recipe ecmp-shrink
	check_spread 10.1.0.1 p2
	check_spread fd01::1 p2
	check_may_send 2 10.1.0.1 10.0.0.254
	check_may_send 2 fd01::1 fd00::fe

	recipe ecmp-grow
	check_spread 10.1.0.1 p1 p2
	check_spread fd01::1 p1 p2
}

thousand()
{
	recipe nexthop
	check_eq "routes" 1000 "$(ip_hub route show proto boot | wc -l)"
	check_states 1
	check_send p1 hub 10.64.0.1
	check_send p1 hub 10.67.231.1
	check_may_send 1 10.65.7.1 10.0.0.254
	recipe nexthop-move
	check_send p2 hub 10.64.0.1
	check_send p2 hub 10.67.231.1
	check_may_send 2 10.65.7.1 10.0.0.254
}

add_lan()
{
	local n=$1 ns=$2

	ip_hub link add "lan$n" type veth peer name eth0 netns "${!ns}"
	ip -n "${!ns}" -batch - <<-END
		link set eth0 up
		address add 192.168.$n.2/24 dev eth0
		route add default via 192.168.$n.1
		address add 2001:db8:$n::2/64 dev eth0
		route add ::/0 via 2001:db8:$n::1
	END
}

# check_refused NAME DST TEXT: a ping has this error for its answer, which ends it
check_refused()
{
	local out

	out=$(in_ns "${!1}" ping -n -c 1 -i 1000 -w $((5 * SLOW)) "$2" 2>&1) &&
		fail "ping from $1 to $2 is answered"
	[[ $out == *"$3"* ]] || fail "ping from $1 to $2: wants \"$3\", got: $out"
}

vrf()
{
	add_lan 1 red
	add_lan 2 green
	recipe vrf
	recipe vrf-rules
	# To bind to, which a route does not allow
	check in_peer 1 ip address add fd01::1/128 dev lo
	check in_peer 2 ip address add fd01::1/128 dev lo
	check_ping_from red 192.168.1.2 10.1.0.1 p1
	check_ping_from red 2001:db8:1::2 fd01::1 p1
	check_ping_from green 192.168.2.2 10.1.0.1 p2
	check_ping_from green 2001:db8:2::2 fd01::1 p2

	# From the sites: each to its own LAN and to no other
	check_ping_from p1 10.1.0.1 192.168.1.2 red
	check_ping_from p1 fd01::1 2001:db8:1::2 red
	check_ping_from p2 10.1.0.1 192.168.2.2 green
	check_ping_from p2 fd01::1 2001:db8:2::2 green
	count_from_now
	check_forge dropped p2 wg0 10.1.0.1 192.168.1.2
	check_forge dropped p2 wg0 fd01::1 2001:db8:1::2
	check_forge dropped p1 wg0 10.1.0.1 192.168.2.2
	check_forge dropped p1 wg0 fd01::1 2001:db8:2::2
	check_forge dropped p3 wg0 10.1.0.1 192.168.1.2
	check_forge dropped p3 wg0 fd01::1 2001:db8:1::2
	check_counters rx-drop-peer=6
	# Nor does one VRF lead to the LAN of the other: the hub says so.
	check_refused red 192.168.2.2 "From 192.168.1.1 icmp_seq=1 Destination Host Unreachable"
	check_refused red 2001:db8:2::2 \
		"From 2001:db8:1::1 icmp_seq=1 Destination unreachable: No route"
}

objects()
{
	local i order

	recipe objects
	# Those that were removed and added again come last.
	mapfile -t order < <(in_hub wg show wg0 peers | names | tr -d K)
	for i in 1 2 3; do
		check_send "p${order[i - 1]}" hub "10.$i.0.1"
		check_may_send "${order[i - 1]}" "10.$i.0.1" 10.0.0.254
	done
}

exits()
{
	local i

	add_lan 1 red
	add_lan 2 green
	for i in 1 2; do
		# To bind to, which a route does not allow
		check in_peer "$i" ip address add 198.51.100.1/32 dev lo
		check ip_hub address add "192.168.$i.1/24" dev "lan$i"
		check ip_hub link set "lan$i" up
	done
	recipe exits
	check_ping_from red 192.168.1.2 198.51.100.1 p1
	check_ping_from green 192.168.2.2 198.51.100.1 p2
	check_forge hub p1 wg0 198.51.100.1 10.0.0.254
	check_forge hub p2 wg0 198.51.100.1 10.0.0.254
	check_forge dropped p3 wg0 198.51.100.1 10.0.0.254
	check_may_send 3 10.1.0.1 10.0.0.254
}

asymmetric()
{
	local i

	check ip_hub route add 10.1.0.0/16 via 10.0.0.1 dev wg0
	check_may_send 1 10.1.0.1 10.0.0.254
	check ip_hub route del 10.1.0.0/16
	recipe asymmetric
	check_send p1 hub 10.1.0.1
	for i in 1 2 3; do
		check_forge hub "p$i" wg0 10.1.0.1 10.0.0.254
	done
	check_may_send 3 10.0.0.3 10.0.0.254
	check_forge dropped p2 wg0 198.51.100.1 10.0.0.254
}

by_source()
{
	local i

	add_lan 1 red
	add_lan 2 green
	recipe by-source
	check in_hub sysctl -qw net.ipv6.conf.all.forwarding=1
	for i in 1 2; do
		check ip_hub address add "2001:db8:$i::1/64" dev "lan$i"
		check ip_hub link set "lan$i" up
		check in_peer "$i" ip address add 2001:db8:ffff::1/128 dev lo
	done
	check_ping_from red 2001:db8:1::2 2001:db8:ffff::1 p1
	check_ping_from green 2001:db8:2::2 2001:db8:ffff::1 p2
	check_forge hub,red p1 wg0 2001:db8:ffff::1 2001:db8:1::2
	check_forge dropped p2 wg0 2001:db8:ffff::1 2001:db8:1::2
	check_forge hub,green p2 wg0 2001:db8:ffff::1 2001:db8:2::2
	check_forge dropped p1 wg0 2001:db8:ffff::1 2001:db8:2::2
}

mdns()
{
	local group i

	recipe mdns
	for group in 224.0.0.251 ff02::fb; do
		packets copy hub "$group" connect=no dev=wg0
		for i in 1 2 3; do
			check_send "p$i" hub "10.0.0.$i"
		done
		packets copied
		check_eq "who gets a datagram to $group" "p1=1 p2=1 p3=1" "$REPLY"
	done
}

quick()
{
	recipe wg-quick
	check_eq "mode" on "$(in_hub wgvia show -j wg1 | jq -r '.[0].mode')"
	check_eq "routes" "10.1.0.0/16 via-wgpeer K1 dev wg1 scope link" "$(routes 4)"
	in_hub wg-quick down "$TMP/$hub/wg1.conf" >/dev/null 2>&1 || fail "wg-quick down fails"
	check_eq "routes when it is down" "" "$(routes 4)"
}

cleanup_recipes()
{
	local dev i

	in_hub sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
	# Which is what ip rule add makes, when nothing is said
	ip_hub rule flush proto unspec
	ip_hub -6 rule flush proto unspec
	in_hub nft flush ruleset
	for i in 1 2; do
		printf 'address del %s dev lo\n' fd01::1/128 198.51.100.1/32 2001:db8:ffff::1/128 |
			in_peer "$i" ip -force -batch - 2>/dev/null
	done
	ip_hub link del wg1 2>/dev/null
	in_hub wgvia set wg0 filter device multicast off
	for dev in lan1 lan2 red green; do
		ip_hub link del "$dev" 2>/dev/null
	done
}

via_inet6()
{
	recipe via-inet6
	count_from_now
	check_send p1 hub 10.1.0.1
	check_counters tx-gateway=1
	check_may_send 1 10.1.0.1 10.0.0.254
}

test_reset()
{
	cleanup_recipes
	# Before the routes: ip cannot flush those that use an object.
	ip_hub nexthop flush >/dev/null
	reset_hub
	# The kernel's own are there from the start, or with the first VRF.
	check_eq "rules left" "" "$(for f in 4 6; do
		ip_hub -d "-$f" rule show | grep -v ' proto kernel'
	done)"
	check_eq "routes left" "" "$(routes 4; routes 6)"
}

setup_hub 3 red green

test_add "failover between two peers by metric" failover
test_add "ECMP over two peers" ecmp
test_add "a thousand prefixes moved by one nexthop object" thousand
test_add "VRFs that reach their sites through one device" vrf
test_add "IPv4 over IPv6 next hops" via_inet6
test_add "many peers with one nexthop object each" objects
test_add "two exits with masquerade" exits
test_add "answers that come by another peer" asymmetric
test_add "IPv6 by source: two uplinks" by_source
test_add "mDNS" mdns
test_add "wg-quick" quick
test_add "every block of the page is tested" all_blocks_tested lib/recipes.sh recipes.sh daemons/{bgp,keys,networkd,ospf}.sh

tests_run
