#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The cost of one packet of a peer is bounded: 64 tables and 64 nexthops of a route
# or routes of a prefix are looked at. What is beyond is dropped, and the drop of tables has
# its counter.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

TABLES=64
MEMBERS=64

test_reset() { reset_sources device; }

# named: how many tables rules of the family name
named() { ip_hub -j "-$f" rule show | jq '[.[].table | values] | unique | length'; }

# name_tables COUNT: rules, until they name so many
name_tables()
{
	local i now

	now=$(named)
	for ((i = now; i < $1; i++)); do
		echo "rule add fwmark $((1000 + i)) table $((1000 + i)) pref $((1000 + i)) proto boot"
	done >"$TMP/rules"
	check ip_hub "-$f" -batch "$TMP/rules"
	check_eq "tables that rules name" "$1" "$(named)"
}

# tables FAMILY MODE
tables()
{
	local filter i last=$((1000 + TABLES - 1))

	family "$1"
	set_mode "$2"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	name_tables "$TABLES"
	# Again and again, which names none that is new
	for i in {1..100}; do
		echo "rule add to 198.18.$i.0/24 table $last pref $((2000 + i)) proto boot"
	done >"$TMP/rules"
	[[ $f == 4 ]] || sed -i -E 's,198\.18\.([0-9]+)\.0/24,2001:db8:f:\1::/64,' "$TMP/rules"
	check ip_hub "-$f" -batch "$TMP/rules"
	check_source "$addr" rx-wgpeer p2
	# The last one counts as the first does.
	check ip_hub "-$f" route add "$longer" dev hub via-wgpeer "${KEY[3]}" table "$last"
	check_source "$longer_addr" rx-wgpeer p3
	set_filter loose
	check_send p2 hub "$addr"
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=1

	check rule add fwmark 9 table 999 pref 999
	for filter in device loose; do
		set_filter "$filter"
		check_source "$addr" rx-drop-tables none
		check_source "$longer_addr" rx-drop-tables none
	done
	# Sending asks for one route, as ever.
	count_from_now
	check_send p2 hub "$addr"
	check_counters tx-wgpeer=1
	set_filter device
	check rule del pref 999
	check_source "$addr" rx-wgpeer p2
	check_source "$longer_addr" rx-wgpeer p3
}

# add_nexthops COUNT KEY: so many of nobody, and one that names the key
add_nexthops()
{
	local i hops=()

	for ((i = 0; i < $1; i++)); do
		hops+=(nexthop dev hub via-wgpeer "$(head -c 32 /dev/urandom | base64)")
	done
	# Nobody has these keys, which is told of one of them.
	ip_hub route replace "$prefix" "${hops[@]}" nexthop dev hub via-wgpeer "$2" 2>/dev/null ||
		fail "no route with $1 nexthops and one more"
}

members()
{
	family "$1"
	add_nexthops $((MEMBERS - 1)) "${KEY[2]}"
	check_source "$addr" rx-wgpeer p2
	check ip_hub route del "$prefix"
	add_nexthops "$MEMBERS" "${KEY[2]}"
	check_source "$addr" rx-drop-peer none
	set_filter loose
	check_source "$addr" rx-loose p1,p2,p3
}

# A keyed route behind so many of other devices may be there, or not: no shorter prefix and no
# AllowedIPs say more. IPv4 finds the first on the device however many others there are.
metrics()
{
	local i

	family 6
	add_other
	set_mode "$1"
	check ip_hub route add "$all" dev hub via-wgpeer "${KEY[3]}"
	for ((i = 1; i < MEMBERS; i++)); do
		echo "route add $prefix dev other metric $i"
	done >"$TMP/routes"
	check ip_hub -6 -batch "$TMP/routes"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 100
	check_source "$addr" rx-wgpeer p2
	check ip_hub route add "$prefix" dev other metric $MEMBERS
	check_source "$addr" rx-drop-peer none
	check ip_hub route del "$all"
	check_source "$addr" rx-drop-peer none
}

# The same where it is a member of a group, behind those of another device
group()
{
	local i members=

	family "$1"
	add_other
	set_mode "$2"
	check ip_hub route add "$all" dev hub via-wgpeer "${KEY[3]}"
	for ((i = 1; i <= MEMBERS; i++)); do
		echo "nexthop add id $i dev other"
		members+=$i/
	done >"$TMP/nexthops"
	check ip_hub "-$f" -batch "$TMP/nexthops"
	check ip_hub "-$f" nexthop add id 100 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub nexthop add id 200 group "${members#*/}100"
	check ip_hub "-$f" route add "$prefix" nhid 200
	check_source "$addr" rx-wgpeer p2
	check ip_hub nexthop replace id 200 group "${members}100"
	check_source "$addr" rx-drop-peer none
	check ip_hub route del "$all"
	check_source "$addr" rx-drop-peer none
}

for f in 4 6; do
	for mode in auto on; do
		test_add "IPv$f: $mode: more than $TABLES tables" tables $f $mode
		test_add "IPv$f: $mode: more than $MEMBERS members of a group" group $f $mode
	done
	test_add "IPv$f: more than $MEMBERS nexthops" members $f
done
for mode in auto on; do
	test_add "IPv6: $mode: more than $MEMBERS routes of a prefix" metrics $mode
done

setup_hub 3
set_mode $MODE
tests_run
