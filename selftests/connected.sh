#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Connected sockets keep the route of their packets. They follow each change of the routes.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"
# shellcheck source=lib/traffic.sh
source "$(dirname "$0")/lib/traffic.sh"

MODE=on

test_reset()
{
	reset_hub
	flush_rules
}

connected_udp()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	packets open s hub "$addr"
	packets again s
	check_eq "first" p2 "$REPLY"
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[3]}"
	packets again s
	check_eq "after replace" p3 "$REPLY"
	check ip_hub route add "$longer" dev hub via-wgpeer "${KEY[1]}"
	packets again s
	check_eq "after an unrelated route" p3 "$REPLY"
	check ip_hub route add "$addr" dev hub via-wgpeer "${KEY[1]}"
	packets again s
	check_eq "after a longer prefix" p1 "$REPLY"
	check ip_hub route del "$addr" dev hub
	check ip_hub route replace "$prefix" via "$gateway" dev hub
	packets again s
	check_eq "after a gateway" p2 "$REPLY"
	check ip_hub route add "$gateway" dev hub via-wgpeer "${KEY[3]}"
	packets again s
	check_eq "after a route to the gateway" p2 "$REPLY"
	packets close s
}

# check_sockets WHAT EXPECTED: where the next packets of 30 connected sockets go
check_sockets()
{
	local i got=()

	for i in {1..30}; do
		packets again "$i"
		got+=("$REPLY")
	done
	check_eq "where sockets send $1" "$2" "$(distinct "${got[@]}")"
}

# A nexthop that comes to a route counts for the sockets that it has, and one that goes too.
connected_multipath()
{
	local i base second=(dev hub via-wgpeer "${KEY[2]}") third=(dev hub via-wgpeer "${KEY[3]}")

	family "$1"
	base=${addr%1}
	check ip_hub route add "$prefix" nexthop "${second[@]}" nexthop "${third[@]}"
	for i in {1..30}; do
		packets open "$i" hub "$base$i" src="$hub_addr"
	done
	check_sockets "through two nexthops" "p2 p3"
	if [[ $f == 4 ]]; then
		check ip_hub route replace "$prefix" "${second[@]}"
	else
		check ip_hub route del "$prefix" "${third[@]}"
	fi
	check_sockets "after peer 3 has gone" p2
	if [[ $f == 4 ]]; then
		check ip_hub route replace "$prefix" nexthop "${second[@]}" nexthop "${third[@]}"
	else
		check ip_hub route append "$prefix" "${third[@]}"
	fi
	check_sockets "after peer 3 has come back" "p2 p3"
	for i in {1..30}; do
		packets close "$i"
	done
}

# Rules count at once for a connected socket. A route in a table that they put before that of the
# socket's route does for IPv4 alone, on any device; for IPv6 when something changes in the latter.
connected_rule()
{
	local follows

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	packets open s hub "$addr" src="$hub_addr"
	packets again s
	check_eq "first" p2 "$REPLY"
	check ip_hub "-$f" rule add to "$prefix" table 100 pref 100 proto boot
	check_send p3 hub "$addr" src="$hub_addr"
	packets again s
	check_eq "after a rule" p3 "$REPLY"
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[1]}"
	packets again s
	check_eq "after a change in the table behind the rule" p3 "$REPLY"
	check ip_hub "-$f" rule del pref 100
	packets again s
	check_eq "after the rule has gone" p1 "$REPLY"
	packets close s

	check ip_hub "-$f" rule add to "$prefix" table 100 pref 100 proto boot
	check ip_hub "-$f" route del "$prefix" table 100
	packets open s hub "$addr" src="$hub_addr"
	packets again s
	check_eq "with an empty table before" p1 "$REPLY"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check_send p3 hub "$addr" src="$hub_addr"
	packets again s
	[[ $f == 4 ]] && follows=p3 || follows=p1
	check_eq "after a route in the table before" "$follows" "$REPLY"
	check ip_hub route append "$prefix" dev hub metric 2048
	packets again s
	check_eq "after a change in the table of its route" p3 "$REPLY"
	packets close s
}

connected_tcp()
{
	local host

	family "$1"
	host=$addr/$bits
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check in_peer 2 ip address add "$host" dev lo
	talk_start hub "$(url "$addr")"
	tell one
	busywait answered one || fail "no answer before the change"
	check_talk_follows "$prefix" two
	check_talk_moves three "route add $host dev hub via-wgpeer ${KEY[3]}" "route del $host"
	check ip_hub "-$f" nexthop add id 2 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route replace "$prefix" nhid 2
	tell four
	busywait answered four || fail "no answer through the nexthop object"
	check_talk_moves five "-$f nexthop replace id 2 dev hub via-wgpeer ${KEY[3]}" \
		"-$f nexthop replace id 2 dev hub via-wgpeer ${KEY[2]}"
	talk_end
	check in_peer 2 ip address del "$host" dev lo
}

for f in 4 6; do
	test_add "IPv$f: a connected UDP socket follows the routes" connected_udp $f
	test_add "IPv$f: connected UDP sockets follow a multipath route" connected_multipath $f
	test_add "IPv$f: a connected UDP socket and rules" connected_rule $f
	test_add "IPv$f: a TCP connection follows the routes" connected_tcp $f
done

setup_hub 3
set_mode $MODE
tests_run
